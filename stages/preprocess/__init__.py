"""preprocess: a person's pictures -> square PNGs of one size and a table of them."""
