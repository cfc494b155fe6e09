"""Array functions of the engine and, next to each, its vector-Jacobian product."""
