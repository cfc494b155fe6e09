"""Golden packs: test vectors in files, and integers of a port held against them."""
