"""Which images train and which validate follows from the seed alone."""

import numpy as np
import pytest

from tests.conftest import make_data, require_module

require_module("keras")

from train.batches import EpochBatches, as_arrays, split_training

pytestmark = pytest.mark.tensorflow


def test_copies_of_an_image_stay_on_one_side() -> None:
    data = make_data(per_class=20)
    doubled = data.rows(np.concatenate([np.arange(len(data)), np.arange(len(data))]))
    training, validation = split_training(doubled, 0.2, seed=3)
    assert len(training) + len(validation) == len(doubled.training)
    assert len(validation) == pytest.approx(0.2 * len(doubled.training), abs=2)
    assert not np.isin(validation.image_keys(), training.image_keys()).any()


def test_test_images_are_on_neither_side() -> None:
    data = make_data(per_class=20)
    sides = split_training(data, 0.2, seed=0)
    assert not any(np.isin(side.image_keys(), data.test.image_keys()).any() for side in sides)


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own() -> None:
    data = make_data().training
    first, again, second = (EpochBatches(data, 8, seed=1, epoch=epoch) for epoch in (0, 0, 1))
    images = [np.concatenate([batches[i][0] for i in range(len(batches))]) for batches in (first, again, second)]
    assert len(images[0]) == len(data)
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()
    np.testing.assert_array_equal(np.sort(images[0], axis=0), np.sort(images[2], axis=0))


def test_labels_are_one_hot_in_our_order() -> None:
    data = make_data()
    images, labels = as_arrays(data)
    assert images.shape == (len(data), 48, 48, 1)
    assert images.max() == 255
    np.testing.assert_array_equal(labels.argmax(axis=1), data.labels)
    np.testing.assert_array_equal(labels.sum(axis=1), 1)
