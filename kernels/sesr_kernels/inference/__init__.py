"""A network run depth first: a schedule of operations on rows, kept in rings."""
