"""Random views: flipped, turned, zoomed and shifted, never black at the edge."""

from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import require_module

keras = require_module("keras")

from train.augmentation import RandomAffine, build_augmentation
from train.config import RECIPES

pytestmark = pytest.mark.tensorflow


def views(layer: RandomAffine, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(layer(images.astype(np.float32), training=True))


def make_spots(count: int, x: int, y: int) -> np.ndarray:
    images = np.zeros((count, 48, 48, 1), np.float32)
    images[:, y - 1 : y + 2, x - 1 : x + 2] = 255
    return images


def centres(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    weights = images[..., 0] / images[..., 0].sum(axis=(1, 2), keepdims=True)
    return (weights.sum(axis=1) * np.arange(48)).sum(axis=1), (weights.sum(axis=2) * np.arange(48)).sum(axis=1)


def test_images_are_left_alone_outside_training() -> None:
    images = make_spots(2, 10, 10)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(RandomAffine()(images)), images)


def test_without_ranges_only_the_flip_is_left() -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 48, 48, 1)).astype(np.float32)
    found = views(RandomAffine(0, 0, 0), images)
    same = np.abs(found - images).max(axis=(1, 2, 3)) < 0.01
    flipped = np.abs(found - images[:, :, ::-1]).max(axis=(1, 2, 3)) < 0.01
    assert (same ^ flipped).all()
    assert 70 < flipped.sum() < 130  # 100 expected; four standard deviations of a fair coin


def test_shifts_reach_a_tenth_of_the_side_and_no_further() -> None:
    x, y = centres(views(RandomAffine(rotation_degrees=0, zoom=0, shift=0.1), make_spots(400, 23, 23)))
    # The flip puts the spot of pixel 23 to pixel 24.
    assert np.abs(x - 23.5).max() <= 4.8 + 0.5 + 0.01
    assert np.abs(x - 23.5).max() > 4.5
    assert np.abs(y - 23).max() <= 4.8 + 0.01
    assert np.abs(y - 23).max() > 4.3


def test_rotation_turns_about_the_centre_without_changing_distances() -> None:
    x, y = centres(views(RandomAffine(rotation_degrees=10, zoom=0, shift=0), make_spots(400, 40, 23)))
    angle = np.degrees(np.arctan2(y - 23.5, np.abs(x - 23.5)))
    assert 9 < np.abs(angle).max() < 12
    np.testing.assert_allclose(np.hypot(x - 23.5, y - 23.5), 16.5, atol=0.4)


def test_zoom_goes_both_ways() -> None:
    x, _ = centres(views(RandomAffine(rotation_degrees=0, zoom=0.1, shift=0), make_spots(400, 40, 23)))
    distance = np.abs(x - 23.5) / 16.5
    assert 0.89 < distance.min() < 0.93
    assert 1.07 < distance.max() < 1.11


def test_the_edge_is_filled_with_its_nearest_pixels() -> None:
    assert views(RandomAffine(20, 0.2, 0.2), np.full((50, 48, 48, 1), 77)).min() == pytest.approx(77, abs=0.01)


def test_the_same_seed_gives_the_same_views() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 48, 48, 1))
    np.testing.assert_array_equal(views(RandomAffine(seed=5), images), views(RandomAffine(seed=5), images))
    assert (views(RandomAffine(seed=5), images) != views(RandomAffine(seed=6), images)).any()


def test_views_can_be_smaller_than_the_images() -> None:
    layer = RandomAffine(0, 0, 0, size=32)
    found = views(layer, make_spots(20, 35, 23))
    assert found.shape == (20, 32, 32, 1)
    weights = found[..., 0] / found[..., 0].sum(axis=(1, 2), keepdims=True)
    x, y = (weights.sum(axis=1) * np.arange(32)).sum(axis=1), (weights.sum(axis=2) * np.arange(32)).sum(axis=1)
    # 11.5 pixels right of the centre become 11.5 * 32 / 48, on either side after the flip.
    np.testing.assert_allclose(np.abs(x - 15.5), 11.5 * 32 / 48, atol=0.2)
    np.testing.assert_allclose(y, 15.5 - 0.5 * 32 / 48, atol=0.2)
    plain = keras.ops.convert_to_numpy(layer(make_spots(1, 23, 23)))
    assert plain.shape == (1, 32, 32, 1)


def test_the_stronger_views_change_tone_and_erase_rectangles() -> None:
    config = replace(RECIPES["strong"], rotation_degrees=0.0, zoom=0.0, shift=0.0, erasing=0.5)
    images = np.full((400, 48, 48, 1), 128, np.float32)
    augment = keras.Sequential([keras.Input((48, 48, 1)), *build_augmentation(config, 48)])
    found = keras.ops.convert_to_numpy(augment(images, training=True))
    levels = np.median(found, axis=(1, 2, 3))
    assert 128 - 255 * config.brightness - 1 <= levels.min() < 115
    assert 141 < levels.max() <= 128 + 255 * config.brightness + 1
    erased = (np.abs(found - levels[:, None, None, None]) > 1).any(axis=(1, 2, 3))
    assert 160 < erased.sum() < 240  # 200 expected; four standard deviations of a fair coin
    assert found.min() >= 0
    assert found.max() <= 255
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(augment(images, training=False)), images)


def test_the_papers_views_have_its_layer_alone() -> None:
    (layer,) = build_augmentation(RECIPES["paper"], 48)
    assert (layer.rotation_degrees, layer.zoom, layer.shift) == (10, 0.1, 0.1)


def test_contrast_is_lowered_and_raised() -> None:
    config = replace(RECIPES["paper"], rotation_degrees=0.0, zoom=0.0, shift=0.0, contrast=0.2)
    images = np.tile(np.array([[100], [150]], np.float32), (200, 24, 48)).reshape(200, 48, 48, 1)
    augment = keras.Sequential([keras.Input((48, 48, 1)), *build_augmentation(config, 48)])
    spreads = keras.ops.convert_to_numpy(augment(images, training=True)).std(axis=(1, 2, 3)) / 25
    assert 0.8 - 0.01 <= spreads.min() < 0.85
    assert 1.15 < spreads.max() <= 1.2 + 0.01
