"""Networks of integers, depth first: `run.integers` is bit for bit what the engine computes."""
