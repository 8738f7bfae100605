"""Accuracy is counted as everyone else counts, in each runtime, and one damaged model loses no other's figures."""

import io
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.accuracy import plots, table
from benchmarks.models import PUBLISHED
from benchmarks.predict import KERAS_RUNTIME
from benchmarks.record import read_record
from benchmarks.runtimes import Job, RunError, Runtime, answer_all, find_runtimes, keras_runtime, predict_apart
from benchmarks.statistics import compare_paired, difference_interval, mcnemar, share_interval
from mien.card import find_model, read_card
from mien.fer2013 import Fer2013
from tests.conftest import make_data, require_module, write_csv

TWINS = 5
FLOAT32 = PUBLISHED / "mien_net" / "mien_net_float32.tflite"
INT8 = "mien_net_int8"

Runtimes = tuple[list[Runtime], dict[str, str]]


@dataclass(frozen=True)
class Measured:
    """What one run left behind."""

    code: int
    results: dict[str, Any]
    predictions: dict[str, np.ndarray]
    output: str
    errors: str
    model: Path

    def entry(self, model: str) -> dict[str, Any]:
        return next(entry for entry in self.results["models"] if entry["model"] == model)


def copy_model(folder: Path, name: str) -> Path:
    """Copy the default model and its card under another name."""
    for suffix in (".tflite", ".json"):
        shutil.copy(find_model(None).with_suffix(suffix), folder / f"{name}{suffix}")
    return folder / f"{name}.tflite"


@pytest.fixture(scope="module")
def runtimes() -> Runtimes:
    """Look for the runtimes once: TensorFlow takes seconds to say whether it works."""
    return find_runtimes()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Measure int8, float32, and two damaged models in all runtimes, on 42 test images with 5 twins."""
    folder = tmp_path_factory.mktemp("accuracy")
    data = make_data()
    images = data.images.copy()
    images[-TWINS:] = images[:TWINS]
    path = write_csv(Fer2013(images, data.labels, data.usages), folder / "fer2013.csv")
    model, replaced, lonely = (copy_model(folder, name) for name in (INT8, "replaced_int8", "lonely_int8"))
    float32 = folder / FLOAT32.name
    for suffix in (".tflite", ".json"):
        shutil.copy(FLOAT32.with_suffix(suffix), float32.with_suffix(suffix))
    content = bytearray(replaced.read_bytes())
    content[-1] ^= 1
    replaced.write_bytes(content)
    lonely.with_suffix(".json").unlink()
    arguments = ["--data", str(path), "--models", *map(str, (replaced, model, lonely, float32)), "--update-cards"]
    arguments += ["--predictions", str(folder / "all.npz"), "--json", str(folder / "accuracy.json")]
    with pytest.MonkeyPatch.context() as patch:
        output, errors = io.StringIO(), io.StringIO()
        patch.setattr("sys.stdout", output)
        patch.setattr("sys.stderr", errors)
        code = main(["accuracy", *arguments])
    results = read_record(folder / "accuracy.json")["results"]
    with np.load(folder / "all.npz") as content:
        return Measured(code, results, dict(content), output.getvalue(), errors.getvalue(), model)


def test_a_damaged_model_is_named_and_loses_no_others_figures(measured: Measured) -> None:
    assert measured.code == 1
    assert {entry["model"] for entry in measured.results["models"]} == {INT8, "mien_net_float32"}
    failed = {part["model"]: part["why"] for part in measured.results["failed"]}
    assert set(failed) == {"replaced_int8", "lonely_int8"}
    assert "is not the file that its card describes" in failed["replaced_int8"]
    assert failed["lonely_int8"].startswith("no card at ")
    assert all(f"error: {model}: {why}\n" in measured.errors for model, why in failed.items())


def test_every_runtime_that_works_here_measures_every_model(measured: Measured, runtimes: Runtimes) -> None:
    found, missing = runtimes
    assert found[0].name == "ai-edge-litert"
    expected = {(model, runtime.name) for runtime in found for model in (INT8, "mien_net_float32")}
    assert {(entry["model"], entry["runtime"]) for entry in measured.results["models"]} == expected
    assert {part["peer"]: part["why"] for part in measured.results["not_measured"]} == missing


def test_scikit_learn_counts_the_same_from_the_predictions(measured: Measured) -> None:
    metrics = require_module("sklearn.metrics")
    labels, usages = measured.predictions["labels"], measured.predictions["usages"]
    masks = {
        "test": np.ones(len(labels), bool),
        "test_public": usages == 1,
        "test_private": usages == 2,
        "test_without_twins": measured.predictions["without_twins"],
    }
    assert measured.results["images"] == {part: int(is_in.sum()) for part, is_in in masks.items()}
    for entry in measured.results["models"]:
        answers = measured.predictions[f"{entry['model']} on {entry['runtime']}"].argmax(axis=1)
        for part, is_in in masks.items():
            truth, answer, figures = labels[is_in], answers[is_in], entry["parts"][part]
            every = {"labels": range(7), "average": None, "zero_division": 0}
            figure = {name: pytest.approx(figures[name], abs=1e-5) for name in ("accuracy", "macro_f1")}
            assert metrics.accuracy_score(truth, answer) == figure["accuracy"]
            assert metrics.f1_score(truth, answer, average="macro", zero_division=0) == figure["macro_f1"]
            recall, precision = (list(figures[name].values()) for name in ("recall", "precision"))
            assert metrics.recall_score(truth, answer, **every) == pytest.approx(recall, abs=1e-5)
            assert metrics.precision_score(truth, answer, **every) == pytest.approx(precision, abs=1e-5)
        confusion = metrics.confusion_matrix(labels, answers, labels=range(7))
        assert entry["parts"]["test"]["confusion"] == confusion.tolist()


def test_images_with_a_twin_in_training_are_told_apart(measured: Measured) -> None:
    images = measured.results["images"]
    assert (images["test"], images["test_without_twins"]) == (42, 42 - TWINS)
    assert measured.predictions["without_twins"].tolist() == [True] * (42 - TWINS) + [False] * TWINS


def test_each_interval_holds_its_figure_and_is_exact(measured: Measured) -> None:
    for figures in measured.entry(INT8)["parts"].values():
        low, high = figures["accuracy_range_95"]
        assert (low, high) == pytest.approx(
            share_interval(round(figures["accuracy"] * figures["images"]), figures["images"]), abs=1e-5
        )
        assert low <= figures["accuracy"] <= high
        assert figures["interval_95"] == pytest.approx((high - low) / 2, abs=1e-5)
        for name in ("recall", "precision"):
            for emotion, (least, most) in figures[f"{name}_range_95"].items():
                assert least <= figures[name][emotion] <= most


def test_float_and_int8_are_compared_image_by_image(measured: Measured) -> None:
    labels = measured.predictions["labels"]
    runtimes = {entry["runtime"] for entry in measured.results["models"]}
    assert {pair["runtime"] for pair in measured.results["pairs"]} == runtimes
    for pair in measured.results["pairs"]:
        assert (pair["float"], pair["int8"], pair["float_runtime"]) == ("mien_net_float32", INT8, pair["runtime"])
        in_float, in_int8 = (
            measured.predictions[f"{pair[name]} on {pair['runtime']}"].argmax(axis=1) == labels
            for name in ("float", "int8")
        )
        assert pair["only_float_right"] == (in_float & ~in_int8).sum()
        assert pair["only_int8_right"] == (in_int8 & ~in_float).sum()
        assert pair["points_lost"] == pytest.approx(100 * (in_float.mean() - in_int8.mean()), abs=0.001)


def test_the_card_gets_the_figures_and_stays_short(measured: Measured) -> None:
    card = read_card(measured.model.with_suffix(".json"))
    figures = measured.entry(INT8)["parts"]["test"]
    assert card.metrics["test"]["accuracy"] == figures["accuracy"]
    assert card.metrics["test"]["recall"] == figures["recall"]
    assert card.metrics["runtime"] == "ai-edge-litert"
    assert "validation" in card.metrics
    assert not {"confusion", "precision", "recall_range_95"} & card.metrics["test"].keys()


def test_the_tables_name_every_model_and_what_failed(measured: Measured) -> None:
    lines = measured.output.splitlines()
    assert (
        "| model | runtime | accuracy on all 42 | public 21 | private 21 | without twins 37 "
        "| macro F1 | disgust recall | calibration error |"
    ) in lines
    test = measured.entry(INT8)["parts"]["test"]
    start = f"| {INT8} | ai-edge-litert {measured.entry(INT8)['runtime_version']} | {test['accuracy']:.1%} ± "
    assert [line.startswith(start) for line in lines].count(True) == 1
    assert any(line.startswith(f"| mien_net_float32 | {INT8} | ai-edge-litert | ") for line in lines)
    assert "| model | runtime | angry 6 | disgust 6 | fear 6 | happy 6 | sad 6 | surprise 6 | neutral 6 |" in lines
    assert any(line.startswith("- lonely_int8: no card at ") for line in lines)


def test_results_read_back_from_json_give_the_same_tables_and_plots(measured: Measured) -> None:
    require_module("matplotlib")
    results = json.loads(json.dumps(measured.results))
    assert table(results) in measured.output
    figures = plots(results)
    assert set(figures) == {"confusion", "float_against_int8"}
    axes = figures["float_against_int8"].axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    recalls = [measured.entry(model)["parts"]["test"]["recall"] for model in ("mien_net_float32", INT8)]
    assert heights == pytest.approx([100 * value for recall in recalls for value in recall.values()])


def test_nothing_measured_still_gives_a_table() -> None:
    results = {"images": {}, "models": [], "pairs": [], "failed": [{"model": "m", "why": "cut off"}]}
    assert table(results) == "Failed:\n\n- m: cut off"
    assert plots(results) == {}


@pytest.mark.tensorflow
def test_float_keras_is_measured_beside_its_int8_and_a_damaged_one_is_named(tmp_path: Path, runtimes: Runtimes) -> None:
    require_module("tensorflow")
    damaged = tmp_path / "damaged" / "model.keras"
    damaged.parent.mkdir()
    damaged.write_bytes(b"PK\x03\x04 cut off")
    network = PUBLISHED / "mien_net" / "model.keras"
    jobs = [
        Job(network, "mien_net (Keras)", keras_runtime()),
        Job(damaged, "damaged (Keras)", keras_runtime()),
        Job(find_model(None), INT8, runtimes[0][0]),
    ]
    answers, failures = answer_all(jobs, make_data().test.images)
    in_keras, in_int8 = answers[jobs[0]], answers[jobs[2]]
    assert (jobs[0].network, jobs[0].precision, jobs[0].runtime.name) == ("mien_net", "Keras", KERAS_RUNTIME)
    assert list(failures) == [jobs[1]]
    assert len(failures[jobs[1]].splitlines()) == 1
    # At a temperature of 0.895 in int8; over 42 images outside of what it learnt, nine of ten agree at least.
    assert (in_keras.argmax(axis=1) == in_int8.argmax(axis=1)).mean() > 0.9


def test_the_default_model_is_as_accurate_as_its_card_says(fer2013: Fer2013, runtimes: Runtimes) -> None:
    job = Job(find_model(None), INT8, runtimes[0][0])
    answers, _ = answer_all([job], fer2013.test.images)
    right = int((answers[job].argmax(axis=1) == fer2013.test.labels).sum())
    claimed = read_card(job.model.with_suffix(".json")).metrics["test"]["accuracy"]
    # The card rounds to 1/10,000, which is 0.7 images; kernels for other processors may round a few answers otherwise.
    assert right == pytest.approx(claimed * 7178, abs=5)


def stand_in(folder: Path, script: str) -> Runtime:
    """Return a runtime whose Python is a shell script."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return Runtime("ai-edge-litert", "1", python)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("kill -SEGV $$", "it crashed with signal 11"),
        ("echo 'error: too big' >&2; echo chatter >&2; exit 1", "too big"),
        ("exit 3", "exit code 3"),
    ],
)
def test_a_runtime_that_crashes_is_a_reason_not_an_end(script: str, reason: str, tmp_path: Path) -> None:
    jobs = [Job(find_model(None), INT8, stand_in(tmp_path, script))]
    answers, failures = answer_all(jobs, make_data().test.images)
    assert answers == {}
    assert failures == {jobs[0]: reason}


def test_an_interrupted_run_ends_its_processes(tmp_path: Path) -> None:
    runtime = stand_in(tmp_path, f"echo $$ > {tmp_path}/pid; echo 1; exec sleep 60")

    def interrupt(images: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_apart(find_model(None), runtime, tmp_path / "images.npy", 1, interrupt)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_model_that_cannot_be_run_says_so(tmp_path: Path, runtimes: Runtimes) -> None:
    np.save(tmp_path / "images.npy", make_data().test.images)
    lonely = copy_model(tmp_path, "lonely")
    lonely.with_suffix(".json").unlink()
    with pytest.raises(RunError, match=r"no card at .*lonely\.json: a model needs its card"):
        predict_apart(lonely, runtimes[0][0], tmp_path / "images.npy", 1, lambda images: None)


def test_mcnemar_is_a_coin_on_the_images_that_differ() -> None:
    assert mcnemar(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar(2, 10) == mcnemar(10, 2)
    assert mcnemar(0, 0) == mcnemar(5, 5) == 1


def test_exact_intervals_are_those_of_the_textbook() -> None:
    assert share_interval(0, 10) == pytest.approx((0, 1 - 0.025**0.1))
    assert share_interval(10, 10) == pytest.approx((0.025**0.1, 1))
    assert share_interval(0, 0) == (0, 1)


def test_the_interval_of_a_difference_is_paired_and_repeatable() -> None:
    low, high = difference_interval(60, 40, 7178)
    half = 1.96 * np.sqrt(100 - 20**2 / 7178)
    # Counts are whole, and 10,000 draws know the ends to 0.3 of them: two images are ample.
    assert (7178 * low, 7178 * high) == pytest.approx((20 - half, 20 + half), abs=2)
    assert difference_interval(60, 40, 7178) == (low, high)
    assert difference_interval(0, 0, 7178) == (0, 0)


def test_two_classifiers_are_compared_on_the_same_images_only() -> None:
    first, second = np.array([True, True, True, False, False]), np.array([True, False, False, True, False])
    paired = compare_paired(first, second)
    assert (paired.images, paired.only_first, paired.only_second, paired.difference) == (5, 2, 1, 0.2)
    with pytest.raises(ValueError, match="the same images"):
        compare_paired(first, second[:3])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "nothing.csv"], "error: no data at nothing.csv"),
        (["--data", "{data}", "--models", "no.tflite"], "error: no model at no.tflite"),
        (["--data", "{data}", "--models", "resnet"], "error: unknown model 'resnet'"),
        (["--data", "{data}", "--predictions", "all.csv"], "error: --predictions all.csv must end in .npz"),
        (["--data", "{data}", "--predictions", "no/where.npz"], "error: cannot write no/where.npz"),
        (["--data", "{half}"], "error: {half}, line 3: "),
    ],
)
def test_a_mistake_gets_one_line(
    flags: list[str], message: str, tmp_path: Path, small_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half.csv"
    lines = small_csv.read_text().splitlines()
    half.write_text("\n".join([*lines[:2], lines[2][:3000]]))
    names = {"data": small_csv, "half": half}
    assert main(["accuracy", *(flag.format(**names) for flag in flags)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message.format(**names))


def test_without_scipy_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, small_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert main(["accuracy", "--data", str(small_csv)]) == 1
    assert capsys.readouterr().err == "error: exact intervals need SciPy: pip install 'mien[bench]'\n"
