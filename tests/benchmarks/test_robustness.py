"""Robustness is measured on damage that is what it says, and grows with its strength."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.corruptions import CORRUPTIONS, MIDDLE, STRENGTHS, Corruption, corrupt
from mien.faces import Image
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


def test_robustness_prints_a_table_and_names_the_worst(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_csv(make_data(), tmp_path / "fer2013.csv")
    results = tmp_path / "results.json"
    arguments = ["--data", str(data), "--models", "cnn_int8", "--images", "10", "--json", str(results)]
    assert main(["robustness", *arguments]) == 0
    (result,) = json.loads(results.read_text())
    assert (result["model"], result["images"]) == ("cnn_int8", 10)
    assert list(result["corruptions"]) == [corruption.name for corruption in CORRUPTIONS]
    lowest = min(accuracies[MIDDLE - 1] for accuracies in result["corruptions"].values())
    assert result["worst"]["drop"] == pytest.approx(result["clean"] - lowest)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("cnn_int8 on ai-edge-litert, 10 test images: ")
    assert len(lines) == 4 + len(CORRUPTIONS)


def test_no_images_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robustness", "--data", "x.csv", "--images", "0"]) == 1
    assert capsys.readouterr().err == "error: --images 0 must be 1 or more\n"
