"""What the checks found, for people and for programs."""

import json
import os
from collections.abc import Iterable
from typing import TextIO

from mien.doctor.check import FAILURE, OK, WARNING, Check

COLORS = {OK: "\033[32m", WARNING: "\033[33m", FAILURE: "\033[31m"}
RESET = "\033[0m"
NAME_COLUMNS = 12
PAGE = "docs/troubleshooting.md"


def is_colored(stream: TextIO | None) -> bool:
    """Return whether colours are for people, who have not asked for none (https://no-color.org); None is closed."""
    return (
        stream is not None and stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def is_well(checks: Iterable[Check]) -> bool:
    """Return whether `mien run` will work; warnings do not keep it from that."""
    return all(check.state != FAILURE for check in checks)


def describe(check: Check, has_color: bool) -> str:
    """Return one line, and a second one with what to do where something is wrong."""
    mark = f"{check.state:8}"
    if has_color:
        mark = f"{COLORS[check.state]}{mark}{RESET}"
    line = f"{mark} {check.name:{NAME_COLUMNS}} {check.found}"
    return f"{line}\n{'':8} fix: {check.fix}" if check.fix else line


def summarize(checks: list[Check]) -> str:
    """Return the last line."""
    counts = [(sum(check.state == state for check in checks), state) for state in (FAILURE, WARNING)]
    told = [f"{count} {state}{'s' * (count > 1)}" for count, state in counts if count]
    if not told:
        return "all is well"
    return f"{', '.join(told)}{', no failure' * is_well(checks)}; {PAGE} tells more"


def to_json(checks: list[Check]) -> str:
    """Return all of it as {"checks": [{"name", "state", "found", "fix"}], "is_well": bool}."""
    content = {"checks": [check.to_dict() for check in checks], "is_well": is_well(checks)}
    return json.dumps(content, indent=2, ensure_ascii=False)
