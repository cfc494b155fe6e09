"""``python -m sesr_ref`` is ``sesr-ref``."""

import sys

from sesr_ref.cli import main

if __name__ == "__main__":
    sys.exit(main())
