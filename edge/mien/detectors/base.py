"""What a face detector is, and the pictures that detectors search."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from mien.faces import Box, Image
from mien.preprocess import to_gray


class FaceDetector(Protocol):
    """Finds faces in a picture: all that a detector must have.

    Attributes:
        takes_frame: whether it is given the frame itself, (H, W, 3) BGR where it has colours; else it is given (H, W)
            gray, in fewer pixels where the camera makes such a picture beside the frame.
    """

    takes_frame: bool

    def detect(self, picture: Image) -> list[Box]:
        """Return the boxes of the faces in (H, W) or (H, W, 3) uint8, in its pixels, largest first.

        A box is framed like FER2013's images, and so like those of OpenCV's frontal cascades: a square from the brows
        to the chin, cheeks included.
        """
        ...


def identify(detector: FaceDetector) -> tuple[str, str]:
    """Return a detector's name, which `--detector` takes if it is ours, and why it was taken instead of a better one.

    The latter is "" where it was not.
    """
    return getattr(detector, "name", type(detector).__name__), getattr(detector, "problem", "")


@runtime_checkable
class StepwiseDetector(FaceDetector, Protocol):
    """A detector that can also look around a known face, and at the whole frame in steps of about equal cost."""

    def count_steps(self, shape: tuple[int, int]) -> int:
        """Return in how many steps a frame of (height, width) is searched."""
        ...

    def detect_step(self, picture: Image, step: int) -> list[Box]:
        """Return where faces may be, in one step of the search; `detect_near` confirms them."""
        ...

    def detect_near(self, picture: Image, box: Box, reach: float, is_known: bool) -> list[Box]:
        """Return faces of about a box's size near it, the likeliest first.

        Args:
            picture: (H, W) or (H, W, 3) uint8.
            box: where to look.
            reach: how far its edges may have moved, as a share of its size.
            is_known: whether a face was there in the last frame, so that less evidence is enough.
        """
        ...


@runtime_checkable
class ScalableDetector(FaceDetector, Protocol):
    """A detector whose effort can be changed between two frames.

    Attributes:
        max_side: the frame is shrunk until its longer side has at most this many pixels.
    """

    max_side: int


def shrink(picture: Image, max_side: int) -> tuple[Image, float]:
    """Return a frame whose longer side has at most so many pixels, and by what its size was multiplied."""
    import cv2

    scale = min(1.0, max_side / max(picture.shape[:2]))
    if scale == 1:
        return picture, 1.0
    height, width = small_size(picture.shape, max_side)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), scale


def small_size(shape: Sequence[int], max_side: int) -> tuple[int, int]:
    """Return the (height, width) that `shrink` gives a frame of `shape`."""
    scale = min(1.0, max_side / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def cut_region(
    picture: Image, box: Box, reach: float, face: int, in_gray: bool = False
) -> tuple[Image, int, int, float]:
    """Cut a box with its surroundings, make it gray where that is wanted, and scale it.

    Returns:
        The region, in which the box is `face` pixels wide; its left and top in `picture`; by what it was scaled.
    """
    import cv2

    side = max(box.width, box.height, 1)
    height, width = picture.shape[:2]
    left = min(max(0, round(box.x - reach * side)), width - 1)
    top = min(max(0, round(box.y - reach * side)), height - 1)
    right = max(left + 1, min(width, round(box.x + box.width + reach * side)))
    bottom = max(top + 1, min(height, round(box.y + box.height + reach * side)))
    scale = face / side
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    region = picture[top:bottom, left:right]
    return cv2.resize(to_gray(region) if in_gray else region, size, interpolation=how), left, top, scale
