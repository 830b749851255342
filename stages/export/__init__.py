"""export: the chosen word as a file that other tools read."""
