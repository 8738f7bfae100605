"""What recognises: the TFLite runtime, OpenCV, the models' files, and the model and detector that are configured.

An import is no proof: with a numpy that does not fit, a runtime is imported and then crashes. So each is used, in a
process of its own.
"""

import struct
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mien.card import FINDER, MODELS_DIR, read_model
from mien.config import Config
from mien.doctor import problems
from mien.doctor.check import FAILURE, OK, WARNING, Check, from_error
from mien.doctor.child import CrashedError, HungError, ask
from mien.finder_card import read_finder
from mien.interpreter import RUNTIMES, TFLiteModel
from mien.published import PUBLISHED, find_damaged, find_published, is_whole

RUNTIME_LIMIT_S = OPENCV_LIMIT_S = RECOGNITION_LIMIT_S = 60.0
"""A PC needs half a second; a small board that reads OpenCV from a slow SD card, or an emulated one, takes its time."""

IS_32_BIT = struct.calcsize("P") == 4

OLD_SET = "pip install tflite-runtime==2.14.0 'numpy<2' 'opencv-python<4.12'"
"""For 32-bit programs; on a 64-bit kernel, as many a Raspberry Pi has, pip would take `mien[edge]` for 64 bits."""


def check_runtime() -> Iterator[Check]:
    """Load a model of ours and let it answer."""
    runtime = next((package for package, module in RUNTIMES.items() if _is_installed(module)), None)
    if runtime is None:
        yield problems.RUNTIME_MISSING.about("runtime", command=OLD_SET if IS_32_BIT else "pip install 'mien[edge]'")
        return
    facts = {"runtime": f"{runtime} {_version(runtime)}".strip(), "command": _mend(runtime)}
    try:
        package, is_right = ask(run_a_model, limit_s=RUNTIME_LIMIT_S)
    except CrashedError as error:
        yield problems.RUNTIME_CRASHES.about("runtime", how=error.how, numpy=np.__version__, **facts)
    except HungError as error:
        yield problems.RUNTIME_HANGS.about("runtime", seconds=f"{error.limit_s:g}", **facts)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        yield from_error("runtime", error, _mend(runtime))
    else:
        facts["runtime"] = f"{package} {_version(package)}".strip()
        if is_right:
            yield Check("runtime", OK, f"{facts['runtime']} runs a model (numpy {np.__version__})")
        else:
            yield problems.RUNTIME_WRONG.about("runtime", **facts)


def run_a_model() -> tuple[str, bool]:
    """Return the runtime's package, and whether a model of ours gives probabilities in it; in a process of its own."""
    for path in sorted(MODELS_DIR.glob("*.tflite")):
        try:
            content, card = read_model(path)
        except (OSError, ValueError):  # told by `check_models`
            continue
        model = TFLiteModel(content)
        noise = np.random.default_rng(0).integers(0, 256, card.input.shape, dtype=np.uint8)
        answer = model.predict(noise)
        # Each of int8's outputs is off by at most about half a step of 1/256.
        return model.runtime, bool(np.isfinite(answer).all() and abs(answer.sum() - 1) < 0.02 and answer.min() >= 0)
    raise FileNotFoundError("no whole model to run: `mien doctor` tells of the models below")


def check_opencv() -> Iterator[Check]:
    """Import OpenCV and load all cascades."""
    if not _is_installed("cv2"):
        yield problems.OPENCV_MISSING.about("OpenCV")
        return
    try:
        version = ask(load_opencv, limit_s=OPENCV_LIMIT_S)
    except (CrashedError, HungError) as error:
        yield problems.OPENCV_CRASHES.about("OpenCV", how=getattr(error, "how", str(error)))
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        if str(error).startswith("OpenCV"):  # our own words: it has no cascades
            yield from_error("OpenCV", error, problems.OPENCV_BROKEN.fix)
        else:
            yield problems.OPENCV_BROKEN.about("OpenCV", reason=" ".join(str(error).split())[:200])
    else:
        yield Check("OpenCV", OK, f"{version}, with its cascades")


def load_opencv() -> str:
    """Return OpenCV's version, when its cascades are loaded; in a process of its own."""
    import cv2

    from mien.detectors import HaarDetector

    HaarDetector().detect(np.zeros((96, 96), np.uint8))
    return str(cv2.__version__)


def check_models(folder: Path = MODELS_DIR) -> Iterator[Check]:
    """Compare each model that came with mien with its card."""
    whole = []
    for path in sorted({*folder.glob("*.tflite"), *(card.with_suffix(".tflite") for card in folder.glob("*.json"))}):
        try:
            _, card = read_finder(path) if path.stem == FINDER else read_model(path)
            whole.append(card.name)
        except (OSError, ValueError) as error:
            check = from_error("models", error, problems.MODELS_MISSING.fix)
            yield Check("models", check.state, check.found, problems.MODELS_MISSING.fix)
    if whole:
        yield Check("models", OK, f"{', '.join(whole)}: each is the file of its card")
    elif not any(folder.glob("*.tflite")):
        yield problems.MODELS_MISSING.about("models", folder=folder)


def check_yunet(config: Config) -> Iterator[Check]:
    """Look whether the file that was fetched is whole; that there is none matters to `--detector yunet` alone."""
    path = find_published("yunet") or find_damaged("yunet")
    if path is None:
        yield Check("YuNet", OK, "not fetched; only `--detector yunet` needs it")
    elif is_whole(path, PUBLISHED["yunet"]):
        yield Check("YuNet", OK, f"{path} is whole")
    else:
        state = FAILURE if config.detector == "yunet" else WARNING
        yield problems.YUNET_DAMAGED.about("YuNet", state, path=path)


def check_recognition(config: Config) -> Iterator[Check]:
    """Load the model and the detector that are configured, and let them look at a picture."""
    try:
        model, detector, problem = ask(recognize_once, config, limit_s=RECOGNITION_LIMIT_S)
    except (CrashedError, HungError) as error:
        how = getattr(error, "how", str(error))
        yield problems.RECOGNITION_CRASHES.about("recognition", how=how, model=config.model, detector=config.detector)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        yield from_error("recognition", error, "`mien models` lists what --model takes; --detector haar needs no file")
    else:
        fix = "install mien again, which brings the face finder; `--detector haar` says that it is meant so"
        works = f"model {model} with {detector}"
        yield Check("recognition", WARNING, problem, fix) if problem else Check("recognition", OK, works)


def recognize_once(config: Config) -> tuple[str, str, str]:
    """Return the names of the model and the detector, and why that one if not the finder; in a process of its own."""
    from mien.detectors import identify
    from mien.recognition import make_recognizer

    recognizer = make_recognizer(config)
    recognizer.recognize(np.zeros((240, 320, 3), np.uint8))
    return recognizer.classifier.card.name, *identify(recognizer.detector)


def _is_installed(module: str) -> bool:
    """Return whether a module's package is there, without importing it."""
    return find_spec(module.partition(".")[0]) is not None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _mend(runtime: str) -> str:
    if runtime == "tflite-runtime":
        return "pip install 'numpy<2'" + ("" if IS_32_BIT else ", or pip install ai-edge-litert instead")
    return f"pip install --force-reinstall {runtime}"
