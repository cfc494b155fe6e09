"""Error bounds: how far an implementation in floating point may be off."""
