"""The face finder's conversion: two files, proven in every runtime here, with thresholds and framing in their cards."""

import json
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convert.conversion import publish
from convert.finder.files import FinderFiles, load_finder, make_files
from convert.finder.framing import Placed, fit_framing, place_images
from convert.finder.pictures import (
    HEIGHT,
    OTHER_SIZES,
    WIDTH,
    PictureSet,
    draw_calibration,
    fit_into,
    read_pictures,
    save_pictures,
)
from convert.finder.proof import FinderAnswers, Job, answer_all, time_files
from convert.finder.results import FinderConversion, FinderProof, FinderSettings, make_card
from convert.finder.thresholds import Thresholds, check_choice, choose_thresholds, false_scores, measure_rates
from convert.proof import Progress
from convert.runtimes import find_runtimes
from mien.detection_metrics import MIN_WIDTH, average_precision, recall_by_width
from mien.fer2013 import USAGES, load_fer2013
from mien.finder_card import Framing, read_finder_card
from mien.photographs import hash_photographs, read_photographs

VARIANTS = ("float32", "int8")
SIZE_CHECKS = 10
"""So many photographs are looked at in other sizes, too."""


def convert_finder(keras_file: Path, settings: FinderSettings, out: Path, progress: Progress) -> FinderConversion:
    """Write finder_int8 and finder_float32 with their cards into `out`, or nothing.

    Args:
        keras_file: the trained model; `run.json` beside it goes into the cards.
        settings: data, gate and so on.
        out: the folder; is made where it is missing.
        progress: is told what happens.

    Raises:
        ValueError: the model cannot be converted, or the data do not suffice.
        ImportError: no TFLite runtime is installed.
        OSError: something cannot be read or written.
    """
    runtimes = find_runtimes()
    progress.stage("loading the data")
    training = read_photographs(settings.data, "training")
    placed = _place(settings)
    framing = None if placed else _framing_in(out)
    progress.stage("loading the model")
    model = load_finder(keras_file)
    calibration, with_faces = draw_calibration(training, settings.calibration_size, settings.seed)
    progress.stage(f"converting, with ranges of {len(calibration)} photographs")
    files = make_files(model, keras_file, calibration)
    progress.stage("reading the photographs")
    validated, tested = (read_pictures(read_photographs(settings.data, part)) for part in ("validation", "test"))
    if not tested.count_faces(MIN_WIDTH):
        raise ValueError(f"{settings.data} has no test photographs with faces wide enough to judge by: bring more")
    check_choice(validated)
    proven = _Proven(tested, validated, placed)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".unfinished-") as name:
        folder = Path(name)
        answers = _run(files, proven, runtimes, folder, progress)
        progress.stage("timing the files")
        paths = {one: folder / f"finder_{one}.tflite" for one in VARIANTS}
        times_ms = time_files(paths, runtimes, folder / "sizes.npz")
        conversion = _conclude(answers, times_ms, proven, framing, settings, files, with_faces, run_of(keras_file))
        if not conversion.refused:
            cards = {f"finder_{one}": make_card(one, conversion, run_of(keras_file)).to_json() for one in VARIANTS}
            publish(cards, folder, out)
    return conversion


@dataclass(frozen=True)
class _Proven:
    """The pictures that both files are proven on.

    Attributes:
        tested: photographs that decide nothing.
        validated: those that thresholds are chosen on.
        placed: images of FER2013 in larger pictures, if the framing is to be fitted.
    """

    tested: PictureSet
    validated: PictureSet
    placed: Placed | None


def _conclude(
    answers: dict[tuple[str, str, str], FinderAnswers],
    times_ms: dict[str, dict[str, float]],
    proven: _Proven,
    framing: Framing | None,
    settings: FinderSettings,
    files: FinderFiles,
    with_faces: int,
    run: dict[str, Any],
) -> FinderConversion:
    """Choose the thresholds, fit the framing where there is none, and judge the files by what they answered."""
    runtimes, tested = list(times_ms), proven.tested
    chosen = choose_thresholds([answers["int8", runtime, "validation"] for runtime in runtimes], proven.validated)
    fit = None
    if proven.placed:
        found = answers["int8", runtimes[0], "crops"].faces
        fit = fit_framing([one.take(one.scores >= chosen.score) for one in found], proven.placed)
        framing = fit.framing
    assert framing is not None
    proofs = tuple(
        _prove(variant, runtime, answers[variant, runtime, "test"], tested, chosen, times_ms[runtime][variant])
        for variant in VARIANTS
        for runtime in runtimes
    )
    return FinderConversion(
        settings=settings,
        files=files,
        proofs=proofs,
        differences=_differences(answers, runtimes),
        thresholds=chosen,
        card_framing=framing,
        framing=fit,
        calibrated_with_faces=with_faces,
        photographs=len(tested.pictures),
        faces=tested.count_faces(MIN_WIDTH),
        empty=int(tested.is_empty().sum()),
        same_data=run.get("data_sha256") == hash_photographs(settings.data),
        converter=f"tensorflow {tf.__version__}, keras {keras.__version__}, "
        f"litert-quantizer {metadata.version('litert-quantizer')}",
        refused=refusal(proofs, settings.max_drop),
    )


def _place(settings: FinderSettings) -> Placed | None:
    """Return Training images of FER2013 in larger pictures, if they were given."""
    if settings.crops is None:
        return None
    data = load_fer2013(settings.crops)
    return place_images(data.images[data.usages == USAGES.index("Training")], settings.seed)


def _framing_in(out: Path) -> Framing:
    """Return the framing of the card that is in a folder already."""
    try:
        return read_finder_card(out / "finder_int8.json").framing
    except FileNotFoundError:
        raise ValueError(
            "the framing is not known: give --crops fer2013.csv, whose Training images it is fitted on; without it, "
            f"it is taken from the finder_int8.json in --out, and {out} has none"
        ) from None


def _run(
    files: FinderFiles, proven: _Proven, runtimes: dict[str, Path], folder: Path, progress: Progress
) -> dict[tuple[str, str, str], FinderAnswers]:
    """Run both files in all runtimes; return (variant, runtime, pictures) -> what they found."""
    tested, placed = proven.tested, proven.placed
    progress.stage("running the files")
    for variant, content in files.contents.items():
        (folder / f"finder_{variant}.tflite").write_bytes(content)
    # Of the card's own size first: that one is timed.
    small = [
        fit_into(one, *shape) for one in tested.pictures[:SIZE_CHECKS] for shape in ((HEIGHT, WIDTH), *OTHER_SIZES)
    ]
    sets = {"test": tested.pictures, "validation": proven.validated.pictures, "sizes": small}
    if placed:
        sets["crops"] = placed.pictures
    for name, pictures in sets.items():
        save_pictures(pictures, folder / f"{name}.npz")
    first = next(iter(runtimes))
    keys = [(variant, runtime, name) for variant in VARIANTS for runtime in runtimes for name in ("test", "sizes")]
    keys += [("int8", runtime, "validation") for runtime in runtimes]
    keys += [("int8", first, "crops")] if placed else []
    jobs = [
        Job(folder / f"finder_{variant}.tflite", runtime, folder / f"{name}.npz", len(sets[name]))
        for variant, runtime, name in keys
    ]
    return dict(zip(keys, answer_all(jobs, runtimes, progress), strict=True))


def _prove(
    variant: str, runtime: str, answers: FinderAnswers, tested: PictureSet, chosen: Thresholds, latency_ms: float
) -> FinderProof:
    faces = answers.faces
    rates = measure_rates(faces, tested.truths, chosen.score)
    return FinderProof(
        variant=variant,
        runtime=runtime,
        version=answers.version,
        average_precision=average_precision(faces, tested.truths),
        found_by_width=recall_by_width(faces, tested.truths, chosen.score),
        precision=rates.precision,
        recall=rates.recall,
        false_boxes=int((false_scores(faces, tested.is_empty()) >= chosen.score).sum()),
        latency_ms=latency_ms,
    )


def _differences(answers: dict[tuple[str, str, str], FinderAnswers], runtimes: list[str]) -> dict[str, float]:
    """Return how much the score of a cell differs between two runtimes at most; nothing where there is one."""
    if len(runtimes) < 2:
        return {}
    pairs = {one: [answers[one, runtime, "test"].scores for runtime in runtimes[:2]] for one in VARIANTS}
    return {variant: round(float(np.abs(first - second).max()), 4) for variant, (first, second) in pairs.items()}


def refusal(proofs: tuple[FinderProof, ...], max_drop: float) -> str:
    """Return why nothing is written, "" if the files are good: int8 against float32 in the same runtime."""
    for int8 in (proof for proof in proofs if proof.variant == "int8"):
        float32 = next(one for one in proofs if (one.variant, one.runtime) == ("float32", int8.runtime))
        drop = float32.average_precision - int8.average_precision
        if not drop <= max_drop:
            return (
                f"finder_int8 loses {drop:.4f} of average precision in {int8.runtime} "
                f"({float32.average_precision:.4f} as float32, {int8.average_precision:.4f}), allowed is {max_drop}: "
                "give a larger --calibration-size, or train on"
            )
    return ""


def run_of(keras_file: Path) -> dict[str, Any]:
    """Return what the run beside a model says of itself; nothing where there is none."""
    path = keras_file.parent / "run.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): restore it, or convert the .keras file without it") from error
