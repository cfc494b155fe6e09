"""Speed: networks timed in this engine and in other runtimes."""
