"""Accuracy against the number of calibration images: measured, kept, drawn again."""

import json
from pathlib import Path

import cv2
import pytest

from tests.conftest import make_data, require_module, write_csv

keras = require_module("keras")
require_module("tensorflow")
require_module("litert_quantizer")

from convert import calibration_study

pytestmark = pytest.mark.tensorflow


def test_sizes_are_measured_with_several_seeds_and_redrawn_from_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_data(per_class=20)
    keras.utils.set_random_seed(0)  # some random networks answer so evenly that int8 changes half of the answers
    layers = keras.layers
    network = [
        keras.Input((48, 48, 1)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(4, 3),
    ]
    run = tmp_path / "tiny"
    run.mkdir()
    keras.Sequential([*network, layers.GlobalAveragePooling2D(), layers.Dense(7, activation="softmax")]).save(
        run / "model.keras"
    )
    (run / "run.json").write_text(json.dumps({"seed": 0, "validation_share": 0.3, "data_sha256": data.sha256}))
    monkeypatch.setattr(calibration_study, "SIZES", (7, 14))
    files = ["--results", str(tmp_path / "results.json"), "--plot", str(tmp_path / "plot.png")]
    table = write_csv(data, tmp_path / "fer2013.csv")
    assert calibration_study.main([str(run), "--data", str(table), "--seeds", "2", *files]) == 0
    printed = capsys.readouterr().out
    entry = json.loads((tmp_path / "results.json").read_text())["tiny"]
    assert {size: len(values) for size, values in entry["accuracy"].items()} == {"7": 2, "14": 2}
    assert all(0.5 < value <= 1 for values in entry["agreement"].values() for value in values)
    (tmp_path / "plot.png").unlink()
    assert calibration_study.main(files) == 0
    assert printed.endswith(capsys.readouterr().out)
    assert cv2.imread(str(tmp_path / "plot.png")) is not None


def test_a_run_without_its_data_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibration_study.main([str(tmp_path), "--data", "x.csv", "--results", str(tmp_path / "r.json")]) == 1
    assert capsys.readouterr().err.startswith(f"error: no model at {tmp_path / 'model.keras'}")
