"""`python -m fluxui`: the command line."""

import sys

from fluxui.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
