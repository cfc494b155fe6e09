"""The paper's tables, and how ours are printed."""
