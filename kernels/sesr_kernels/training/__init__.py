"""A training step: a program of operations on planes, forward and backward."""
