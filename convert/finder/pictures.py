"""Photographs as the face finder sees them on a device: shrunk, in gray, with black down to full strides."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.detection_metrics import Truth
from mien.detectors.base import shrink
from mien.faces import Image
from mien.photographs import Photograph

HEIGHT, WIDTH = 256, 320
"""The size that the files are made for; runtimes resize them to others."""

SIDE = 320
"""Longer side of a whole photograph."""

MULTIPLE = 32
"""Heights and widths are multiples of the last stride."""

OTHER_SIZES = ((128, 160), (96, 96))
"""Smaller pictures that every file must answer, too: a part of a frame, and the surroundings of a known face."""


@dataclass(frozen=True)
class PictureSet:
    """Pictures of many sizes, and what is in them.

    Attributes:
        pictures: (H, W) uint8 each, multiples of `MULTIPLE`.
        truths: of each picture, in its pixels.
    """

    pictures: list[Image]
    truths: list[Truth]

    def is_empty(self) -> npt.NDArray[np.bool_]:
        """Return which pictures have neither a face nor anything that might be one."""
        return np.array([not len(truth.boxes) and not len(truth.ignored) for truth in self.truths], np.bool_)

    def count_faces(self, min_width: float) -> int:
        """Return how many faces are at least so wide, as a share of their picture's width."""
        return sum(int((truth.boxes[:, 2] >= min_width * truth.width).sum()) for truth in self.truths)


def read_pictures(photographs: Sequence[Photograph]) -> PictureSet:
    """Read photographs, each as large as a device would search it whole.

    Raises:
        FileNotFoundError, ValueError: a picture is missing or damaged.
    """
    pictures, truths = [], []
    for photograph in photographs:
        small, scale = shrink(photograph.read(), SIDE)
        pictures.append(letterbox(small))
        factor = np.float32(scale)
        truths.append(Truth(small.shape[1], photograph.boxes * factor, photograph.ignored * factor))
    return PictureSet(pictures, truths)


def draw_calibration(photographs: Sequence[Photograph], size: int, seed: int) -> tuple[npt.NDArray[np.uint8], int]:
    """Draw the representative dataset from all photographs, with and without faces.

    Returns:
        (N, HEIGHT, WIDTH, 1) uint8, and how many of them have faces.

    Raises:
        ValueError: there are fewer photographs, or none is wanted.
    """
    if not 1 <= size <= len(photographs):
        raise ValueError(
            f"--calibration-size {size}: allowed is 1 to {len(photographs)}, the number of photographs in Training"
        )
    rows = np.random.default_rng(seed).choice(len(photographs), size, replace=False)
    chosen = [photographs[row] for row in sorted(rows)]
    fitted = np.stack([fit_into(photograph.read(), HEIGHT, WIDTH) for photograph in chosen])
    return fitted[..., np.newaxis], sum(len(photograph.boxes) > 0 for photograph in chosen)


def letterbox(picture: Image) -> Image:
    """Return a picture with black on the right and below, so that both sides are multiples of `MULTIPLE`."""
    height, width = picture.shape
    return np.pad(picture, ((0, -height % MULTIPLE), (0, -width % MULTIPLE)))


def fit_into(picture: Image, height: int, width: int) -> Image:
    """Return a picture shrunk to fit into (height, width), and black where it does not reach."""
    scale = min(1.0, height / picture.shape[0], width / picture.shape[1])
    small, _ = shrink(picture, max(1, int(scale * max(picture.shape) + 1e-6)))
    small = small[:height, :width]
    return np.pad(small, ((0, height - small.shape[0]), (0, width - small.shape[1])))


def save_pictures(pictures: Sequence[Image], path: Path) -> None:
    """Write pictures of many sizes into one `.npz` file, in their order, as `convert.finder.probe` reads them."""
    arrays: dict[str, npt.NDArray[np.uint8]] = {f"{number:06d}": picture for number, picture in enumerate(pictures)}
    with open(path, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stubs take the arrays for its option
