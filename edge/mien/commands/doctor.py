"""`mien doctor`: look at all that `mien run` needs here, and say what mends it."""

import argparse
import sys
from typing import Any

from mien.commands.flags import add_settings, check_outputs, load
from mien.config import Config


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", help="look at all that `mien run` needs here, and say what mends it")
    parser.add_argument("--json", action="store_true", help='{"checks": [{name, state, found, fix}], "is_well": ...}')
    add_settings(parser, ("source", "output", "detector", "model"))
    parser.set_defaults(function=_doctor, parser=parser)


def _doctor(arguments: argparse.Namespace) -> int:
    """Print what each check finds; 1 if something that was configured cannot work."""
    from mien.doctor import examine, report

    def load_checked() -> Config:
        config = load(arguments).config
        check_outputs(config.source, config.output)
        return config

    checks = []
    for check in examine(load_checked):
        checks.append(check)
        if not arguments.json:
            print(report.describe(check, report.is_colored(sys.stdout)), flush=True)
    print(report.to_json(checks) if arguments.json else report.summarize(checks))
    return 0 if report.is_well(checks) else 1
