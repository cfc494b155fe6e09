"""Verification: other runtimes under the error bounds."""
