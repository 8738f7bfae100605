"""A cell's numbers become the box that they stand for, and of the boxes of one face the likeliest stays."""

import numpy as np
import pytest

from mien.face_maps import GEOMETRY, MOST_CANDIDATES, SIZE_UNIT, Array, Found, Map, decode, overlaps, suppress

NO_FACE = -9.0


def empty_map(stride: int, rows: int = 3, columns: int = 4) -> Map:
    """Return a map whose cells see nothing."""
    scores = np.full((rows, columns), NO_FACE, np.float32)
    return Map(stride, scores, np.zeros((rows, columns, GEOMETRY), np.float32))


def make_found(boxes: list[list[float]], scores: list[float]) -> Found:
    landmarks = np.zeros((len(boxes), 5, 2), np.float32)
    return Found(np.array(boxes, np.float32).reshape(-1, 4), landmarks, np.array(scores, np.float32))


def as_boxes(found: Found) -> list[list[float]]:
    boxes: list[list[float]] = found.boxes.tolist()
    return boxes


def test_a_cell_tells_centre_size_and_landmarks_in_strides_from_its_own_middle() -> None:
    seen = empty_map(16)
    row, column = 1, 2
    seen.scores[row, column] = 2.0
    seen.geometry[row, column, :4] = 0.5, -0.25, np.log(1.5), np.log(0.5)
    seen.geometry[row, column, 4:] = np.arange(10) / 10
    found = decode([empty_map(8), seen], 0.5)
    # The middle of the cell is at (40, 24): column and row, and a half, times the stride.
    width, height = 1.5 * SIZE_UNIT * 16, 0.5 * SIZE_UNIT * 16
    centre_x, centre_y = 40 + 0.5 * 16, 24 - 0.25 * 16
    assert found.boxes[0] == pytest.approx([centre_x - width / 2, centre_y - height / 2, width, height])
    assert found.landmarks[0, 0] == pytest.approx([40, 24 + 0.1 * 16])
    assert found.landmarks[0, 4] == pytest.approx([40 + 0.8 * 16, 24 + 0.9 * 16])
    assert found.scores == pytest.approx([1 / (1 + np.exp(-2.0))])


def test_only_cells_that_reach_the_score_count_and_the_likeliest_comes_first() -> None:
    fine, coarse = empty_map(8), empty_map(32)
    fine.scores[0, 0], fine.scores[2, 3], coarse.scores[1, 1] = 0.1, -0.1, 3.0
    found = decode([fine, coarse], 0.5)
    assert len(found.scores) == 2
    assert found.boxes[0, 2] == pytest.approx(32 * SIZE_UNIT)
    assert found.scores[0] > found.scores[1] > 0.5


def test_maps_that_see_nothing_give_nothing() -> None:
    found = suppress(decode([empty_map(8), empty_map(16)], 0.1), 0.4)
    assert found.boxes.shape == (0, 4)
    assert found.landmarks.shape == (0, 5, 2)
    assert found.scores.shape == (0,)


def test_a_size_beyond_reason_stays_a_number() -> None:
    wild = empty_map(8)
    wild.scores[0], wild.geometry[..., 2:4] = 1.0, 1e4
    assert np.isfinite(decode([wild], 0.5).boxes).all()


def test_of_too_many_candidates_the_likeliest_count() -> None:
    many = empty_map(8, 30, 30)
    many.scores[:] = np.random.default_rng(0).permutation(900).reshape(30, 30) / 100
    found = decode([many], 0.4)
    assert len(found.scores) == MOST_CANDIDATES
    assert found.scores.min() >= 1 / (1 + np.exp(-(899 - MOST_CANDIDATES) / 100))


def test_of_two_boxes_that_overlap_the_likelier_stays() -> None:
    # The first two have 80 of 120 columns in common, the third none.
    boxes: list[list[float]] = [[0, 0, 100, 100], [20, 0, 100, 100], [200, 0, 100, 100]]
    found = make_found(boxes, [0.9, 0.8, 0.7])
    assert as_boxes(suppress(found, 0.6)) == [boxes[0], boxes[2]]
    assert as_boxes(suppress(found, 0.7)) == boxes


def test_a_box_that_went_takes_no_other_one_with_it() -> None:
    # A chain: the middle one overlaps both others by a third, and they only touch each other.
    chain = make_found([[0, 0, 100, 100], [50, 0, 100, 100], [100, 0, 100, 100]], [0.9, 0.8, 0.7])
    assert suppress(chain, 0.3).scores == pytest.approx([0.9, 0.7])


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        ([0, 0, 10, 10], 1.0),
        ([5, 0, 10, 10], 50 / 150),
        ([2, 2, 5, 5], 0.25),
        ([10, 0, 10, 10], 0.0),
        ([30, 30, 10, 10], 0.0),
        ([3, 3, 0, 0], 0.0),
    ],
)
def test_overlap_is_the_intersection_over_the_union(other: list[float], overlap: float) -> None:
    box: Array = np.array([[0, 0, 10, 10]], np.float32)
    assert overlaps(box, np.array([other], np.float32)) == pytest.approx(np.array([[overlap]]))
