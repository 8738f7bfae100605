"""`mien run`: watch a source and tell its outputs what the faces show."""

import argparse
from contextlib import ExitStack
from typing import Any

from mien import outputs, sources
from mien.commands.flags import add_settings, check_outputs, load
from mien.health import Health
from mien.native_log import quiet_native_log


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run",
        help="watch a camera, a video or images and say what the faces show",
        usage="%(prog)s [--source SOURCE] [--output OUTPUT ...] [SETTING ...]",
        epilog="All other settings but secrets are flags, too, such as --threads 4: `mien config show` tells them.",
    )
    add_settings(parser)
    parser.set_defaults(function=_run, parser=parser)


def _run(arguments: argparse.Namespace) -> int:
    from mien.neutral import load_calibration
    from mien.pace.pacer import make_pacer
    from mien.recognition import make_recognizer
    from mien.streaming import run_stream

    config = load(arguments).config
    check_outputs(config.source, config.output)
    with quiet_native_log():
        recognizer = make_recognizer(config)
    health = Health()
    with ExitStack() as stack:
        source = stack.enter_context(sources.open_source(config.source, config, health))
        recognizer.calibration = load_calibration(source.name, recognizer.classifier.card)
        context = outputs.OutputContext(config, source.frame_rate, health)
        opened = {text: stack.enter_context(outputs.open_output(text, context)) for text in config.output}
        stack.pop_all()  # from here on, the stream closes them, each in its own thread
    run_stream(source, recognizer, opened, health, make_pacer(config, source, health))
    return 0
