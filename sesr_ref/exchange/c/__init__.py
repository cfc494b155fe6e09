"""C99 source of a network, for compilers of DSPs, and for those who port it by hand."""

from sesr_ref.exchange.c.write import to_c

__all__ = ["to_c"]
