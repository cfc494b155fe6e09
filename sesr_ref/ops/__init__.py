"""Array operations of the engine, each followed by its vector-Jacobian product."""
