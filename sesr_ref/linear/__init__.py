"""Bodies of linear layers in numbers: one kernel and one bias, with gradients and error terms."""
