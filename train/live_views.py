"""What faces before a camera have and FER2013's lack: spectacles, loose boxes, bad light, blur, noise.

An image gets one of these faults or a few, each as strong as chance has it: what the world adds first, then the lens,
the camera and the detector. Noise and JPEG come after `shrink`, at 48 pixels, however few it had left. They work on
(48, 48) uint8 images, before `train.augmentation` turns and shifts them.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

from mien.faces import Image

SIDE = 48
MEAN_FAULTS = 1.5
"""How many faults an image has that gets any, in the mean; three in five have one."""

Rng = np.random.Generator


def add_live_faults(image: Image, rng: Rng) -> Image:
    """Return a (48, 48) uint8 image with one fault or more, drawn at random; the image itself is left alone."""
    count = 1 + min(rng.poisson(MEAN_FAULTS - 1), len(FAULTS) - 1)
    chosen = np.sort(rng.choice(len(FAULTS), count, replace=False, p=SHARES))
    for number in chosen:
        image = FAULTS[number](image, rng)
    return image


def wear_spectacles(image: Image, rng: Rng) -> Image:
    """Draw spectacles over the eyes: frames of any form and shade, half of them with reflections or tinted."""
    scale = 4  # drawn large, so that thin frames are soft when small
    eyes_y = rng.uniform(0.34, 0.46) * SIDE
    gap, width, height = rng.uniform(0.19, 0.26) * SIDE, rng.uniform(0.14, 0.21) * SIDE, rng.uniform(0.1, 0.17) * SIDE
    gap = max(gap, width + 0.01 * SIDE)  # lenses do not overlap
    tilt = math.radians(rng.normal(0, 5))
    centre_x = SIDE * rng.normal(0.5, 0.025)
    thickness, roundness = rng.uniform(0.7, 2.2), rng.uniform(2, 5)
    frame, glass = np.zeros((2, SIDE * scale, SIDE * scale), np.uint8)
    for side in (-1, 1):
        x, y = centre_x + side * gap * math.cos(tilt), eyes_y + side * gap * math.sin(tilt)
        outline = lens_outline(x, y, width, height, tilt, roundness)
        points = np.round(outline * scale).astype(np.int32)
        cv2.fillPoly(glass, [points], 255)
        cv2.polylines(frame, [points], True, 255, round(thickness * scale))
        # The temples run from the outer edges to the ears.
        hinge = (x + side * width * math.cos(tilt), y + side * width * math.sin(tilt) - 0.3 * height)
        ear = (centre_x + side * 0.6 * SIDE, hinge[1] + rng.uniform(-2, 2))
        cv2.line(frame, _pixel(hinge, scale), _pixel(ear, scale), 255, round(0.8 * thickness * scale))
    inner = gap - width
    slope = math.tan(tilt)
    bridge = [
        _pixel((centre_x + side * inner, eyes_y + side * inner * slope - 0.3 * height), scale) for side in (-1, 1)
    ]
    cv2.line(frame, *bridge, 255, round(thickness * scale))
    frame, glass = (cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for mask in (frame, glass))
    face = image.astype(np.float32)
    face = _put_into(face, glass, rng)
    opacity = rng.uniform(0.6, 1) * frame / 255
    shade = rng.uniform(0, 80) if rng.random() < 0.8 else rng.uniform(120, 230)
    return _as_image(face * (1 - opacity) + shade * opacity)


def loosen_crop(image: Image, rng: Rng) -> Image:
    """Cut as a detector does: off by up to 15 % of the side in place and 25 % in size; edges fill what lacks."""
    side = SIDE * rng.uniform(0.75, 1.25)
    centre_x, centre_y = (SIDE - 1) / 2 + rng.uniform(-0.15, 0.15, 2) * SIDE
    scale = side / SIDE
    start = (SIDE - 1) / 2 * scale
    matrix = np.array([[scale, 0, centre_x - start], [0, scale, centre_y - start]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def shrink(image: Image, rng: Rng) -> Image:
    """Lose what a face of 16 to 36 pixels has lost, scaled up."""
    side = int(rng.integers(16, 37))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def light(image: Image, rng: Rng) -> Image:
    """Light the face badly: too dark, too bright, or from one side."""
    face = image / np.float32(255)
    face = face ** np.float32(math.exp(rng.uniform(-0.8, 0.8)))
    if rng.random() < 0.5:
        angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.8)
        ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
        slope = math.cos(angle) * ramp[np.newaxis, :] + math.sin(angle) * ramp[:, np.newaxis]
        face = face * np.clip(1 - strength * (slope + 1) / 2, 0, 1)
    return _as_image(face * (255 * rng.uniform(0.25, 1.2)))


def move(image: Image, rng: Rng) -> Image:
    """Blur along a line of up to 9 pixels, as a head does that moves."""
    length, angle = rng.uniform(2, 9), rng.uniform(0, math.pi)
    return cv2.filter2D(image, -1, line_kernel(length, angle), borderType=cv2.BORDER_REPLICATE)


def defocus(image: Image, rng: Rng) -> Image:
    """Blur evenly, as a lens out of focus."""
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8), borderType=cv2.BORDER_REPLICATE)


def add_noise(image: Image, rng: Rng) -> Image:
    """Add a sensor's noise, more of it where there is more light, and as coarse as chance has it."""
    noise = rng.standard_normal((SIDE, SIDE), np.float32)
    if rng.random() < 0.3:  # the camera's picture was larger than 48 pixels a face, or smaller
        noise = cv2.GaussianBlur(noise, (0, 0), 0.7) * 2
    dark, bright = rng.uniform(1, 15), rng.uniform(0, 8)
    return _as_image(image + noise * (dark + bright * np.sqrt(image / np.float32(255))))


def compress(image: Image, rng: Rng) -> Image:
    """Store as JPEG of quality 12 to 60, the face at 48 pixels or at twice that."""
    large = rng.random() < 0.5
    picture = cv2.resize(image, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_LINEAR) if large else image
    _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(12, 61))])
    picture = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA) if large else picture


FAULTS: tuple[Callable[[Image, Rng], Image], ...] = (
    wear_spectacles,
    light,
    defocus,
    move,
    shrink,
    add_noise,
    compress,
    loosen_crop,
)
SHARES = np.array([3, 2, 1, 1, 2, 2, 1, 2]) / 14
"""The chance of each to be the first that is drawn; none is drawn twice."""


def lens_outline(x: float, y: float, width: float, height: float, tilt: float, roundness: float) -> np.ndarray:
    """Return the outline of a lens, a superellipse, as (40, 2) points: 2 is an ellipse, 5 almost a rectangle."""
    angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    cos, sin = np.cos(angles), np.sin(angles)
    across = width * np.sign(cos) * np.abs(cos) ** (2 / roundness)
    down = height * np.sign(sin) * np.abs(sin) ** (2 / roundness)
    turned_x = across * math.cos(tilt) - down * math.sin(tilt)
    turned_y = across * math.sin(tilt) + down * math.cos(tilt)
    return np.stack([x + turned_x, y + turned_y], axis=1)


def _put_into(face: np.ndarray, glass: Image, rng: Rng) -> np.ndarray:
    """Tint what lies behind the glass, or let light be reflected in it, in half of all cases."""
    inside = glass / np.float32(255)
    kind = rng.random()
    if kind < 0.15:
        return face * (1 - inside * rng.uniform(0.2, 0.85))
    if kind < 0.5:
        ramp = np.arange(SIDE, dtype=np.float32)
        angle = rng.uniform(0, math.pi)
        across = math.cos(angle) * ramp[np.newaxis, :] + math.sin(angle) * ramp[:, np.newaxis]
        phase = rng.uniform(0, 24)
        stripe = np.clip(np.cos((across + phase) * (2 * math.pi / rng.uniform(10, 24))) * 2 - 0.5, 0, 1)
        return face + inside * stripe * (rng.uniform(0.3, 0.9) * (255 - face))
    return face


def line_kernel(length: float, angle: float) -> np.ndarray:
    """Return the kernel of a straight movement, with sum 1: (11, 11), or as large as a longer one needs."""
    reach = max(5, math.ceil(length / 2))
    steps = np.linspace(-length / 2, length / 2, max(33, 4 * reach + 1))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    x, y = reach + steps * math.cos(angle), reach + steps * math.sin(angle)
    np.add.at(kernel, (np.round(y).astype(int), np.round(x).astype(int)), 1)
    return kernel / kernel.sum()


def _pixel(point: tuple[float, float], scale: int) -> tuple[int, int]:
    return round(point[0] * scale), round(point[1] * scale)


def _as_image(face: np.ndarray) -> Image:
    return np.clip(np.round(face), 0, 255).astype(np.uint8)
