"""Who is who from frame to frame; all of it in seconds."""

import math

import numpy as np
import pytest

from mien.faces import Box
from mien.tracker import Track, Tracker


def ids(tracker: Tracker, boxes: list[Box], time_s: float) -> list[int]:
    return [track.track_id for track in tracker.update(boxes, time_s)]


def test_a_moving_and_growing_face_keeps_its_id() -> None:
    tracker = Tracker()
    seen = [ids(tracker, [Box(100 + 5 * step, 50, 60 + 2 * step, 60 + 2 * step)], step / 30) for step in range(60)]
    assert seen == [[1]] * 60


def test_a_face_missed_for_a_moment_keeps_its_id() -> None:
    tracker = Tracker()
    assert ids(tracker, [Box(10, 10, 50, 50)], 0.0) == [1]
    assert ids(tracker, [], 0.2) == []
    assert ids(tracker, [Box(12, 10, 50, 50)], 0.45) == [1]


def test_a_face_that_was_away_longer_is_a_new_one() -> None:
    tracker = Tracker()
    assert ids(tracker, [Box(10, 10, 50, 50)], 0.0) == [1]
    assert ids(tracker, [], 0.1) == []
    assert ids(tracker, [Box(10, 10, 50, 50)], 0.6) == [2]


def test_a_slow_device_follows_a_face_from_one_frame_to_the_next() -> None:
    tracker = Tracker()
    assert [ids(tracker, [Box(10, 10, 50, 50)], float(second)) for second in range(5)] == [[1]] * 5


def test_two_faces_keep_their_ids_in_whatever_order_they_are_found() -> None:
    tracker = Tracker()
    left, right = Box(10, 10, 50, 50), Box(200, 10, 60, 60)
    assert ids(tracker, [left, right], 0.0) == [1, 2]
    assert ids(tracker, [right, left], 0.1) == [2, 1]


def test_one_track_is_never_given_to_two_faces() -> None:
    tracker = Tracker()
    ids(tracker, [Box(10, 10, 50, 50)], 0.0)
    assert ids(tracker, [Box(30, 10, 50, 50), Box(11, 10, 50, 50)], 0.1) == [2, 1]


@pytest.mark.parametrize("frame_rate", [5, 10, 30])
def test_smoothing_does_not_depend_on_the_frame_rate(frame_rate: int) -> None:
    sad, happy = np.eye(7, dtype=np.float32)[[4, 3]]
    track = Track(1, Box(0, 0, 1, 1), 0.0)
    track.smooth(sad, 0.0, smoothing_s=0.5)
    for step in range(1, frame_rate + 1):
        track.smooth(happy, step / frame_rate, smoothing_s=0.5)
    assert track.probabilities is not None
    # One second is two time constants: 1 - exp(-2) of the old opinion is gone.
    np.testing.assert_allclose(track.probabilities[3], 1 - np.exp(-2), atol=1e-5)
    np.testing.assert_allclose(track.probabilities.sum(), 1, atol=1e-5)


def test_without_smoothing_the_newest_probabilities_stand() -> None:
    track = Track(1, Box(0, 0, 1, 1), 0.0)
    for row in np.eye(7, dtype=np.float32):
        track.smooth(row, 0.0, smoothing_s=0)
        np.testing.assert_array_equal(track.probabilities, row)


def test_with_infinite_smoothing_the_mean_over_all_frames_stands() -> None:
    track = Track(1, Box(0, 0, 1, 1), 0.0)
    rows = np.random.default_rng(0).dirichlet(np.ones(7), 100).astype(np.float32)
    for number, row in enumerate(rows):
        track.smooth(row, number / 30, smoothing_s=math.inf)
    assert track.probabilities is not None
    np.testing.assert_allclose(track.probabilities, rows.mean(axis=0), atol=1e-5)


def judged(track: Track, sad: float, happy: float, thresholds: float = 0.5) -> tuple[int, bool]:
    track.probabilities = np.array([0, 0, 0, happy, sad, 0, 1 - happy - sad], np.float32)
    track.judge(np.full(7, thresholds, np.float32))
    return track.shown, track.is_sure


def test_an_emotion_is_held_until_another_is_clearly_more_probable() -> None:
    track = Track(1, Box(0, 0, 1, 1), 0.0)
    shown = [judged(track, sad, 0.9 - sad)[0] for sad in (0.5, 0.44, 0.46, 0.42, 0.47, 0.39, 0.44, 0.49, 0.51)]
    assert shown == [4, 4, 4, 4, 4, 3, 3, 3, 4]


def test_a_face_at_its_threshold_does_not_flicker_between_sure_and_unsure() -> None:
    track = Track(1, Box(0, 0, 1, 1), 0.0)
    sure = [judged(track, sad, 0.3)[1] for sad in (0.49, 0.51, 0.49, 0.41, 0.39, 0.49, 0.51)]
    assert sure == [False, True, True, True, False, False, True]


@pytest.mark.parametrize("speed", [100, 200, 400])
@pytest.mark.parametrize("nearer", [50, 60])
def test_two_faces_that_pass_each_other_keep_their_ids(speed: int, nearer: int) -> None:
    tracker, rng = Tracker(), np.random.default_rng(0)
    for frame in range(60):
        way = round(speed * frame / 30)
        x, y = rng.integers(-2, 3, 2)  # boxes tremble
        front, behind = Box(50 + way + x, 40 + y, nearer, nearer), Box(550 - way - x, 45 - y, 50, 50)
        hidden = front.is_same_face(behind)
        found = ids(tracker, [front] if hidden else [front, behind], frame / 30)
        assert found == ([1] if hidden else [1, 2]), frame


def test_a_clock_that_is_set_back_leaves_no_face_behind_that_is_gone() -> None:
    tracker = Tracker()
    assert ids(tracker, [Box(10, 10, 50, 50)], 100.0) == [1]
    assert ids(tracker, [Box(10, 10, 50, 50)], 50.0) == [1]
    assert ids(tracker, [], 50.1) == []
    assert all(0 <= 50.4 - track.last_seen_s <= 0.5 for track in tracker.known(50.4))
    assert tracker.known(50.7) == []


def test_who_stands_there_after_an_outage_is_somebody_new() -> None:
    tracker = Tracker()
    assert ids(tracker, [Box(10, 10, 50, 50)], 0.0) == [1]
    assert ids(tracker, [Box(10, 10, 50, 50)], 10.0) == [1]  # a frame in ten seconds is slow, but all that comes
    assert ids(tracker, [Box(10, 10, 50, 50)], 70.0) == [2]
