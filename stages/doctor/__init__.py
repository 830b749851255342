"""doctor: what speaks against the pictures, the captions, the name or the machine, before a GPU is asked."""
