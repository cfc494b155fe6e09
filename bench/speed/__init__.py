"""Speed: networks timed beside other runtimes."""
