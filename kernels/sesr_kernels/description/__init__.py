"""What the kernels read of a network: layers, phases, shuffles, packed weights."""
