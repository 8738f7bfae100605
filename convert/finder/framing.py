"""How a box of the face finder becomes a square framed as FER2013's images are: fitted on those images themselves.

Classifiers learnt from that framing. So FER2013's training images are put into larger pictures, where the finder
looks for them; what brings its boxes onto the images' own squares is what the card says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from convert.finder.pictures import HEIGHT, WIDTH
from mien.detectors.finder import heads
from mien.face_maps import Array, Found
from mien.faces import Image
from mien.finder_card import Framing

IMAGES = 1500
SCALES = (1.5, 4.0)
"""Least and greatest size of an image, as a multiple of its 48 pixels."""

LEAST_FOUND = 0.2
"""A finder that finds a smaller share says too little about its boxes."""


@dataclass(frozen=True)
class FramingFit:
    """A framing, and how well it fits.

    Attributes:
        framing: the fit.
        images: how many were looked at.
        found: share of them in which a face was found.
        found_before: the same, of those before "blurred" edges and before "black".
        centre_errors: median and 90th percentile of the distance from the square's centre, in its sides.
        size_errors: the same of the size's logarithm, that is about its relative error.
    """

    framing: Framing
    images: int
    found: float
    found_before: dict[str, float]
    centre_errors: tuple[float, float]
    size_errors: tuple[float, float]


@dataclass(frozen=True)
class Placed:
    """FER2013's images in larger pictures.

    Attributes:
        pictures: (HEIGHT, WIDTH) uint8 each.
        squares: (N, 3) float32: left, top and side of the image in its picture, in pixels.
        is_black: (N,) whether black is around it, or else its own edge, blurred.
    """

    pictures: list[Image]
    squares: Array
    is_black: npt.NDArray[np.bool_]


def place_images(images: npt.NDArray[np.uint8], seed: int, count: int = IMAGES) -> Placed:
    """Draw (N, 48, 48) uint8 images and put each into a picture, in a random place and size."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(images))[:count]
    pictures, squares = [], []
    is_black = rng.random(len(rows)) < 0.5
    for row, black in zip(rows, is_black, strict=True):
        side = round(images.shape[1] * rng.uniform(*SCALES))
        left, top = (int(rng.integers(0, room - side + 1)) for room in (WIDTH, HEIGHT))
        image = cv2.resize(images[row], (side, side), interpolation=cv2.INTER_LINEAR)
        edges = top, HEIGHT - top - side, left, WIDTH - left - side
        how = cv2.BORDER_CONSTANT if black else cv2.BORDER_REPLICATE
        picture = cv2.copyMakeBorder(image, *edges, how, value=0)
        if not black:
            picture = cv2.GaussianBlur(picture, (0, 0), side / 12)
            picture[top : top + side, left : left + side] = image
        pictures.append(picture)
        squares.append((left, top, side))
    return Placed(pictures, np.array(squares, np.float32).reshape(-1, 3), is_black)


def fit_framing(found: Sequence[Found], placed: Placed) -> FramingFit:
    """Fit the framing by medians over the images in which a face was found.

    Args:
        found: in each picture, what reaches the card's threshold, the likeliest first.
        placed: the same pictures.

    Raises:
        ValueError: faces were found in too few.
    """
    best = [_best(one, square) for one, square in zip(found, placed.squares, strict=True)]
    is_found = np.array([row is not None for row in best], np.bool_)
    if is_found.mean() < LEAST_FOUND:
        raise ValueError(
            f"int8 finds a face on {is_found.sum()} of {len(found)} images of FER2013, which is too few to fit the "
            "framing: train the finder longer"
        )
    picked = [one.take(np.array([row])) for one, row in zip(found, best, strict=True) if row is not None]
    faces = Found(*(np.concatenate(parts) for parts in zip(*picked, strict=True)))
    squares = placed.squares[is_found]
    roots = np.sqrt(faces.boxes[:, 2] * faces.boxes[:, 3])
    middles, up = heads(faces)
    centres, sides = squares[:, :2] + squares[:, 2:] / 2, squares[:, 2]
    rise = ((centres - middles) * up).sum(axis=1) / roots
    framing = Framing(side=round(float(np.median(sides / roots)), 3), rise=round(float(np.median(rise)), 3))
    off = np.hypot(*(middles + framing.rise * roots[:, None] * up - centres).T) / sides
    growth = np.abs(np.log(framing.side * roots / sides))
    before = {name: is_found[placed.is_black == black] for name, black in (("blurred", False), ("black", True))}
    return FramingFit(
        framing,
        images=len(found),
        found=float(is_found.mean()),
        found_before={name: float(rows.mean()) for name, rows in before.items() if len(rows)},
        centre_errors=_spread(off),
        size_errors=_spread(growth),
    )


def _best(found: Found, square: Array) -> int | None:
    """Return the row of the likeliest box whose middle lies in the square."""
    middles = found.boxes[:, :2] + found.boxes[:, 2:] / 2
    rows = np.flatnonzero(((middles >= square[:2]) & (middles <= square[:2] + square[2])).all(axis=1))
    return int(rows[0]) if len(rows) else None


def _spread(errors: Array) -> tuple[float, float]:
    middle, most = np.percentile(errors, (50, 90))
    return round(float(middle), 4), round(float(most), 4)
