"""`mien service`: run from each start of the machine on, as a systemd service."""

import argparse
import os
from typing import Any

from mien.commands.flags import add_settings, given_by


def add_to(commands: Any) -> None:
    """Add the command and its actions."""
    service = commands.add_parser("service", help="run from each start of the machine on, as a systemd service")
    actions = service.add_subparsers(required=True, metavar="install|status|logs|uninstall")
    install = actions.add_parser(
        "install",
        help="install it, or change its settings",
        usage="%(prog)s [--print] [--config FILE] [--source SOURCE] [--output OUTPUT ...] [SETTING ...]",
        epilog="Flags, --config FILE and MIEN_* are as in `mien run`; what is not given stays as the service has it.",
    )
    install.add_argument("--print", action="store_true", help="print the unit, install nothing")
    add_settings(install)
    install.set_defaults(function=_install, parser=install)
    status = actions.add_parser("status", help="say how it is doing; exit code 1 if it does not run")
    status.set_defaults(function=_tell, parser=status)
    logs = actions.add_parser("logs", help="show its log")
    logs.add_argument("--follow", "-f", action="store_true", help="go on with what comes")
    logs.add_argument("--lines", "-n", type=int, default=50, metavar="N", help="lines of the past (50)")
    logs.set_defaults(function=_show_log, parser=logs)
    uninstall = actions.add_parser("uninstall", help="stop and remove it")
    uninstall.set_defaults(function=_uninstall, parser=uninstall)


def _install(arguments: argparse.Namespace) -> int:
    from mien.service import install, print_unit
    from mien.service.files import SYSTEM

    given = (given_by(arguments), arguments.config_file, os.environ, SYSTEM)
    if arguments.print:
        print(print_unit(*given), end="")
        return 0
    for line in install(*given):
        print(line, flush=True)
    return 0


def _tell(_: argparse.Namespace) -> int:
    from mien.service import status

    lines, is_active = status()
    print("\n".join(lines))
    return 0 if is_active else 1


def _show_log(arguments: argparse.Namespace) -> int:
    from mien.service import logs

    return logs(arguments.follow, arguments.lines)


def _uninstall(_: argparse.Namespace) -> int:
    from mien.service import uninstall

    for line in uninstall():
        print(line, flush=True)
    return 0
