"""Own images fine-tune a published model, whatever their size and colour; what they lack is said first."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.detectors import open_detector
from mien.emotions import EMOTIONS
from mien.faces import Box, Image
from mien.fer2013 import Fer2013
from mien.own_images import is_own_folder, load_data, load_own_images
from mien.preprocess import crop_face
from tests.conftest import REPOSITORY, make_data, require_module, write_csv, write_folder, write_huge_png
from train.scarce import scarce_classes

PUBLISHED = REPOSITORY / "models" / "cnn" / "model.keras"


def write_own(root: Path, counts: dict[str, int], image: Image | None = None) -> Path:
    """Write noise images of several sizes, gray and colour, JPEG and PNG; or one image again and again."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            shape = [(48, 48), (100, 80, 3), (31, 57, 3)][number % 3]
            pixels = rng.integers(0, 256, shape).astype(np.uint8) if image is None else image
            cv2.imwrite(str(root / name / f"{number}.{['png', 'jpg', 'JPEG'][number % 3]}"), pixels)
    return root


def test_images_of_any_size_and_colour_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load_data(write_own(tmp_path, {"Happy": 4, "sad": 3}))
    assert data.images.shape == (7, 48, 48)
    assert data.labels.tolist() == [3] * 4 + [4] * 3
    assert len(data.training) == 7
    assert "7 own images: a face was found in 0, the others are taken whole" in capsys.readouterr().out


def test_files_of_other_types_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_own(tmp_path, {"happy": 2, "sad": 2})
    cv2.imwrite(str(tmp_path / "sad/5.webp"), np.zeros((60, 60), np.uint8))
    for name in ("a.heic", "b.gif", ".DS_Store"):
        (tmp_path / "sad" / name).write_bytes(b"...")
    assert len(load_own_images(tmp_path).images) == 5
    assert f"left out, such as {tmp_path}/sad/a.heic" in (output := capsys.readouterr().out)
    assert "note: 2 files are no .jpg, .jpeg, .png" in output


def test_a_face_in_a_picture_is_cut_as_the_device_cuts_it(tmp_path: Path, portrait: Image) -> None:
    folder = write_own(tmp_path, {"happy": 1}, portrait)
    (face,) = load_own_images(folder).images
    gray = cv2.imread(str(next((folder / "happy").iterdir())), cv2.IMREAD_GRAYSCALE)
    (box,) = open_detector().detect(gray)
    cut, whole = (crop_face(gray, area, margin=0) for area in (box, Box(0, 0, gray.shape[1], gray.shape[0])))
    assert np.array_equal(face, cut)
    assert np.corrcoef(face.ravel(), whole.ravel())[0, 1] < 0.5


def test_a_missing_and_a_nearly_empty_class_are_named() -> None:
    data = make_data(per_class=30).training
    keep = (data.labels != 2) & ~((data.labels == 1) & (np.cumsum(data.labels == 1) > 1))
    assert scarce_classes(data) == []
    assert scarce_classes(data.rows(keep)) == [
        "disgust has only 1 image to learn from: expect little of it",
        "fear has no image to learn from: the network will not know it",
    ]


def test_fer2013_is_told_from_own_images(tmp_path: Path) -> None:
    assert not is_own_folder(write_folder(make_data(), tmp_path / "fer"))
    assert not is_own_folder(write_csv(make_data(), tmp_path / "fer2013.csv"))
    assert is_own_folder(write_own(tmp_path / "own", {"happy": 1}))


@pytest.mark.parametrize(
    ("counts", "extra", "message"),
    [
        (
            {"happiness": 3},
            None,
            "holds neither train/ and test/, as FER2013 does, nor folders named like the emotions",
        ),
        ({"happy": 3, "joy": 3}, None, "joy is not named like an emotion: allowed are angry, disgust"),
        ({"happy": 0, "sad": 0}, None, "folders but no images"),
        ({"happy": 3, "sad": 3}, "sad/no.png", r"no.png cannot be read as an image: remove or replace it"),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, counts: dict[str, int], extra: str | None, message: str) -> None:
    write_own(tmp_path, counts)
    if extra:
        (tmp_path / extra).write_text("no image")
    with pytest.raises(ValueError, match=message):
        load_data(tmp_path)


def test_an_image_with_too_many_pixels_is_named(tmp_path: Path) -> None:
    write_huge_png(write_own(tmp_path, {"happy": 3}) / "happy" / "huge.png")
    with pytest.raises(ValueError, match=r"huge\.png cannot be read as an image: remove or replace it"):
        load_data(tmp_path)


def test_images_of_one_class_are_refused(tmp_path: Path) -> None:
    require_module("keras")
    from train.batches import divide
    from train.config import TrainingConfig

    with pytest.raises(ValueError, match="of one class only, happy: a network needs two classes or more"):
        divide(load_data(write_own(tmp_path / "own", {"happy": 30})), TrainingConfig())
    data = make_data()
    table = write_csv(data.rows((data.labels == 3) | (data.usages != 0)), tmp_path / "fer2013.csv")
    with pytest.raises(ValueError, match="of one class only, happy"):
        divide(load_data(table), TrainingConfig())


def write_bars(root: Path, data: Fer2013) -> Path:
    """Write images as own ones, larger than the network's and in colour."""
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        (root / EMOTIONS[label]).mkdir(parents=True, exist_ok=True)
        picture = cv2.cvtColor(cv2.resize(image, (96, 96)), cv2.COLOR_GRAY2BGR)
        cv2.imwrite(str(root / EMOTIONS[label] / f"{number}.png"), picture)
    return root


@pytest.mark.tensorflow
def test_the_command_fine_tunes_a_published_model(tmp_path: Path) -> None:
    require_module("keras")
    data = make_data(per_class=20)
    own = write_bars(tmp_path / "photos", data.rows(data.labels != 1))
    command = [sys.executable, "-m", "train", "cnn", "--data", str(own), "--out", str(tmp_path / "run")]
    result = subprocess.run(
        [*command, "--epochs", "5", "--batch-size", "8", "--learning-rate", "0.002"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    note, start = (
        lines.index("note: disgust has no image to learn from: the network may forget it"),
        f"starting from {PUBLISHED}",
    )
    assert note < lines.index(start) < next(i for i, line in enumerate(lines) if line.startswith("epoch 1/5"))
    report = (tmp_path / "run" / "report.md").read_text()
    accuracies = re.findall(r"\| (before|after) \| ([\d.]+)%", report)
    assert [name for name, _ in accuracies] == ["before", "after"]
    assert float(accuracies[1][1]) > float(accuracies[0][1])  # bars are nothing like faces, and easily learnt
    assert "There are no test images." in report


@pytest.mark.tensorflow
def test_a_start_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    require_module("keras")
    data = write_csv(make_data(), tmp_path / "fer2013.csv")
    shutil.copy(PUBLISHED, tmp_path / "cnn.keras")
    command = [sys.executable, "-m", "train", "resemotenet", "--width", "0.1", "--data", str(data)]
    command += ["--out", str(tmp_path / "run"), "--start", str(tmp_path / "cnn.keras")]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 1
    assert re.match(
        r"error: .*cnn.keras holds cnn with 1,182,151 parameters, which does not fit resemotenet with",
        result.stderr.splitlines()[-1],
    )
    assert not (tmp_path / "run").exists()
