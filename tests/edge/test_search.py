"""Where is looked in each frame: around known faces always, everywhere now and then, evenly."""

import numpy as np
import pytest

from mien import Box
from mien.faces import Image
from mien.search import FaceSearch

FACE = Box(40, 40, 50, 50)
GRAY = np.zeros((240, 320), np.uint8)


class CountingDetector:
    """Finds one face wherever it looks, and counts how often it looks where."""

    takes_frame = False

    def __init__(self, face: Box | None = FACE) -> None:
        self.face = face
        self.whole, self.near, self.steps = 0, 0, list[int]()

    def detect(self, picture: Image) -> list[Box]:
        self.whole += 1
        return [self.face] if self.face else []

    def count_steps(self, shape: tuple[int, int]) -> int:
        return 20

    def detect_step(self, picture: Image, step: int) -> list[Box]:
        self.steps.append(step)
        return [self.face] if self.face else []

    def detect_near(self, picture: Image, box: Box, reach: float, is_known: bool) -> list[Box]:
        self.near += 1
        return [self.face] if self.face and self.face.is_same_face(box) else []


def look(search: FaceSearch, known: list[Box], time_s: float) -> list[Box]:
    return search.find(GRAY, [(box, 0.0) for box in known], time_s)


def test_the_first_frame_is_searched_as_a_whole() -> None:
    detector = CountingDetector()
    assert look(FaceSearch(detector, 0.5), [], 7.0) == [FACE]
    assert (detector.whole, detector.steps) == (1, [])


@pytest.mark.parametrize("frame_rate", [5, 30, 120])
def test_the_whole_frame_is_searched_once_in_an_interval_whatever_the_frame_rate(frame_rate: int) -> None:
    detector = CountingDetector()
    search = FaceSearch(detector, 0.5)
    look(search, [], 0.0)
    for frame in range(1, 2 * frame_rate + 1):
        before = len(detector.steps)
        assert look(search, [FACE], frame / frame_rate) == [FACE]
        # Evenly: no frame has much more than its share of the 20 steps in half a second.
        assert len(detector.steps) - before <= 40 / frame_rate + 2
    assert detector.whole == 1
    assert detector.near == 2 * frame_rate  # a known face is not confirmed again
    assert 3 * 20 <= len(detector.steps) <= 4 * 20
    assert detector.steps[:20] == list(range(20))


def test_a_face_that_is_not_where_it_was_is_looked_for_everywhere_but_not_in_every_frame() -> None:
    detector = CountingDetector()
    search = FaceSearch(detector, 0.5)
    look(search, [], 0.0)
    detector.face = Box(200, 150, 50, 50)
    assert look(search, [FACE], 1.0) == [detector.face]
    detector.face = None
    for frame in range(10):
        look(search, [FACE], 1.03 + frame / 30)
    assert detector.whole == 2


def test_two_regions_that_find_one_face_give_one_box() -> None:
    detector = CountingDetector()
    search = FaceSearch(detector, 0.5)
    look(search, [], 0.0)
    assert look(search, [FACE, Box(60, 40, 50, 50)], 0.01) == [FACE]


def test_a_clock_that_was_set_back_begins_anew() -> None:
    detector = CountingDetector()
    search = FaceSearch(detector, 0.5)
    look(search, [], 1e9)
    look(search, [FACE], 5.0)
    assert detector.whole == 2


def test_an_interval_of_nothing_searches_every_frame() -> None:
    detector = CountingDetector()
    search = FaceSearch(detector, 0)
    for frame in range(5):
        assert look(search, [FACE], frame / 30) == [FACE]
    assert (detector.whole, detector.near) == (5, 0)


def test_a_likelier_neighbour_does_not_take_the_place_of_a_known_face() -> None:
    """Two faces side by side, both in either's region; the detector is surer of the left one."""

    class TwoFaces(CountingDetector):
        def detect_near(self, picture: Image, box: Box, reach: float, is_known: bool) -> list[Box]:
            return [FACE, neighbour]

        def detect_step(self, picture: Image, step: int) -> list[Box]:
            return []

    neighbour = Box(110, 40, 50, 50)
    search = FaceSearch(TwoFaces(), 4.0)
    look(search, [], 0.0)
    assert sorted(look(search, [FACE, neighbour], 0.5)) == [FACE, neighbour]
    assert look(search, [neighbour], 1.0) == [neighbour]


class EchoDetector(CountingDetector):
    """Finds a face wherever it is told to look near."""

    def detect_near(self, picture: Image, box: Box, reach: float, is_known: bool) -> list[Box]:
        return [box]


def test_heads_of_one_size_that_partly_hide_each_other_are_two_faces() -> None:
    search = FaceSearch(EchoDetector(None), 0.5)
    look(search, [], 0.0)
    beside, nested = Box(68, 40, 50, 50), Box(55, 50, 20, 20)
    assert FACE.overlap(beside) > 0.25
    assert sorted(look(search, [FACE, beside], 0.1)) == [FACE, beside]
    assert look(search, [FACE, nested, FACE.moved(15, 0)], 0.2) == [FACE]
