"""Average precision by hand: what is found, found twice, missed, too small to count, or in an ignored place."""

import math

import numpy as np
import pytest

from mien.detection_metrics import Truth, average_precision, judge
from mien.face_maps import Found

FACE, OTHER, NOTHING = [10.0, 10, 40, 40], [100.0, 10, 40, 40], [60.0, 100, 40, 40]
TINY = [150.0, 150, 8, 8]
"""Narrower than 0.08 of the 200 pixels."""


def find(*boxes: list[float], scores: list[float] | None = None) -> Found:
    """Return boxes, the likeliest first."""
    levels = scores or [0.9 - 0.1 * number for number in range(len(boxes))]
    places = np.array(boxes, np.float32).reshape(-1, 4)
    return Found(places, np.zeros((len(boxes), 5, 2), np.float32), np.array(levels, np.float32))


def label(*boxes: list[float], ignored: list[list[float]] | None = None) -> Truth:
    ignored_boxes = np.array(ignored or [], np.float32).reshape(-1, 4)
    return Truth(200, np.array(boxes, np.float32).reshape(-1, 4), ignored_boxes)


def test_all_faces_found_and_nothing_else_is_1() -> None:
    assert average_precision([find(FACE, OTHER), find(FACE)], [label(FACE, OTHER), label(FACE)]) == 1


def test_half_of_the_faces_is_a_half() -> None:
    assert average_precision([find(FACE), find()], [label(FACE), label(FACE)]) == pytest.approx(0.5)


def test_a_false_box_costs_only_if_it_is_likelier_than_a_right_one() -> None:
    assert average_precision([find(FACE, NOTHING)], [label(FACE)]) == 1
    # One false box before the only right one: a precision of a half at the full recall.
    assert average_precision([find(NOTHING, FACE)], [label(FACE)]) == pytest.approx(0.5)


def test_scores_of_all_pictures_are_sorted_together() -> None:
    found = [find(FACE, scores=[0.6]), find(NOTHING, scores=[0.7])]
    assert average_precision(found, [label(FACE), label()]) == pytest.approx(0.5)
    found = [find(FACE, scores=[0.8]), find(NOTHING, scores=[0.7])]
    assert average_precision(found, [label(FACE), label()]) == 1


def test_precision_between_two_recalls_is_the_best_from_there_on() -> None:
    # Wrong, right, right: 1/2 at the first face, but 2/3 at both.
    found = [find(NOTHING, FACE, OTHER)]
    assert average_precision(found, [label(FACE, OTHER)]) == pytest.approx(2 / 3)
    # Right, wrong, right: half the recall at 1, the other half at 2/3.
    found = [find(FACE, NOTHING, OTHER)]
    assert average_precision(found, [label(FACE, OTHER)]) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_second_box_of_a_face_is_wrong() -> None:
    counted, right = judge(find(FACE, FACE), label(FACE))
    assert counted.tolist() == [True, True]
    assert right.tolist() == [True, False]


@pytest.mark.parametrize(("shift", "is_right"), [(13.0, True), (14.0, False)])
def test_a_box_is_right_from_an_overlap_of_a_half_on(shift: float, is_right: bool) -> None:
    # Shifted by s of 40 pixels, the overlap is (40 - s) / (40 + s): a half at 13.3.
    _, right = judge(find([FACE[0] + shift, *FACE[1:]]), label(FACE))
    assert right.tolist() == [is_right]


def test_small_faces_neither_count_nor_harm() -> None:
    assert average_precision([find(FACE)], [label(FACE, TINY)]) == 1  # missed
    assert average_precision([find(TINY, FACE)], [label(FACE, TINY)]) == 1  # found
    assert average_precision([find(TINY, FACE)], [label(FACE)]) == 1  # as small as what nobody labelled
    assert average_precision([find(FACE)], [label(FACE, TINY)], min_width=0.01) == pytest.approx(0.5)


def test_a_box_in_an_ignored_place_does_not_count() -> None:
    assert average_precision([find(NOTHING, FACE)], [label(FACE, ignored=[[50, 90, 70, 70]])]) == 1
    # Only a quarter of it lies there.
    assert average_precision([find(NOTHING, FACE)], [label(FACE, ignored=[[60, 100, 20, 20]])]) == pytest.approx(0.5)


def test_without_a_face_there_is_no_average_precision() -> None:
    assert math.isnan(average_precision([find(NOTHING)], [label()]))
    assert math.isnan(average_precision([], []))


def test_with_faces_and_nothing_found_it_is_0() -> None:
    assert average_precision([find()], [label(FACE)]) == 0


def test_each_picture_needs_its_truth() -> None:
    with pytest.raises(ValueError, match="shorter"):
        average_precision([find(FACE), find(FACE)], [label(FACE)])
