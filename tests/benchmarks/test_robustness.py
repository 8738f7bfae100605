"""Robustness is measured on damage that is what it says, and grows with its strength."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.corruptions import CORRUPTIONS, MIDDLE, STRENGTHS, Corruption, corrupt
from benchmarks.models import PUBLISHED
from benchmarks.record import RESULTS, read_record
from benchmarks.robustness import choose_images, plots, table
from mien.card import find_model
from mien.faces import Image
from mien.fer2013 import Fer2013
from mien.preprocess import to_gray
from tests.conftest import make_data, write_csv


@pytest.fixture(scope="module")
def faces(portrait: Image) -> Image:
    import cv2

    face = cv2.resize(to_gray(portrait)[32:148, 208:324], (48, 48), interpolation=cv2.INTER_AREA)
    return np.stack([face, face[:, ::-1], np.roll(face, 2, axis=1), np.roll(face, -2, axis=0)] * 4)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_damage_grows_with_its_strength_and_is_repeatable(corruption: Corruption, faces: Image) -> None:
    before = faces.copy()
    assert len(corruption.levels) == STRENGTHS
    distances = []
    for strength in range(1, STRENGTHS + 1):
        damaged = corrupt(faces, corruption, strength)
        assert damaged.shape == faces.shape
        assert damaged.dtype == np.uint8
        np.testing.assert_array_equal(damaged, corrupt(faces, corruption, strength))
        distances.append(np.abs(damaged.astype(float) - faces).mean())
    np.testing.assert_array_equal(faces, before)
    assert distances[0] > 0
    assert (np.diff(distances) > 0).all()


def measured(tmp_path: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the results of the command on ten small images."""
    data, file = write_csv(make_data(), tmp_path / "fer2013.csv"), tmp_path / "results.json"
    code = main(["robustness", "--data", str(data), "--images", "10", "--json", str(file), *flags])
    return code, json.loads(file.read_text())["results"]


def test_robustness_prints_tables_and_names_the_worst(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, results = measured(tmp_path, "--models", "mien_net_int8")
    assert (code, results["images"], results["failed"]) == (0, 10, [])
    (result,) = results["models"]
    assert (result["model"], result["runtime"]) == ("mien_net_int8", "ai-edge-litert")
    assert list(result["corruptions"]) == [corruption.name for corruption in CORRUPTIONS]
    lowest = min(accuracies[MIDDLE - 1] for accuracies in result["corruptions"].values())
    assert result["worst"]["drop"] == pytest.approx(result["clean"] - lowest)
    assert result["damaged_accuracy"] == pytest.approx(np.mean(list(result["corruptions"].values())), abs=1e-4)
    lines = capsys.readouterr().out.splitlines()
    assert f"| clean | {result['clean']:.1%} ± {100 * result['clean_interval_95']:.1f} |" in lines
    assert sum(line.startswith("| noise |") for line in lines) == 2
    assert any(line.endswith("| 0.03, 0.06, 0.09, 0.12, 0.15 of the side |") for line in lines)


def test_the_progress_is_told_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured(tmp_path, "--models", "mien_net_int8")
    assert capsys.readouterr().err.splitlines() == [f"{corruption.name} ..." for corruption in CORRUPTIONS]


def test_a_model_that_fails_is_named_and_loses_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed, bare = tmp_path / "changed_int8.tflite", tmp_path / "bare_int8.tflite"
    original = find_model("mien_net_int8")
    for copy in (changed, bare):
        shutil.copy(original, copy)
    shutil.copy(original.with_suffix(".json"), changed.with_suffix(".json"))
    changed.write_bytes(original.read_bytes()[:-1] + b"x")
    code, results = measured(tmp_path, "--models", str(changed), "mien_net_int8", str(bare))
    assert code == 1
    assert [model["model"] for model in results["models"]] == ["mien_net_int8"]
    assert [failed["model"] for failed in results["failed"]] == ["changed_int8", "bare_int8"]
    assert str(changed) in results["failed"][0]["why"]
    captured = capsys.readouterr()
    for failed in results["failed"]:
        assert f"{failed['model']} was not measured: {failed['why']}" in captured.out
        assert f"error: {failed['model']}: {failed['why']}" in captured.err


def test_where_every_model_fails_there_is_still_a_report(tmp_path: Path) -> None:
    bare = tmp_path / "bare_int8.tflite"
    shutil.copy(find_model("mien_net_int8"), bare)
    code, results = measured(tmp_path, "--models", str(bare))
    assert (code, results["models"]) == (1, [])
    assert "bare_int8 was not measured: " in table(results)
    assert plots(results) == {}


def test_what_int8_loses_is_told_with_its_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, results = measured(
        tmp_path, "--models", "mien_net_int8", str(PUBLISHED / "mien_net" / "mien_net_float32.tflite")
    )
    (pair,) = results["pairs"]
    accuracies = {model["model"]: model["damaged_accuracy"] for model in results["models"]}
    assert (pair["float"], pair["int8"]) == ("mien_net_float32", "mien_net_int8")
    lost = accuracies["mien_net_float32"] - accuracies["mien_net_int8"]
    assert pair["difference"] == pytest.approx(lost, abs=2e-5)  # both accuracies are rounded to 1e-5
    assert 0 <= pair["difference_interval_95"] < 0.5
    assert f"mien_net_int8 loses {100 * pair['difference']:.2f} ± " in capsys.readouterr().out


def test_without_models_float32_and_int8_files_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(models: list[Path], images: Fer2013) -> dict[str, Any]:
        asked.extend(model.name for model in models)
        return {"images": len(images), "models": [], "pairs": [], "failed": []}

    monkeypatch.setattr("benchmarks.robustness.measure_robustness", note)
    measured(tmp_path)
    assert {"mien_net_float32.tflite", "mien_net_int8.tflite", "cnn_float32.tflite", "cnn_int8.tflite"} <= set(asked)
    assert all(name.endswith(("_float32.tflite", "_int8.tflite")) for name in asked)


def test_the_plot_has_a_panel_for_each_corruption_and_dashes_for_int8() -> None:
    results = read_record(RESULTS / "robustness.json")["results"]
    (model,) = results["models"]
    results["models"] = [{**model, "model": "mien_net_float32"}, model]
    (figure,) = plots(results).values()
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(panels) == [corruption.name for corruption in CORRUPTIONS]
    noise = [line for line in panels["noise"].lines if len(line.get_xdata()) == STRENGTHS]
    assert [line.get_linestyle() for line in noise] == ["-", "--"]
    assert len({line.get_color() for line in noise}) == 1
    np.testing.assert_allclose(noise[1].get_ydata(), 100 * np.array(model["corruptions"]["noise"]))
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    assert [text.get_text() for text in legend.get_texts()] == ["mien_net_float32", "mien_net_int8"]


def test_chosen_images_are_the_same_again_and_in_order() -> None:
    data = make_data()
    first, second = choose_images(data, 10), choose_images(data, 10)
    np.testing.assert_array_equal(first.images, second.images)
    assert len(first) == 10
    assert len(choose_images(data, None)) == len(choose_images(data, 1000)) == len(data.test)
    with pytest.raises(ValueError, match="no test images"):
        choose_images(data.training, 10)


def test_no_images_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robustness", "--data", "x.csv", "--images", "0"]) == 1
    assert capsys.readouterr().err == "error: --images 0 must be 1 or more\n"
