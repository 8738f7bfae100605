"""Live faces' faults: each leaves a face, none leaves it as it was, and chance is seeded."""

from collections.abc import Callable

import numpy as np
import pytest

from mien.faces import Image
from mien.preprocess import to_gray
from tests.conftest import make_data, require_module

require_module("keras")

from train.batches import EpochBatches, divide
from train.config import TrainingConfig
from train.live_views import FAULTS, SHARES, add_live_faults, light, loosen_crop, shrink, wear_spectacles

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def face(portrait: Image) -> Image:
    import cv2

    return cv2.resize(to_gray(portrait)[32:148, 208:324], (48, 48), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_changes_the_face_and_leaves_it_one(fault: Callable[..., Image], face: Image) -> None:
    before = face.copy()
    for seed in range(20):
        found = fault(face, np.random.default_rng(seed))
        assert found.shape == (48, 48)
        assert found.dtype == np.uint8
        assert (found != face).any()
        assert found.std() > 2  # not wiped out
        np.testing.assert_array_equal(found, fault(face, np.random.default_rng(seed)))
    np.testing.assert_array_equal(face, before)


def test_spectacles_are_on_the_eyes_and_leave_the_mouth_alone(face: Image) -> None:
    changed = np.zeros((48, 48))
    for seed in range(200):
        changed += wear_spectacles(face, np.random.default_rng(seed)) != face
    rows = changed.sum(axis=1)
    assert rows[14:24].min() > 5 * rows[30:].max()
    assert not rows[36:].any()


def test_a_loose_crop_stays_within_its_bounds() -> None:
    spot = np.zeros((48, 48), np.uint8)
    spot[23:25, 23:25] = 255
    places = []
    for seed in range(300):
        found = loosen_crop(spot, np.random.default_rng(seed)).astype(float)
        places.append([(found.sum(axis=axis) * np.arange(48)).sum() / found.sum() - 23.5 for axis in (0, 1)])
    # 15 % of the side, seen in a crop of 75 % of it: 9.6 pixels; half a pixel for resampling
    assert 6 < np.abs(places).max() <= 9.6 + 0.5


def test_light_goes_both_ways_and_small_faces_lose_detail(face: Image) -> None:
    means = [light(face, np.random.default_rng(seed)).mean() for seed in range(100)]
    assert min(means) < 0.5 * face.mean()
    assert max(means) > 1.05 * face.mean()
    for seed in range(10):
        small = shrink(face, np.random.default_rng(seed)).astype(float)
        assert np.abs(np.diff(small)).mean() < np.abs(np.diff(face.astype(float))).mean()


def test_every_fault_is_drawn() -> None:
    assert len(SHARES) == len(FAULTS)
    assert SHARES.sum() == pytest.approx(1)
    assert SHARES.min() > 0


def test_the_share_of_faulty_images_is_the_settings() -> None:
    data = make_data(per_class=60)
    config = TrainingConfig(live=0.4, batch_size=64)
    sides = divide(data, config)
    plain, live, again = (EpochBatches(sides, c, 0) for c in (TrainingConfig(batch_size=64), config, config))
    changed = []
    for index in range(len(plain)):
        changed += [*(plain[index][0] != live[index][0]).any(axis=(1, 2, 3))]
        np.testing.assert_array_equal(live[index][0], again[index][0])
    # 336 images, 40 %: 134, give or take four standard deviations of 9
    assert 98 < sum(changed) < 170
    np.testing.assert_array_equal(sides.training.images, divide(data, config).training.images)


def test_an_image_with_faults_is_another_one_each_time(face: Image) -> None:
    rng = np.random.default_rng(0)
    found = {add_live_faults(face, rng).tobytes() for _ in range(50)}
    assert len(found) == 50
