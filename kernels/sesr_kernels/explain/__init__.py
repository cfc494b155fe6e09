"""What the kernels make of a network, for people: ``python -m sesr_kernels.explain MODEL``.

`inference.explain` and `training.explain` take any network that `description.layers` reads and
give plain data; `text` prints it.  docs/kernels.md explains the words.
"""
