"""From a person's folder to the pictures that training sees: which files are read, how they are opened and framed."""
