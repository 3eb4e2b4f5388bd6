"""`python -m gceshim`: the same as the command `gceshim`."""

import sys

from gceshim.cli import main

if __name__ == "__main__":
    sys.exit(main())
