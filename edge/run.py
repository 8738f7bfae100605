"""`python edge/run.py`: the same as the installed command `mien run`, from a plain checkout."""

import sys

from mien.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
