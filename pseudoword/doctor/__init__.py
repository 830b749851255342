"""What speaks against a data set, a word's name or a machine, before a GPU is asked."""
