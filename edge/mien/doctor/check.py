"""What a check says, and how errors and problems become one."""

import os
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

OK, WARNING, FAILURE = "ok", "warning", "failure"

LIMIT_S = 8.0
"""A check that reads only the system's files ends in far less, unless a disk or a driver hangs."""

FIX = re.compile("`|(sudo|pip|give|check|is|allowed|plug|use|set|make|ask|did|try|copy|write|run|delete) ")
"""What the last part of our errors begins with when it is the way out, and not only more of the trouble."""


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        name: of what was looked at, in one or two words.
        state: `OK`; `WARNING`: mien runs, but not as well as it could; `FAILURE`: what is configured will not work.
        found: one line.
        fix: the command or sentence that mends it; "" where all is well.
    """

    name: str
    state: str
    found: str
    fix: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return it for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Problem:
    """What can be wrong, with {names} in place of what differs; docs/troubleshooting.md has each of them.

    Attributes:
        state: `WARNING` or `FAILURE`.
        found, fix: as in a `Check`.
    """

    state: str
    found: str
    fix: str

    def about(self, name: str, state: str | None = None, **facts: object) -> Check:
        """Return the check that has found it; `state` instead of the usual one."""
        return Check(name, state or self.state, self.found.format(**facts), self.fix.format(**facts))


def from_error(name: str, error: Exception, fix: str, state: str = FAILURE) -> Check:
    """Turn an error that `mien run` would tell into a check.

    Our errors say what was given, what is wrong and, last, what to do. That last part is the fix; where there is none,
    it is `fix`.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    for separator in ("; ", ": "):
        found, _, rest = text.rpartition(separator)
        if found and FIX.match(rest):
            return Check(name, state, found, rest)
    return Check(name, state, text, fix)


def with_own_pip(check: Check) -> Check:
    """Return the check with the pip of this environment in its fix: a plain `pip` may be that of another one."""
    pip = Path(sys.prefix) / "bin" / "pip"
    is_ours, is_writable = shutil.which("pip") == str(pip), os.access(sys.prefix, os.W_OK)
    if not pip.exists() or (is_ours and is_writable):
        return check
    command = shlex.quote(str(pip)) if is_writable else f"sudo {shlex.quote(str(pip))}"
    return replace(check, fix=re.sub(r"\bpip install", f"{command} install", check.fix))


def guarded(name: str, check: Callable[[], Iterable[Check]]) -> list[Check]:
    """Return what a check finds; whatever happens in it, it does not end the others."""
    try:
        return list(check())
    except Exception as error:  # told as a failure: the others shall still be made
        text = f"the check itself failed ({type(error).__name__}: {error})"
        return [Check(name, FAILURE, text, "please report this line: it is a mistake in mien")]


def limited(name: str, check: Callable[[], Iterable[Check]], limit_s: float = LIMIT_S) -> list[Check]:
    """Return the same of a check that asks no child, which has limits of its own, and so might hang."""
    found: list[Check] = []
    thread = threading.Thread(target=lambda: found.extend(guarded(name, check)), name=name, daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        text = f"no answer within {limit_s:g} s"
        return [Check(name, FAILURE, text, "a disk, a driver or a network hangs: `dmesg | tail` may say which")]
    return found
