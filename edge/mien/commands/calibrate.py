"""`mien calibrate`: learn what a neutral face looks like to this camera."""

import argparse
from typing import Any

from mien import sources
from mien.commands.flags import add_settings, load
from mien.health import Health
from mien.native_log import quiet_native_log
from mien.progress import ProgressBar


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("calibrate", help="learn what a neutral face looks like to this camera")
    add_settings(parser, ("source", "detector", "model", "rotate", "mirror"), only_these=True)
    parser.add_argument("--forget", action="store_true", help="forget what was learnt for this camera")
    parser.set_defaults(function=_calibrate, parser=parser)


def _calibrate(arguments: argparse.Namespace) -> int:
    from mien.clip import top_emotions
    from mien.neutral import SECONDS, measure, save_calibration, watch_neutral_face
    from mien.recognition import Recognition, make_recognizer

    if arguments.forget:
        return _forget(arguments)
    config = load(arguments).config
    with quiet_native_log():
        recognizer = make_recognizer(config)
    with sources.open_source(config.source, config) as source:
        print(f"Look at the camera for {SECONDS:g} seconds, with a face that shows nothing.", flush=True)
        recognition = Recognition(source, recognizer, Health())
        try:
            with ProgressBar("neutral face", SECONDS) as bar:
                answers = watch_neutral_face(recognition, bar.update)
        finally:
            recognition.stop()
    calibration = measure(answers, recognizer.classifier.card)
    save_calibration(source.name, calibration)
    for text, probabilities in (("seen", answers), ("corrected", calibration.apply(answers))):
        print(f"{text + ':':10} {top_emotions(probabilities.mean(axis=0))}")
    print(f"kept for {source.name}; `mien run` takes it from now on, `mien calibrate --forget` ends that")
    return 0


def _forget(arguments: argparse.Namespace) -> int:
    """Forget the neutral face of a camera, which need not be here if it is called by the name that is kept."""
    from mien.neutral import calibrated_cameras, save_calibration
    from mien.sources.network import hide_secrets

    kept = calibrated_cameras()
    if not kept:
        print("nothing to forget: no camera has a neutral face")
        return 0
    name = vars(arguments)["setting:source"]  # a URL's name holds ***, which is no setting
    if name not in kept:
        config = load(arguments).config
        name = hide_secrets(config.source)
    if name not in kept:
        try:
            with sources.open_source(config.source, config) as source:
                name = source.name
        except (OSError, ValueError, ImportError) as error:
            raise OSError(f"{error}; kept are {', '.join(kept)}: --source with such a name needs no camera") from error
    if name not in kept:
        print(f"nothing to forget for {name}: kept are {', '.join(kept)}")
        return 0
    save_calibration(name, None)
    print(f"forgot the neutral face of {name}")
    return 0
