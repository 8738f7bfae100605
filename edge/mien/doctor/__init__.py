"""`mien doctor`: looks at all that `mien run` needs here, and says what mends what is wrong.

`examine` makes the checks, `report` tells them. What may crash or hang is tried in a process of its own (`child`); what
can be wrong, and the way out, is in `problems`.
"""

from collections.abc import Callable, Iterator
from functools import partial

from mien.config import Config
from mien.doctor import camera, outputs, problems, runtime, system
from mien.doctor.check import FAILURE, OK, Check, guarded, limited, with_own_pip
from mien.sources.network import hide_secrets

__all__ = ["Check", "examine"]

OUTPUT_LIMIT_S = 25.0
"""Files may lie on a network drive; the other outputs have shorter limits of their own."""


def examine(load: Callable[[], Config]) -> Iterator[Check]:
    """Yield what each check finds, as it is found.

    Args:
        load: returns the settings of the run, or raises what `mien run` would tell of them.
    """
    config, check = _read_settings(load)
    yield check
    yield from map(with_own_pip, _examine(config))


def _examine(config: Config) -> Iterator[Check]:
    yield from limited("Python", system.check_python)
    yield from limited("system", system.check_system)
    runs = guarded("runtime", runtime.check_runtime)
    yield from runs
    sees = guarded("OpenCV", runtime.check_opencv)
    yield from sees
    yield from limited("models", runtime.check_models)
    yield from limited("YuNet", partial(runtime.check_yunet, config))
    broken = [check.name for check in (*runs, *sees) if check.state == FAILURE]
    if broken:
        yield problems.NOT_TRIED.about("recognition", what=" and ".join(broken))
    else:
        yield from guarded("recognition", partial(runtime.check_recognition, config))
    yield from guarded("cameras", partial(camera.check_cameras, config))
    if any(check.state == FAILURE for check in sees):
        yield problems.NOT_TRIED.about("picture", what="OpenCV")
    else:
        yield from guarded("picture", partial(camera.check_frame, config))
    for text in config.output:
        yield from limited(text, partial(outputs.check_output, text, config), OUTPUT_LIMIT_S)
    yield from limited("disk", partial(system.check_disk, outputs.result_files(config)))
    yield from limited("memory", system.check_memory)
    yield from limited("temperature", system.check_temperature)
    yield from limited("power", system.check_power)
    yield from limited("governor", system.check_governor)


def _read_settings(load: Callable[[], Config]) -> tuple[Config, Check]:
    """Return the settings, or the usual ones where they cannot be read, so that the other checks can be made."""
    try:
        config = load()
    except (OSError, ValueError) as error:
        fix = "correct it; `mien config show` lists all settings, and the other checks took the usual ones"
        return Config(), Check("settings", FAILURE, str(error), fix)
    found = f"source {hide_secrets(config.source)}, output {', '.join(config.output)}"
    return config, Check("settings", OK, found)
