"""Trained weights of sesr_ref and their manifest; this package never imports the engine."""
