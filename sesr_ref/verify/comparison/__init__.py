"""Comparison of an implementation with what is right: the first wrong layer, the likely fault."""
