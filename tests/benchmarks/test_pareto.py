"""The Pareto plot shows what the results files say, and says what is missing."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.figures import name_points
from benchmarks.pareto import RESULTS, front_of, measure_runs
from mien.card import find_model
from tests.conftest import REPOSITORY, require_module

require_module("matplotlib")


def write_run(run: Path, accuracy: float, epochs: int = 12) -> Path:
    run.mkdir()
    validation = {"accuracy": accuracy, "interval_95": 0.02}
    evaluation = {"validation": validation, "cost": {"parameters": 1000, "multiply_adds": 2_000_000}}
    (run / "run.json").write_text(json.dumps({"model": "mien_net", "epochs": epochs}))
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    for suffix in (".tflite", ".json"):
        shutil.copy(find_model("cnn_int8").with_suffix(suffix), run)
    return run


def test_the_front_holds_what_nothing_beats() -> None:
    points = {"slow": (3, 0.7), "quick": (1, 0.5), "worse": (2, 0.4), "equal": (2, 0.6), "late": (4, 0.7)}
    entries = [{"name": name, "latency_ms": x, "validation_accuracy": y} for name, (x, y) in points.items()]
    assert front_of(entries) == ["quick", "equal", "slow"]


def test_runs_are_measured_and_redrawn_from_the_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    runs = [write_run(tmp_path / "a", 0.5), write_run(tmp_path / "b", 0.6, epochs=50)]
    results, plot = tmp_path / "new" / "pareto.json", tmp_path / "pareto.png"
    files = ["--results", str(results), "--plot", str(plot)]
    assert main(["pareto", "--runs", *map(str, runs), *files]) == 0
    first = capsys.readouterr().out
    record = json.loads(results.read_text())
    assert record["command"] == f"python -m benchmarks pareto --runs {runs[0]} {runs[1]}"
    entries = record["results"]["entries"]
    assert {entry["name"]: entry["validation_accuracy"] for entry in entries} == {"a": 0.5, "b": 0.6}
    assert all(entry["latency_ms"] > 0 and entry["int8_bytes"] > 1_000_000 for entry in entries)
    assert "| **b** | 50 | 1 k | 2.0 M | 1.2" in first
    assert "| 60.0% ± 2.0 |" in first
    picture = cv2.imread(str(plot))
    assert picture is not None
    assert np.unique(picture.reshape(-1, 3), axis=0).shape[0] > 50
    plot.unlink()
    assert main(["pareto", *files]) == 0
    assert capsys.readouterr().out == first
    assert plot.exists()


def test_names_of_neighbours_cover_neither_each_other_nor_a_point() -> None:
    from matplotlib import pyplot

    points = {"first": (1.0, 58.0), "second": (1.01, 58.1), "third": (1.02, 57.9), "far": (9.0, 50.0)}
    figure, axes = pyplot.subplots()
    axes.scatter(*zip(*points.values(), strict=True))
    name_points(figure, axes, list(points.items()))
    labels = {text.get_text(): text.get_window_extent() for text in axes.texts if text.get_text()}
    pixels = axes.transData.transform(list(points.values()))
    pyplot.close(figure)
    assert labels.keys() == points.keys()
    for name, box in labels.items():
        assert not box.count_overlaps([other for key, other in labels.items() if key != name])
        assert not box.count_contains(pixels)


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "a", 0.5)
    for file in run.glob("*.tflite"):
        file.unlink()
    assert main(["pareto", "--runs", str(run)]) == 1
    assert f"error: {run} has no int8 file: python -m convert {run}" in capsys.readouterr().err
    (run / "evaluation.json").write_text("{}")
    assert main(["pareto", "--runs", str(run)]) == 1
    assert "is damaged (KeyError('cost'))" in capsys.readouterr().err
    (run / "evaluation.json").unlink()
    assert main(["pareto", "--runs", str(run)]) == 1
    assert capsys.readouterr().err == f"error: no finished run at {run}: evaluation.json is missing\n"
    assert main(["pareto", "--results", str(tmp_path / "no.json")]) == 1
    assert "error: no results at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", " is a list"),
        ("{", " is no JSON or cut off"),
        ({"results": {"entries": [{}], "machine": {}}}, " is damaged (KeyError("),
        ({"results": {"entries": [], "machine": {}}}, " is damaged (ValueError('no entries'))"),
        ({"benchmark": "latency"}, " is of 'latency', allowed is 'pareto'"),
    ],
)
def test_damaged_results_are_refused(
    content: str | dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "damaged.json"
    if isinstance(content, dict):
        content = json.dumps({**json.loads(RESULTS.read_text()), **content})
    file.write_text(content)
    assert main(["pareto", "--results", str(file), "--plot", str(tmp_path / "plot.png")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {file}{message}")
    assert not (tmp_path / "plot.png").exists()


def test_only_runs_that_can_be_compared_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = write_run(tmp_path / "a", 0.5), write_run(tmp_path / "b", 0.5)
    (tmp_path / "c").mkdir()
    assert main(["pareto", "--runs", str(first), str(write_run(tmp_path / "c" / "a", 0.6))]) == 1
    assert "two runs are named a" in capsys.readouterr().err
    (second / "run.json").write_text(json.dumps({"model": "cnn", "epochs": 1, "seed": 1}))
    assert main(["pareto", "--runs", str(first), str(second)]) == 1
    assert f"{second} divided the data otherwise than {first}" in capsys.readouterr().err


def test_less_validation_is_a_part_of_more(tmp_path: Path) -> None:
    first, second = write_run(tmp_path / "a", 0.5), write_run(tmp_path / "b", 0.6)
    (second / "run.json").write_text(json.dumps({"model": "cnn", "epochs": 1, "validation_share": 0.1}))
    assert len(measure_runs([first, second])["entries"]) == 2


def test_a_published_run_is_measured_with_the_packages_file() -> None:
    results = measure_runs([REPOSITORY / "models" / "cnn"])
    (entry,) = results["entries"]
    assert entry["int8_bytes"] == find_model("cnn_int8").stat().st_size
