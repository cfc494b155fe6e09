"""PyTorch state dicts, read without running what they hold."""
