"""From a frame and a box to the 48x48 gray face that every model was trained on.

Training, calibration, benchmarks and the device all see faces of this one form; a second copy of
this code would be the most common bug of the field.
"""

import numpy as np

from mien.faces import Box, Image

FACE_SIZE = 48

UPRIGHT_DEGREES = 8.0
"""A head that leans less is cut as it is: FER2013's heads lean so much, too."""


def check_frame(frame: Image) -> None:
    """Raise ValueError unless a frame is (H, W) or (H, W, 3) uint8, and not empty."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.size == 0:
        got = f"{frame.shape} {frame.dtype}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ValueError(f"a frame is a non-empty uint8 array, (H, W) gray or (H, W, 3) BGR; got {got}")
    if frame.ndim != 2 and not (frame.ndim == 3 and frame.shape[2] == 3):
        raise ValueError(f"a frame is (H, W) gray or (H, W, 3) BGR; got shape {frame.shape}")


def to_gray(frame: Image) -> Image:
    """Return (H, W) gray of a frame; gray frames pass through without a copy.

    Raises:
        ValueError: as `check_frame`.
    """
    check_frame(frame)
    if frame.ndim == 2:
        return frame
    import cv2

    return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)


def crop_face(frame: Image, box: Box, margin: float) -> Image:
    """Cut a square around a box and scale it to (48, 48) gray; a head that leans is turned upright.

    Args:
        frame: (H, W) gray or (H, W, 3) BGR, uint8, 0-255; of a coloured one, the square alone is made gray.
        box: the detector's box in pixels of `frame`.
        margin: fraction of the box's longer side added on every side; it belongs to the model and
            stands in its card.

    What lies outside the frame is filled with its nearest edge, as in the augmentation of training.

    Raises:
        ValueError: the box lies outside the frame, or the frame is none.
    """
    side = max(box.width, box.height) * (1 + 2 * margin)
    if abs(box.roll_degrees) < UPRIGHT_DEGREES:
        return _cut_square(frame, box, side, FACE_SIZE)
    import cv2

    # Turned in twice the size, or it would be blurred. The corners of the leaning square lie in an upright one that is
    # larger by the root of two.
    turned_size = 2 * FACE_SIZE
    size = turned_size * 3 // 2
    around = _cut_square(frame, box, side * size / turned_size, size)
    middle, half = (size - 1) / 2, (turned_size - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), box.roll_degrees, 1)
    turn[:, 2] += half - middle
    turned = cv2.warpAffine(around, turn, (turned_size, turned_size), borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(turned, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)


def _cut_square(frame: Image, box: Box, exact_side: float, size: int) -> Image:
    """Return a square around the middle of a box, (size, size) gray."""
    import cv2

    side = max(1, round(exact_side))
    left = round(box.x + box.width / 2 - side / 2)
    top = round(box.y + box.height / 2 - side / 2)
    height, width = frame.shape[:2]
    # Pixels that the square lacks on each side; the slice below never leaves the frame.
    lack_left, lack_top = max(0, -left), max(0, -top)
    lack_right, lack_bottom = max(0, left + side - width), max(0, top + side - height)
    face = frame[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    if face.size == 0:
        raise ValueError(f"box {tuple(box)} lies outside the frame of {width}x{height} pixels")
    face = to_gray(face)
    if lack_left or lack_top or lack_right or lack_bottom:
        face = cv2.copyMakeBorder(face, lack_top, lack_bottom, lack_left, lack_right, cv2.BORDER_REPLICATE)
    return cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)
