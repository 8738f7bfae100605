"""The command `mien`: `mien run --source camera --output jsonl`."""

import argparse
import difflib
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

from mien import __version__, outputs, sources
from mien.card import DEFAULT_MODEL, MODELS_DIR, model_names, read_card
from mien.config import Config, Settings, all_settings, flag_of, load_settings, to_toml, variable_of
from mien.detectors import open_detector
from mien.files import data_dir
from mien.finder_card import FINDER_FILE, read_finder_card
from mien.health import Health
from mien.native_log import quiet_native_log
from mien.outputs.text import describe
from mien.progress import ProgressBar
from mien.published import PUBLISHED, find_damaged, find_published, is_whole

EVERYDAY = ("source", "output", "detector", "model", "max_faces", "smoothing_s", "size", "rotate", "mirror", "realtime",
            "blur_faces")  # fmt: skip
"""Settings that help tells; the others, `mien config show`."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = argparse.ArgumentParser(prog="mien", description="Recognise facial emotions in real time.")
    parser.add_argument("--version", action="version", version=f"mien {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="watch a camera, a video or images and say what the faces show",
        usage="%(prog)s [--source SOURCE] [--output OUTPUT ...] [SETTING ...]",
        epilog="All other settings but secrets are flags, too, such as --threads 4: `mien config show` tells them.",
    )
    _add_settings(run)
    run.set_defaults(function=_run, parser=run)

    image = commands.add_parser("image", help="say what the faces of photographs show")
    image.add_argument("file", nargs="+", help="image files")
    image.add_argument("--json", action="store_true", help='a line for each file: {"file": ..., "faces": [...]}')
    _add_settings(image, ("detector", "model"), only_these=True)
    image.set_defaults(function=_image, parser=image)

    video = commands.add_parser("video", help="say what the people in videos show overall, with a plot over time")
    video.add_argument("file", nargs="+", help="video files, or demo")
    video.add_argument("--out", default=".", metavar="DIR", help="folder for NAME.csv and NAME.png (the current one)")
    video.add_argument("--annotate", action="store_true", help="write NAME-annotated.mp4, too")
    _add_settings(video, ("detector", "model", "blur_faces"), only_these=True)
    video.set_defaults(function=_video, parser=video)

    calibrate = commands.add_parser("calibrate", help="learn what a neutral face looks like to this camera")
    _add_settings(calibrate, ("source", "detector", "model", "rotate", "mirror"), only_these=True)
    calibrate.add_argument("--forget", action="store_true", help="forget what was learnt for this camera")
    calibrate.set_defaults(function=_calibrate, parser=calibrate)

    config = commands.add_parser(
        "config",
        help="show the settings, and where each comes from",
        usage="%(prog)s show [SETTING ...]",
    )
    config.add_argument("action", choices=["show"], help="print them as TOML, with any flag of `mien run` applied")
    _add_settings(config)
    config.set_defaults(function=_config, parser=config)

    doctor = commands.add_parser("doctor", help="look at all that `mien run` needs here, and say what mends it")
    doctor.add_argument("--json", action="store_true", help='{"checks": [{name, state, found, fix}], "is_well": ...}')
    _add_settings(doctor, ("source", "output", "detector", "model"))
    doctor.set_defaults(function=_doctor, parser=doctor)

    service = commands.add_parser("service", help="run from each start of the machine on, as a systemd service")
    _add_service_actions(service.add_subparsers(required=True, metavar="install|status|logs|uninstall"))

    models = commands.add_parser("models", help="list the models, or fetch one that others publish")
    models.set_defaults(function=_models, parser=models)
    actions = models.add_subparsers(metavar="[fetch NAME]")
    fetch_model = actions.add_parser("fetch", help="download a model that others publish")
    fetch_model.add_argument("name", metavar="NAME", help=f"which one: {', '.join(PUBLISHED)}")
    fetch_model.set_defaults(function=_fetch, parser=fetch_model)
    return parser


def _add_service_actions(actions: Any) -> None:
    install = actions.add_parser(
        "install",
        help="install it, or change its settings",
        usage="%(prog)s [--print] [--config FILE] [--source SOURCE] [--output OUTPUT ...] [SETTING ...]",
        epilog="Flags, --config FILE and MIEN_* are as in `mien run`; what is not given stays as the service has it.",
    )
    install.add_argument("--print", action="store_true", help="print the unit, install nothing")
    _add_settings(install)
    install.set_defaults(function=_install_service, parser=install)
    status = actions.add_parser("status", help="say how it is doing; exit code 1 if it does not run")
    status.set_defaults(function=_tell_service, parser=status)
    logs = actions.add_parser("logs", help="show its log")
    logs.add_argument("--follow", "-f", action="store_true", help="go on with what comes")
    logs.add_argument("--lines", "-n", type=int, default=50, metavar="N", help="lines of the past (50)")
    logs.set_defaults(function=_show_service_log, parser=logs)
    uninstall = actions.add_parser("uninstall", help="stop and remove it")
    uninstall.set_defaults(function=_uninstall_service, parser=uninstall)


def _add_settings(parser: argparse.ArgumentParser, shown: Sequence[str] = EVERYDAY, only_these: bool = False) -> None:
    """Add a flag for each setting; values stay texts, which `load_settings` checks.

    Args:
        parser: of a command.
        shown: the settings that its help tells.
        only_these: whether the others are left out, rather than only not told.
    """
    parser.add_argument("--config", metavar="FILE", dest="config_file", help="TOML file with settings")
    for name, entry, kind in all_settings():
        if entry.metadata["is_secret"] or (only_these and name not in shown):
            continue
        default = "" if entry.default in ("", False) else f" ({_shown(entry.default)})"
        help_ = entry.metadata["text"] + default if name in shown else argparse.SUPPRESS
        options: dict[str, Any] = {"dest": f"setting:{name}", "help": help_}
        if kind is bool:
            flags = [flag_of(name), "--no-auth"] if name == "web.no_auth" else [flag_of(name)]
            parser.add_argument(*flags, action="store_const", const=True, **options)
            undo = {**options, "help": argparse.SUPPRESS}
            parser.add_argument(flag_of(f"no_{name}"), action="store_const", const=False, **undo)
        else:
            metavar = "N" if kind in (int, float) else name.rpartition(".")[2].upper()
            action = "append" if kind == tuple[str, ...] else "store"
            parser.add_argument(flag_of(name), action=action, metavar=metavar, **options)


def _shown(default: object) -> str:
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _load(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the flags, the environment and a file give."""
    return load_settings(_given(arguments), arguments.config_file)


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the flags give, by dotted name."""
    given = {name.removeprefix("setting:"): value for name, value in vars(arguments).items() if ":" in name}
    return {name: value for name, value in given.items() if value is not None}


def _refuse(unknown: list[str], parser: argparse.ArgumentParser) -> None:
    """Raise ValueError for what the parser of a command does not know, with the flag that comes nearest."""
    flag = next((text.partition("=")[0] for text in unknown if text.startswith("-")), None)
    if flag is None:
        hint = f"`{parser.prog} --help` tells how to say it"
        if "--source" in parser._option_string_actions:
            hint = f"--source {unknown[0]} if you mean a source"
        raise ValueError(f"unknown argument {unknown[0]!r}: {hint}")
    for name, entry, _ in all_settings():
        if entry.metadata["is_secret"] and flag == flag_of(name):
            raise ValueError(f"{flag} is a secret, which others could read here: set {variable_of(name)}")
    near = difflib.get_close_matches(flag, parser._option_string_actions, n=1)
    hint = f"did you mean {near[0]}?" if near else f"`{parser.prog} --help` tells the usual ones"
    raise ValueError(f"unknown flag {flag}: {hint}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code: 0, 1 for a failure, 2 for wrong usage."""
    # FFmpeg and OpenCV complain of a bad file in their own words, beside our one line.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")
    _set_up_logging()
    arguments, unknown = build_parser().parse_known_args(argv)
    try:
        if unknown:
            _refuse(unknown, arguments.parser)
        return int(arguments.function(arguments))
    except BrokenPipeError:
        # The reader has seen enough (`mien run ... | head`); keep Python from complaining on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed: pip install 'mien[edge]' brings all that is needed", file=sys.stderr
        )
        return 1
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


def _set_up_logging() -> None:
    """Show warnings of all libraries, and also the good news of mien: what was lost is back."""
    if logging.getLogger().handlers:  # a program that calls `main` has its own
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_LineFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("mien").setLevel(logging.INFO)


class _LineFormatter(logging.Formatter):
    """Formats a warning like our errors; news has no prefix."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return f"{record.levelname.lower()}: {line}" if record.levelno > logging.INFO else line


def _run(arguments: argparse.Namespace) -> int:
    from mien.neutral import load_calibration
    from mien.pace.pacer import make_pacer
    from mien.streaming import make_recognizer, run_stream

    config = _load(arguments).config
    _check_outputs(config.source, config.output)
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


def _image(arguments: argparse.Namespace) -> int:
    """Print a line for each file; 1 if one of them cannot be read."""
    import cv2

    from mien.recognizer import EmotionRecognizer
    from mien.sources.images import read_image

    config = _load(arguments).config
    cv2.setNumThreads(config.threads)
    with quiet_native_log():
        detector = open_detector(config.detector, for_stills=True, num_threads=config.threads)
        recognizer = EmotionRecognizer(
            config.model, detector, num_threads=config.threads, max_faces=100, max_classified=100
        )
    is_each_read = True
    for file in arguments.file:
        image = read_image(Path(file))
        if image is None:
            is_each_read = False
            is_there = Path(file).exists()
            reason = "cannot be read as an image: give a .jpg, .png or the like" if is_there else "does not exist"
            print(f"error: {file} {reason}", file=sys.stderr)
            continue
        recognizer.reset()
        faces = recognizer.recognize(image, 0.0)
        if arguments.json:
            print(json.dumps({"file": file, "faces": [face.to_dict() for face in faces]}), flush=True)
        else:
            print(f"{file}  {', '.join(map(describe, faces)) or 'no face'}", flush=True)
    return 0 if is_each_read else 1


def _video(arguments: argparse.Namespace) -> int:
    """Print a summary of each file; 1 if one of them cannot be worked on."""
    from mien.streaming import make_recognizer, stop_on_signals
    from mien.video import check_usage, describe_clip, length_s, result_files, write_results

    config = _load(arguments).config
    # There is time for every face of every frame.
    config = replace(config, max_classified=config.max_faces, realtime=False)
    folder, is_each_read = Path(arguments.out), True
    files = check_usage(arguments.file, folder, arguments.annotate)
    with quiet_native_log():
        recognizer = make_recognizer(config)
    with stop_on_signals(Event()) as stop:
        for file in files:
            try:
                with ProgressBar(file.name, length_s(file), unit="s of it") as bar:

                    def on_frame(time_s: float, bar: ProgressBar = bar) -> None:
                        bar.update(time_s)
                        if stop.is_made:
                            raise KeyboardInterrupt

                    summary = write_results(file, folder, arguments.annotate, recognizer, config, on_frame)
                    bar.update(summary.length_s)
            except (OSError, ValueError) as error:
                is_each_read = False
                print(f"error: {error}", file=sys.stderr)
                continue
            written = [str(path) for path in result_files(file, folder, arguments.annotate) if path.exists()]
            print(f"{describe_clip(file.name, summary)}\n  wrote {', '.join(written)}", flush=True)
    return 0 if is_each_read else 1


def _config(arguments: argparse.Namespace) -> int:
    print(to_toml(_load(arguments)), end="")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    """Print what each check finds; 1 if something that was configured cannot work."""
    from mien.doctor import examine, report

    def load() -> Config:
        config = _load(arguments).config
        _check_outputs(config.source, config.output)
        return config

    checks = []
    for check in examine(load):
        checks.append(check)
        if not arguments.json:
            print(report.describe(check, report.is_colored(sys.stdout)), flush=True)
    print(report.to_json(checks) if arguments.json else report.summarize(checks))
    return 0 if report.is_well(checks) else 1


def _install_service(arguments: argparse.Namespace) -> int:
    from mien.service import install, print_unit
    from mien.service.files import SYSTEM

    given = (_given(arguments), arguments.config_file, os.environ, SYSTEM)
    if arguments.print:
        print(print_unit(*given), end="")
        return 0
    for line in install(*given):
        print(line, flush=True)
    return 0


def _tell_service(_: argparse.Namespace) -> int:
    from mien.service import status

    lines, is_active = status()
    print("\n".join(lines))
    return 0 if is_active else 1


def _show_service_log(arguments: argparse.Namespace) -> int:
    from mien.service import logs

    return logs(arguments.follow, arguments.lines)


def _uninstall_service(_: argparse.Namespace) -> int:
    from mien.service import uninstall

    for line in uninstall():
        print(line, flush=True)
    return 0


def _calibrate(arguments: argparse.Namespace) -> int:
    from mien.clip import top_emotions
    from mien.neutral import SECONDS, measure, save_calibration, watch_neutral_face
    from mien.streaming import Recognition, make_recognizer

    if arguments.forget:
        return _forget(arguments)
    config = _load(arguments).config
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
        config = _load(arguments).config
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


def _check_outputs(source: str, texts: Sequence[str]) -> None:
    """Raise ValueError for outputs that would overwrite the source or each other."""
    if "text" in texts and "jsonl" in texts:
        raise ValueError("--output text and jsonl both print: give jsonl a file, such as --output faces.jsonl")
    paths = [Path(text).resolve() for text in texts]
    for text, path in zip(texts, paths, strict=True):
        if paths.count(path) > 1:
            raise ValueError(f"--output {text} is given twice: give each output once")
        is_image = path.suffix.lower() in sources.IMAGE_SUFFIXES
        overwritten = (path, path.parent) if is_image else (path,)
        if path.exists() and Path(source).exists() and Path(source).resolve() in overwritten:
            raise ValueError(f"--output {text} would overwrite the source: give another name")


def _models(_: argparse.Namespace) -> int:
    for name in model_names():
        card = read_card(MODELS_DIR / f"{name}.json")
        mark = " (default)" if name == DEFAULT_MODEL else ""
        print(f"{name}{mark}: {card.description}; {card.size_bytes / 1e6:.2f} MB")
    if FINDER_FILE.is_file():
        finder = read_finder_card(FINDER_FILE.with_suffix(".json"))
        print(f"finder: {finder.description}; {finder.size_bytes / 1e6:.2f} MB, for --detector")
    for name, published in PUBLISHED.items():
        facts = f"{published.size_bytes / 1e6:.2f} MB, {published.licence}"
        path = find_published(name) or find_damaged(name)
        if path is not None and is_whole(path, published):
            print(f"{name}: {published.description}; {facts}, in {path}")
        else:
            state = "not here" if path is None else f"{path} is damaged"
            print(f"{name}: {published.description}; {state}, `mien models fetch {name}` brings it ({facts})")
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from mien.download import fetch

    published = PUBLISHED.get(arguments.name)
    if published is None:
        raise ValueError(f"unknown model {arguments.name!r}: allowed to fetch is {' or '.join(PUBLISHED)}")
    path = find_published(published.name)
    if path is not None and is_whole(path, published):
        print(f"{published.name} is here already: {path}")
        return 0
    path = fetch(published, data_dir() / "models")
    facts = f"{published.size_bytes / 1e6:.2f} MB, {published.licence}, from {published.source}"
    print(f"{path} ({facts}): `mien run --detector yunet` finds faces with it")
    return 0
