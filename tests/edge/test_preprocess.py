"""A face reaches the model as it was in training: gray, square, 48x48."""

import numpy as np
import pytest

from mien.faces import Box, Image
from mien.preprocess import crop_face, to_gray


def test_a_face_of_48_pixels_is_cut_out_unchanged() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (100, 120), np.uint8)
    face = crop_face(gray, Box(30, 20, 48, 48), margin=0)
    np.testing.assert_array_equal(face, gray[20:68, 30:78])


def test_the_margin_widens_the_crop_on_every_side() -> None:
    gray = np.zeros((200, 200), np.uint8)
    gray[80:120, 80:120] = 255  # the box itself is white
    without = crop_face(gray, Box(80, 80, 40, 40), margin=0)
    with_margin = crop_face(gray, Box(80, 80, 40, 40), margin=0.5)  # white is half of the side
    assert without.min() == 255
    assert with_margin[24, 24] == 255
    assert with_margin[2, 2] == with_margin[45, 45] == 0
    assert 0.2 < with_margin.mean() / 255 < 0.3


def test_a_box_at_the_edge_is_filled_with_its_nearest_pixels() -> None:
    gray = np.full((60, 60), 90, np.uint8)
    assert crop_face(gray, Box(-20, -20, 48, 48), margin=0.2).min() == 90
    assert crop_face(gray, Box(40, 40, 48, 48), margin=0.2).max() == 90


def test_a_wide_box_is_made_square_and_not_squeezed() -> None:
    gray = np.zeros((100, 100), np.uint8)
    gray[:, 50:] = 255
    face = crop_face(gray, Box(26, 40, 48, 24), margin=0)
    np.testing.assert_array_equal(face, gray[28:76, 26:74])


def test_a_box_outside_the_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the frame of 60x50"):
        crop_face(np.zeros((50, 60), np.uint8), Box(200, 10, 20, 20), margin=0)


def test_gray_frames_pass_without_a_copy() -> None:
    gray = np.zeros((4, 5), np.uint8)
    assert to_gray(gray) is gray


def test_color_frames_become_gray() -> None:
    blue, green, red = (np.zeros((2, 2, 3), np.uint8) for _ in range(3))
    blue[..., 0], green[..., 1], red[..., 2] = 255, 255, 255
    assert [int(to_gray(image)[0, 0]) for image in (blue, green, red)] == [29, 150, 76]  # BGR by BT.601


@pytest.mark.parametrize(
    "frame",
    [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), None, "frame.png"],
)
def test_what_is_no_frame_is_refused(frame: Image) -> None:
    with pytest.raises(ValueError, match=r"\(H, W\) gray or \(H, W, 3\) BGR"):
        to_gray(frame)
