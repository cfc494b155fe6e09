"""The processor: its vectors, compiled code and its cache, threads; knows no network."""
