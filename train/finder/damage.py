"""What hides faces from a finder: spectacles, masks and hands before them, bad light, blur, noise."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from mien.faces import Image
from train.live_views import lens_outline, line_kernel

Array = npt.NDArray[np.float32]
Rng = np.random.Generator


def wear_spectacles(image: Image, landmarks: Array, rng: Rng) -> None:
    """Draw spectacles or sunglasses over the eyes of (5, 2) landmarks, into the image."""
    right, left = landmarks[:2]
    across = left - right
    gap = float(np.hypot(*across))
    if gap < 6:
        return
    tilt = math.atan2(across[1], across[0])
    width, height = gap * rng.uniform(0.36, 0.46), gap * rng.uniform(0.24, 0.4)
    roundness, shade = rng.uniform(2, 5), int(rng.uniform(0, 90) if rng.random() < 0.8 else rng.uniform(120, 230))
    thickness = max(1, round(gap * rng.uniform(0.02, 0.09)))
    glass = np.zeros_like(image)
    outlines = [np.round(lens_outline(x, y, width, height, tilt, roundness)).astype(np.int32) for x, y in (right, left)]
    cv2.fillPoly(glass, outlines, 255)
    chance = rng.random()
    if chance < 0.35:  # dark glasses
        _blend(image, glass, rng.uniform(0, 60), rng.uniform(0.5, 1))
    elif chance < 0.6:  # a reflection
        _blend(image, glass, rng.uniform(170, 255), rng.uniform(0.1, 0.6))
    direction = across / gap
    cv2.polylines(image, outlines, True, shade, thickness, cv2.LINE_AA)
    inner = [right + direction * width, left - direction * width]
    outer = [(right - direction * width, -1), (left + direction * width, 1)]
    cv2.line(image, _pixel(inner[0]), _pixel(inner[1]), shade, thickness, cv2.LINE_AA)
    for hinge, way in outer:
        cv2.line(image, _pixel(hinge), _pixel(hinge + way * direction * gap * 0.35), shade, thickness, cv2.LINE_AA)


def cover_face(image: Image, box: Array, other: Image, rng: Rng) -> None:
    """Hide up to half of a face: its lower half as by a mask, or a part as by a hand or a thing before it."""
    left, top, width, height = box
    if rng.random() < 0.4:
        centre, axes = (left + width / 2, top + height * rng.uniform(0.78, 0.9)), (width * 0.55, height * 0.36)
    else:
        angle = rng.uniform(0, 2 * math.pi)
        centre = (left + width * (0.5 + 0.5 * math.cos(angle)), top + height * (0.5 + 0.5 * math.sin(angle)))
        axes = (width * rng.uniform(0.15, 0.4), height * rng.uniform(0.15, 0.4))
    mask = np.zeros_like(image)
    cv2.ellipse(mask, _pixel(centre), _pixel(np.maximum(axes, 1)), rng.uniform(-40, 40), 0, 360, 255, -1)
    if rng.random() < 0.5:
        _blend(image, mask, rng.uniform(20, 240), 1.0)
        return
    patch = cv2.resize(other, image.shape[::-1], interpolation=cv2.INTER_AREA)
    np.copyto(image, patch, where=mask > 0)


def light(image: Image, rng: Rng) -> Image:
    """Change brightness and contrast, as far as a dark room goes, or light it from a side."""
    levels = np.arange(256, dtype=np.float32) / 255
    levels = levels ** math.exp(rng.uniform(-0.7, 0.9))
    contrast, brightness = rng.uniform(0.5, 1.3), rng.uniform(-0.15, 0.2)
    if rng.random() < 0.25:  # low light
        contrast, brightness = rng.uniform(0.12, 0.5), 0.0
    table = np.clip(255 * ((levels - 0.5) * contrast + 0.5 * min(contrast, 1) + brightness), 0, 255).astype(np.uint8)
    lit: Image = cv2.LUT(image, table)
    if rng.random() < 0.25:
        angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.8)
        ramp = np.linspace(0, 1, len(image), dtype=np.float32)
        slope = math.cos(angle) * (ramp[None, :] - 0.5) + math.sin(angle) * (ramp[:, None] - 0.5)
        lit = (lit * np.clip(1 - strength * (slope + 0.5), 0.1, 1)).astype(np.uint8)
    return lit


def shade_face(image: Image, box: Array, rng: Rng) -> None:
    """Darken a face and what is around it, as a bright window behind it or a hat over it does."""
    left, top, width, height = box
    rows, columns = (np.arange(count, dtype=np.float32) for count in image.shape)
    spread = rng.uniform(0.5, 1.0)
    across = ((columns - left - width * rng.uniform(0.3, 0.7)) / (spread * width)) ** 2
    down = ((rows - top - height * rng.uniform(0.2, 0.7)) / (spread * height)) ** 2
    shade = rng.uniform(0.4, 0.85) * np.exp(-((across[None, :] + down[:, None]) ** 2))
    image[:] = (image * (1 - shade)).astype(np.uint8)


def blur(image: Image, rng: Rng, face: float = 0.0) -> Image:
    """Blur as a lens out of focus, a moving camera, or fewer pixels do.

    Args:
        image: what is blurred.
        rng: where all chance comes from.
        face: height of the least face in it, in pixels; larger ones stay faces when they are blurred more.
    """
    chance = rng.random()
    if chance < 0.35:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, max(1.6, 0.05 * face)))
    if chance < 0.7:
        return cv2.filter2D(image, -1, line_kernel(rng.uniform(2, max(8, 0.15 * face)), rng.uniform(0, math.pi)))
    side, factor = len(image), rng.uniform(0.4, 0.9)
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)


def disturb(image: Image, rng: Rng) -> Image:
    """Add a sensor's noise, or store it as a poor JPEG."""
    if rng.random() < 0.3:
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 70))])
        return cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(1, 14)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _blend(image: Image, mask: Image, shade: float, opacity: float) -> None:
    inside = mask > 0
    image[inside] = (image[inside] * (1 - opacity) + shade * opacity).astype(np.uint8)


def _pixel(point: Array | tuple[float, float]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
