"""Numba kernels of sesr_ref (extra ``fast``); this package never imports the engine."""
