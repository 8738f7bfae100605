"""The representative dataset: from Training alone, balanced, seeded, and no twin of a test image."""

import numpy as np
import pytest

from convert.calibration import draw_calibration
from mien.fer2013 import Fer2013
from tests.conftest import make_data


def test_classes_are_equally_many() -> None:
    data = make_data(per_class=20)
    calibration = draw_calibration(data, 30, seed=0)
    assert len(calibration.rows) == 28  # the largest multiple of seven
    assert np.bincount(data.labels[calibration.rows]).tolist() == [4] * 7
    np.testing.assert_array_equal(calibration.images, data.images[calibration.rows])


def test_test_images_and_their_twins_are_never_drawn() -> None:
    data = make_data(per_class=20)
    images = data.images.copy()
    twins = np.flatnonzero(data.usages == 0)[:70]  # half of Training now stands in the tests, too
    images[np.flatnonzero(data.usages != 0)[:70]] = images[twins]
    calibration = draw_calibration(Fer2013(images, data.labels, data.usages), 70, seed=0)
    assert (data.usages[calibration.rows] == 0).all()
    assert not np.isin(calibration.rows, twins).any()


def test_the_seed_decides_and_the_hash_tells() -> None:
    data = make_data(per_class=20)
    first, again, other = (draw_calibration(data, 35, seed=seed) for seed in (1, 1, 2))
    assert first.sha256 == again.sha256 != other.sha256
    np.testing.assert_array_equal(first.rows, again.rows)


@pytest.mark.parametrize(("size", "message"), [(6, "allowed is 7 or more"), (700, "--calibration-size 140 or less")])
def test_a_size_out_of_range_is_refused(size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_calibration(make_data(per_class=20), size, seed=0)


def test_on_the_real_set_no_image_is_in_the_tests(fer2013: Fer2013) -> None:
    calibration = draw_calibration(fer2013, 490, seed=0)
    assert not np.isin(fer2013.rows(calibration.rows).image_keys(), fer2013.test.image_keys()).any()
