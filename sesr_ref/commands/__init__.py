"""The commands of ``sesr-ref``: parse, call the library, print."""
