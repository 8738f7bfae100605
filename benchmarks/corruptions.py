"""What a camera and a detector do to faces, in five strengths each, the same for every model.

In the manner of Hendrycks and Dietterich 2019, *Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations*, arXiv:1903.12261, for 48x48 faces. Training has faults of the same kinds
(`train/live_views.py`). Spectacles, light and noise are drawn otherwise there; blur, low resolution and JPEG are the
same operations, so that a model trained with those is judged by what it has learnt from, at strengths that it has seen.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from mien.faces import Image

SIDE = 48
EYES_Y = 0.4
"""Height of the eyes in FER2013's images, as a fraction of the side."""

Rng = np.random.Generator


@dataclass(frozen=True)
class Corruption:
    """One kind of damage.

    Attributes:
        name: of the table's row.
        levels: five strengths in the unit that `unit` names, the weakest first.
        unit: of the levels.
        apply: (image (48, 48) uint8, level, rng) -> damaged image; what is random but the strength,
            such as a direction, comes from `rng`.
    """

    name: str
    levels: tuple[float, ...]
    unit: str
    apply: Callable[[Image, float, Rng], Image]


def corrupt(images: Image, corruption: Corruption, strength: int, seed: int = 0) -> Image:
    """Return a damaged copy of (N, 48, 48) uint8 images; strength is 1 to 5.

    An image's random choices are the same for every strength.
    """
    level = corruption.levels[strength - 1]
    damaged = np.empty_like(images)
    for number, image in enumerate(images):
        damaged[number] = corruption.apply(image, level, np.random.default_rng([seed, number]))
    return damaged


def _shift(image: Image, share: float, rng: Rng) -> Image:
    angle = rng.uniform(0, 2 * math.pi)
    return _warp(image, 1.0, 0.0, share * SIDE * math.cos(angle), share * SIDE * math.sin(angle))


def _scale(image: Image, share: float, rng: Rng) -> Image:
    return _warp(image, 1 + share if rng.random() < 0.5 else 1 - share, 0.0, 0.0, 0.0)


def _rotate(image: Image, degrees: float, rng: Rng) -> Image:
    return _warp(image, 1.0, degrees if rng.random() < 0.5 else -degrees, 0.0, 0.0)


def _warp(image: Image, scale: float, degrees: float, shift_x: float, shift_y: float) -> Image:
    """Show another cut of the picture: of `scale` times the side, turned and shifted in pixels."""
    centre = (SIDE - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), degrees, 1 / scale)
    matrix[:, 2] += (shift_x, shift_y)
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _low_light(image: Image, factor: float, rng: Rng) -> Image:
    """Scale the light down and add the noise that a camera then has: a little, of two gray levels."""
    return _as_image(image * factor + rng.normal(0, 2, image.shape))


def _brightness(image: Image, levels: float, rng: Rng) -> Image:
    return _as_image(image + np.float32(levels if rng.random() < 0.5 else -levels))


def _contrast(image: Image, factor: float, rng: Rng) -> Image:
    return _as_image(128 + (image - 128.0) * factor)


def _gamma(image: Image, power: float, rng: Rng) -> Image:
    return _as_image(255 * (image / 255) ** (power if rng.random() < 0.5 else 1 / power))


def _noise(image: Image, deviation: float, rng: Rng) -> Image:
    return _as_image(image + rng.normal(0, deviation, image.shape))


def _blur(image: Image, deviation: float, rng: Rng) -> Image:
    return cv2.GaussianBlur(image, (0, 0), deviation, borderType=cv2.BORDER_REPLICATE)


def _motion_blur(image: Image, length: float, rng: Rng) -> Image:
    size = 2 * math.ceil(length / 2) + 1
    centre, angle = size // 2, rng.uniform(0, math.pi)
    reach_x, reach_y = length / 2 * math.cos(angle), length / 2 * math.sin(angle)
    kernel = np.zeros((size, size), np.float32)
    for step in np.linspace(-1, 1, 8 * size):
        kernel[round(centre + step * reach_y), round(centre + step * reach_x)] += 1
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _low_resolution(image: Image, side: float, rng: Rng) -> Image:
    small = cv2.resize(image, (int(side), int(side)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def _jpeg(image: Image, quality: float, rng: Rng) -> Image:
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)


def _cover_eyes(image: Image, share: float, rng: Rng) -> Image:
    """Cover the band of the eyes with gray from one side on."""
    top, bottom = round((EYES_Y - 0.11) * SIDE), round((EYES_Y + 0.11) * SIDE)
    width = round(share * SIDE)
    covered = image.copy()
    left = 0 if rng.random() < 0.5 else SIDE - width
    covered[top:bottom, left : left + width] = 128
    return covered


SPECTACLES = {1: (1.0, 0.0, 0.0), 2: (1.6, 0.0, 0.0), 3: (2.0, 0.35, 0.0), 4: (2.0, 0.7, 0.0), 5: (2.0, 0.0, 0.85)}
"""By level: width of the frame in pixels, strength of the reflections, and of the tint."""


def _spectacles(image: Image, level: float, rng: Rng) -> Image:
    """Draw round or square spectacles with a dark frame, reflections, or dark glass."""
    width, reflection, tint = SPECTACLES[int(level)]
    scale = 4
    frame, glass, shine = np.zeros((3, SIDE * scale, SIDE * scale), np.uint8)
    y, reach = EYES_Y * SIDE + rng.uniform(-1.5, 1.5), 0.21 * SIDE + rng.uniform(-1, 1)
    half = (0.16 * SIDE, 0.13 * SIDE) if rng.random() < 0.5 else (0.17 * SIDE, 0.1 * SIDE)
    is_square, stroke = rng.random() < 0.5, round(width * scale)
    for side in (-1, 1):
        x = (SIDE - 1) / 2 + side * reach
        for mask, thickness in ((glass, cv2.FILLED), (frame, stroke)):
            if is_square:
                corners = [(round((x + end * half[0]) * scale), round((y + end * half[1]) * scale)) for end in (-1, 1)]
                cv2.rectangle(mask, corners[0], corners[1], 255, thickness)
            else:
                centre = (round(x * scale), round(y * scale))
                cv2.ellipse(mask, centre, (round(half[0] * scale), round(half[1] * scale)), 0, 0, 360, 255, thickness)
        outer = round((x + side * half[0]) * scale)
        cv2.line(
            frame, (outer, round((y - 1) * scale)), (0 if side < 0 else SIDE * scale, round(y * scale)), 255, scale
        )
        # A bright window in the upper half of each glass, slanted.
        left, top = round((x - 0.5 * half[0]) * scale), round((y - 0.7 * half[1]) * scale)
        wide, high = round(0.7 * half[0] * scale), round(1.1 * half[1] * scale)
        window = np.array(
            [(left + wide // 3, top), (left + wide, top), (left + wide * 2 // 3, top + high), (left, top + high)]
        )
        cv2.fillPoly(shine, [window.astype(np.int32)], 255)
    inner = [(round(((SIDE - 1) / 2 + side * (reach - half[0])) * scale), round((y - 1) * scale)) for side in (-1, 1)]
    cv2.line(frame, inner[0], inner[1], 255, stroke)
    frame, glass, shine = (
        cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA) / 255 for mask in (frame, glass, shine)
    )
    face = image * (1 - tint * glass)
    face = face + reflection * shine * (255 - face)
    return _as_image(face * (1 - frame) + 35 * frame)


def _as_image(face: np.ndarray) -> Image:
    return np.clip(np.round(face), 0, 255).astype(np.uint8)


CORRUPTIONS = (
    Corruption("crop shift", (0.03, 0.06, 0.09, 0.12, 0.15), "of the side", _shift),
    Corruption("crop scale", (0.05, 0.1, 0.15, 0.2, 0.25), "of the side, larger or smaller", _scale),
    Corruption("rotation", (5, 10, 15, 20, 25), "degrees", _rotate),
    Corruption("low light", (0.6, 0.4, 0.25, 0.15, 0.1), "of the light", _low_light),
    Corruption("brightness", (20, 40, 60, 80, 100), "gray levels, up or down", _brightness),
    Corruption("contrast", (0.7, 0.5, 0.35, 0.25, 0.15), "of the contrast", _contrast),
    Corruption("gamma", (1.3, 1.6, 2, 2.5, 3.2), "or its inverse", _gamma),
    Corruption("noise", (4, 8, 12, 18, 25), "gray levels, standard deviation", _noise),
    Corruption("blur", (0.5, 0.8, 1.1, 1.5, 2), "pixels, standard deviation", _blur),
    Corruption("motion blur", (2, 3.5, 5, 7, 9), "pixels", _motion_blur),
    Corruption("low resolution", (36, 30, 24, 20, 16), "pixels of the face", _low_resolution),
    Corruption("JPEG", (60, 40, 25, 15, 10), "quality", _jpeg),
    Corruption("covered eyes", (0.2, 0.35, 0.5, 0.75, 1), "of the eye band", _cover_eyes),
    Corruption("spectacles", (1, 2, 3, 4, 5), "thin, thick, reflecting, more so, dark", _spectacles),
)
STRENGTHS = 5
MIDDLE = 3
