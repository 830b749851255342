"""From a person's folder to the pictures that training sees: opening, framing, masks, ids, and the prepared files."""
