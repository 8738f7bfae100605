"""`python -m mien`: the same as the command `mien`."""

import sys

from mien.cli import main

sys.exit(main())
