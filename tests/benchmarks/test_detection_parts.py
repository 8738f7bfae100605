"""Average precision, clips and missed faces: what is counted beside the photographs."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.candidates import RawCandidate
from benchmarks.detection_clips import Count, measure_clips
from benchmarks.detection_misses import FALSE, MISSED, MOST_TILES, UNLABELLED, choose_tiles, list_tiles, write_misses
from benchmarks.detection_precision import measure_precision
from benchmarks.detection_report import table
from benchmarks.detection_truth import Album
from mien.face_maps import Found
from mien.faces import Box, Image
from mien.photographs import Photograph
from tests.benchmarks.test_detection import Fixed

FACE = Box(20, 20, 40, 40)


class Stand:
    """Finds the same, with these scores."""

    def __init__(self, *scored: tuple[Box, float]) -> None:
        boxes = np.array([box for box, _ in scored], np.float32).reshape(-1, 4)
        scores = np.array([score for _, score in scored], np.float32)
        self.found = Found(boxes, np.zeros((len(scored), 5, 2), np.float32), scores)

    def find(self, picture: Image, min_score: float) -> Found:
        return self.found.take(self.found.scores >= min_score)


@pytest.fixture
def photographs(tmp_path: Path) -> list[Photograph]:
    """Return one with a face and one without."""
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((100, 100), 90, np.uint8))
    none, landmarks = np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32)
    faces = np.array([FACE], np.float32)
    return [Photograph(tmp_path / "gray.png", boxes, landmarks, none) for boxes in (faces, none)]


def test_average_precision_counts_low_scores_and_false_boxes_those_above_the_threshold(
    photographs: list[Photograph],
) -> None:
    elsewhere = Box(60, 60, 30, 30)
    stand = Stand((elsewhere, 0.9), (FACE, 0.6))
    candidates = [RawCandidate("sure", stand, 0.7), RawCandidate("rash", stand, 0.5)]
    results = measure_precision(candidates, photographs)
    assert (results["photographs"], results["faces"], results["without_faces"]) == (2, 1, 1)
    sure, rash = results["detectors"]
    # Wrong boxes of both photographs come before the one that is right: a third is right when the face is found.
    assert sure["average_precision"] == rash["average_precision"] == pytest.approx(1 / 3, abs=1e-4)
    assert (sure["recall"], sure["false_boxes_per_100"]) == (0, 100)
    assert (rash["recall"], rash["false_boxes_per_100"]) == (1, 200)


def test_frames_faces_and_false_boxes_are_counted_apart() -> None:
    count, far = Count(), Box(70, 70, 20, 20)
    count.add([FACE, far], [FACE])
    count.add([FACE], [far])
    count.add([], [far, FACE])
    assert count == Count(frames=2, faces=3, found_frames=1, found_faces=1, unconfirmed_boxes=1, false_boxes=2)


def test_a_clip_is_judged_frame_by_frame_and_told_in_the_table(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "wall.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 96))
    for _ in range(3):
        writer.write(np.full((96, 96, 3), 127, np.uint8))
    writer.release()
    clips = measure_clips({"right": Fixed(FACE), "blind": Fixed()}, Stand((FACE, 0.9)), tmp_path)
    assert [entry["recall"] for entry in clips["detectors"]] == [1, 0]
    text = table({"photos": 0, "no_faces": None, "detectors": [], "clips": clips})
    assert "| right | 3 of 3 (100.0%) | 3 of 3 | 0 | 0 | 3 of 3 |" in text
    assert "| blind | 0 of 3 (0.0%) |" in text


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no videos in"):
        measure_clips({}, Stand(), tmp_path)


@pytest.fixture
def album() -> Album:
    """Return a photograph with a face in its corner and one in the middle, and a picture without a face."""
    picture = np.full((100, 100, 3), 90, np.uint8)
    faces = [(Box(-5, -5, 30, 30), "plain"), (Box(50, 50, 30, 30), "hard")]
    return Album({"a.jpg": faces}, {"a.jpg": picture}, {"b.jpg": picture})


def test_missed_faces_false_boxes_and_boxes_on_no_label_become_tiles(album: Album, tmp_path: Path) -> None:
    photos, empty = {"a.jpg": [Box(50, 50, 30, 30), Box(80, 0, 20, 20)]}, {"b.jpg": [FACE]}
    tiles = list_tiles(album, photos, empty)
    assert [(tile.kind, tile.caption) for tile in tiles] == [
        (MISSED, "a.jpg, plain"),
        (FALSE, "b.jpg"),
        (UNLABELLED, "a.jpg"),
    ]
    # The face's middle is the tile's.
    assert tiles[0].truth[0].centre == pytest.approx((70, 70), abs=3)
    path = write_misses(tmp_path / "new", "finder, 320 pixels (mien run)", album, photos, empty)
    assert path == tmp_path / "new" / "misses_finder_320_pixels_mien_run.png"
    assert cv2.imread(str(path)) is not None


def test_nothing_missed_makes_no_sheet(album: Album, tmp_path: Path) -> None:
    found = {"a.jpg": [face for face, _ in album.truth["a.jpg"]]}
    assert write_misses(tmp_path, "finder", album, found, {"b.jpg": []}) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("missed", "false", "shown"), [(40, 0, (24, 0)), (40, 40, (16, 8)), (20, 2, (20, 2))])
def test_a_sheet_has_room_for_missed_faces_and_for_false_boxes(
    missed: int, false: int, shown: tuple[int, int], album: Album
) -> None:
    miss, wrong, _ = list_tiles(album, {"a.jpg": [Box(50, 50, 30, 30), Box(80, 0, 20, 20)]}, {"b.jpg": [FACE]})
    chosen = choose_tiles([miss] * missed + [wrong] * false)
    assert (chosen.count(miss), chosen.count(wrong)) == shown
    assert len(chosen) <= MOST_TILES
