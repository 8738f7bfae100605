"""`python edge/run.py`: the same as the installed command `mien run`, from a plain checkout."""

import sys

try:
    from mien.cli import main
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed: script/setup edge brings all that is needed, into .venv")

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
