"""Verification: test the error bounds with other runtimes."""
