"""Detectors are compared on the same photographs, by where their faces are."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.candidates import BASELINE, Candidate, list_candidates
from benchmarks.detection import FRAME, describe, plain_frame, plots, recall_of, search_album, table
from benchmarks.detection_truth import read_album, read_truth
from benchmarks.record import RESULTS, read_record
from mien.detectors import FaceDetector
from mien.detectors.finder import FinderDetector
from mien.detectors.yunet import YuNetDetector
from mien.faces import Box, Image

FACE = "208,32,116,116"  # in the demo clip's first frame, by eye
HEADER = "file,x,y,width,height,glasses,hard\n"


class Fixed:
    """A detector that always answers the same."""

    takes_frame = True

    def __init__(self, *boxes: Box) -> None:
        self.boxes = list(boxes)

    def detect(self, picture: Image) -> list[Box]:
        assert picture.ndim == 3
        return self.boxes


def measure(detector: FaceDetector, photos: Path, no_faces: Path | None = None) -> dict[str, Any]:
    album = read_album(photos, no_faces)
    return describe(search_album([Candidate("fixed", lambda threads: detector)], album), album)


def counts_of(result: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {recall["name"]: (recall["found"], recall["faces"]) for recall in result["recalls"]}


@pytest.fixture
def photos(tmp_path: Path, portrait: Image) -> Path:
    """Return a folder with two portraits, one of them said to have spectacles, and a wall that is said to have a face.

    Beside it lie the truth, and a folder with a portrait and a wall that are said to have none.
    """
    for folder in ("photos", "no_faces"):
        (tmp_path / folder).mkdir()
    wall = np.full_like(portrait, 127)
    for name, picture in (("one", portrait), ("two", portrait), ("three", wall)):
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), picture)
    cv2.imwrite(str(tmp_path / "no_faces" / "portrait.png"), portrait)
    cv2.imwrite(str(tmp_path / "no_faces" / "wall.png"), wall)
    rows = f"one.png,{FACE},0,0\ntwo.png,{FACE},1,0\nthree.png,{FACE},0,1\n"
    (tmp_path / "photos.csv").write_text(HEADER + rows)
    return tmp_path / "photos"


def test_every_detector_finds_the_portraits_and_nothing_on_the_wall(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = photos.parent / "results.json"
    no_faces = ["--no-faces", str(photos.parent / "no_faces")]
    assert main(["detection", "--photos", str(photos), *no_faces, "--json", str(results)]) == 0
    content = json.loads(results.read_text())["results"]
    names = [result["detector"] for result in content["detectors"]]
    assert names == [
        *(f"frontalface_{name}, {side} pixels" for name in ("default", "alt", "alt2") for side in (640, 320)),
        "HaarDetector (mien run)",
        "HaarDetector (mien image)",
        "finder, 320 pixels (mien run)",
        "finder, 640 pixels (mien image)",
    ]
    assert (content["photos"], content["no_faces"]) == (3, 2)
    for result in content["detectors"]:
        assert counts_of(result) == {"plain": (1, 1), "spectacles": (1, 1), "hard": (0, 1)}
        assert result["false_boxes"] >= 1
        for threads in ("", "_2_threads"):
            assert result[f"median{threads}_ms"] > 0
            assert result[f"frame{threads}_ms"] > 0
        assert result["frame_speed_ratio"] > 0
    assert [one["frame_speed_ratio"] for one in content["detectors"] if one["detector"] == BASELINE] == [1]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("processor ")
    assert lines[2].startswith(
        "| detector | plain | spectacles | hard | false boxes | photograph, ms | frame of 320x240"
    )
    row = "| frontalface_default, 640 pixels | 1 of 1 (2-100 %) | 1 of 1 (2-100 %) | 0 of 1 (0-98 %) | 1 | "
    assert lines[4].startswith(row)
    assert lines[-1] == "YuNet was not measured: its model is not here: `mien models fetch yunet` brings it."


@pytest.mark.parametrize(
    ("boxes", "found"),
    [
        ([], 0),
        ([Box(208, 32, 116, 116)], 1),
        ([Box(208, 32, 116, 116), Box(210, 34, 116, 116)], 1),  # a face counts once
        ([Box(256, 80, 20, 20)], 1),  # much smaller, but its centre lies in the face
        ([Box(208, 150, 116, 116)], 0),  # below it
        ([Box(0, 0, 480, 360)], 0),  # all of the picture
        ([Box(330, 32, 116, 116)], 0),  # beside it
    ],
)
def test_a_face_is_found_by_a_box_on_it(photos: Path, boxes: list[Box], found: int) -> None:
    (result,) = measure(Fixed(*boxes), photos)["detectors"]
    assert counts_of(result)["plain"] == (found, 1)
    assert result["false_boxes"] is None


def test_false_boxes_are_all_boxes_where_there_is_no_face(photos: Path) -> None:
    two = Fixed(Box(0, 0, 20, 20), Box(100, 100, 20, 20))
    (result,) = measure(two, photos, photos.parent / "no_faces")["detectors"]
    assert result["false_boxes"] == 4


def test_the_truth_may_lie_in_the_folder_and_lack_hard_faces(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").write_text("file,x,y,width,height,glasses\na.jpg,1,2,3.0,4.4,1\na.jpg,5,6,7,8,0\n")
    assert read_truth(tmp_path) == {"a.jpg": [(Box(1, 2, 3, 4), "spectacles"), (Box(5, 6, 7, 8), "plain")]}


def test_opencv_has_its_threads_back(photos: Path) -> None:
    before = cv2.getNumThreads()
    measure(Fixed(), photos)
    assert cv2.getNumThreads() == before


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (None, "error: no photos.csv in "),
        ("file,x,y\n", "error: {truth} has no column 'width'"),
        (HEADER, "error: {truth} has no face"),
        (HEADER + "one.png,left,2,3,4,0,0\n", "error: {truth}, line 2: x, y, width and height must be numbers"),
        (HEADER + "one.png,1,2,3", "error: {truth}, line 2: x, y, width and height must be numbers"),
        (HEADER + "one.png,nan,2,3,4,0,0\n", "error: {truth}, line 2: x, y, width and height must be numbers"),
        (HEADER + "one.png,inf,2,3,4,0,0\n", "error: {truth}, line 2: x, y, width and height must be numbers"),
        (
            HEADER + "one.png,1,2,3,0,0,0\n",
            "error: {truth}, line 2: width and height are 3 and 0, allowed is 1 or more",
        ),
        (HEADER + "one.png,1,2,3,4,yes,0\n", "error: {truth}, line 2: glasses is 'yes', allowed are 0 and 1"),
        (HEADER + "one.png,1,2,3,4\n", "error: {truth}, line 2: glasses is None, allowed are 0 and 1"),
        (HEADER + "x" * 200_000 + ",1,2,3,4,0,0\n", "error: {truth} is no CSV in UTF-8"),
        (HEADER + "\udcff.png,1,2,3,4,0,0\n", "error: {truth} is no CSV in UTF-8"),
        (HEADER + "gone.png,1,2,3,4,0,0\n", "error: no picture at "),
        (HEADER + "photos.csv,1,2,3,4,0,0\n", "error: {truth} cannot be read as a picture"),
    ],
)
def test_a_mistake_gets_one_line(
    truth: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    if truth is not None:
        (folder / "photos.csv").write_text(truth, errors="surrogateescape")
    assert main(["detection", "--photos", str(folder)]) == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(message.format(truth=folder / "photos.csv"))


def test_the_interval_of_recall_is_exact() -> None:
    recall = recall_of("plain", 10, 10)
    # All of 10: the lower end is the share at which chance finds all of them in 2.5 % of cases, 0.025 ** (1 / 10).
    assert (recall["recall"], recall["recall_from"], recall["recall_to"]) == (1, 0.6915, 1)
    assert recall["recall_interval_95"] == pytest.approx((1 - 0.6915) / 2, abs=1e-4)


def test_a_kind_without_faces_has_no_recall_and_no_panel(photos: Path) -> None:
    (photos.parent / "photos.csv").write_text(HEADER + f"one.png,{FACE},0,0\n")
    results = measure(Fixed(), photos)
    assert "| fixed | 0 of 1 (0-98 %) | - | - | - | " in table(results)
    assert results["detectors"][0]["frame_speed_ratio"] is None  # its baseline was not measured
    (figure,) = plots(results).values()
    assert [axes.get_title() for axes in figure.axes] == ["1 faces without spectacles"]


def test_the_plot_names_every_detector_in_each_panel() -> None:
    results = read_record(RESULTS / "detection.json")["results"]
    (figure,) = plots(results).values()
    names = {detector["detector"] for detector in results["detectors"]}
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert {text.get_text() for text in axes.texts} - {""} == names


def test_yunet_finds_nearly_all_faces_of_the_photographs(media: Path) -> None:
    model = media / "models" / "face_detection_yunet_2023mar.onnx"
    if not model.exists():
        pytest.skip(f"no {model}")
    (result,) = measure(YuNetDetector(model, 640, 0.045), media / "photos")["detectors"]
    assert {kind: count for kind, (_, count) in counts_of(result).items()} == {
        "plain": 80,
        "spectacles": 21,
        "hard": 13,
    }
    for found, count in counts_of(result).values():
        assert found >= 0.9 * count


@pytest.mark.parametrize("shape", [(360, 480), (20, 20), (3000, 40)])
def test_all_detectors_are_timed_on_a_frame_of_one_size(shape: tuple[int, int]) -> None:
    frame = plain_frame(np.zeros((*shape, 3), np.uint8))
    assert frame.shape == (FRAME[1], FRAME[0], 3)


def test_a_detector_is_made_for_one_thread_and_for_two(photos: Path) -> None:
    made = []

    def open_fixed(threads: int) -> FaceDetector:
        made.append((threads, cv2.getNumThreads()))
        return Fixed()

    search_album([Candidate("fixed", open_fixed)], read_album(photos))
    assert sorted(made) == [(1, 1), (2, 2)]


def test_a_finder_that_is_damaged_is_named_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "finder.tflite"
    damaged.write_bytes(b"no model")
    monkeypatch.setattr(FinderDetector.__init__, "__defaults__", (damaged, 320, 0.08, 1, None))
    candidates, not_measured = list_candidates()
    assert not any("finder" in one.name for one in candidates)
    assert "finder" in [part["peer"] for part in not_measured]


def test_clips_are_not_judged_without_yunet(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detection", "--photos", str(photos), "--clips", str(photos)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --clips are judged by YuNet: ")
