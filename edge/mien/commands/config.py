"""`mien config show`: tell the settings, and where each comes from."""

import argparse
from typing import Any

from mien.commands.flags import add_settings, load
from mien.config import to_toml


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "config",
        help="show the settings, and where each comes from",
        usage="%(prog)s show [SETTING ...]",
    )
    parser.add_argument("action", choices=["show"], help="print them as TOML, with any flag of `mien run` applied")
    add_settings(parser)
    parser.set_defaults(function=_show, parser=parser)


def _show(arguments: argparse.Namespace) -> int:
    print(to_toml(load(arguments)), end="")
    return 0
