"""Which images train, which validate, and how often rare ones are shown follows from the settings alone."""

from dataclasses import replace

import numpy as np
import pytest

from mien.fer2013 import Fer2013
from tests.conftest import make_data, require_module

require_module("keras")

from train.batches import EpochBatches, as_input, divide
from train.config import TrainingConfig

pytestmark = pytest.mark.tensorflow

CONFIG = TrainingConfig(batch_size=8, seed=1)


def make_rare() -> Fer2013:
    """Make data with 40 images of each class but disgust, which has 8."""
    data = make_data(per_class=40).training
    return data.rows(~((data.labels == 1) & (np.cumsum(data.labels == 1) > 8)))


def shown_labels(batches: EpochBatches) -> np.ndarray:
    return np.concatenate([batches[i][1].argmax(axis=1) for i in range(len(batches))])


def test_the_end_of_an_epoch_does_not_wait_for_autotuning() -> None:
    """Seen in how Keras hands the batches on: the wait itself comes by chance, in one epoch of eight."""
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    batches = EpochBatches(divide(make_data(), CONFIG), CONFIG, epoch=0)
    assert PyDatasetAdapter(batches).get_tf_dataset().options().autotune.enabled is False


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own() -> None:
    sides = divide(make_data(), CONFIG)
    first, again, second = (EpochBatches(sides, CONFIG, epoch) for epoch in (0, 0, 1))
    images = [np.concatenate([batches[i][0] for i in range(len(batches))]) for batches in (first, again, second)]
    assert len(images[0]) == len(sides.training)
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()
    np.testing.assert_array_equal(np.sort(images[0], axis=0), np.sort(images[2], axis=0))


def test_labels_are_one_hot_in_our_order_and_images_are_gray_levels() -> None:
    sides = divide(make_data(), CONFIG)
    np.testing.assert_array_equal(sides.targets.argmax(axis=1), sides.training.labels)
    np.testing.assert_array_equal(sides.targets.sum(axis=1), 1)
    images = as_input(sides.training.images)
    assert images.shape == (len(sides.training), 48, 48, 1)
    assert images.max() == 255


def test_balanced_sampling_shows_all_classes_equally_often() -> None:
    config = replace(CONFIG, imbalance="balanced-sampling")
    sides = divide(make_rare(), config)
    counts = sum(np.bincount(shown_labels(EpochBatches(sides, config, epoch)), minlength=7) for epoch in range(20))
    # 20 epochs of about 198 images: 566 of each class, give or take four standard deviations (22 each)
    np.testing.assert_allclose(counts, np.sum(counts) / 7, atol=90)


def test_class_weights_make_up_for_rarity_and_leave_the_mean_at_one() -> None:
    config = replace(CONFIG, imbalance="class-weights")
    sides = divide(make_rare(), config)
    batches = [EpochBatches(sides, config, 0)[i] for i in range(len(EpochBatches(sides, config, 0)))]
    labels = np.concatenate([batch[1].argmax(axis=1) for batch in batches])
    weights = np.concatenate([batch[2] for batch in batches])
    assert weights.mean() == pytest.approx(1, abs=1e-5)
    totals = np.bincount(labels, weights)
    np.testing.assert_allclose(totals, totals[0], rtol=1e-5)


def test_half_the_power_is_between_none_and_all() -> None:
    sides = divide(make_rare(), CONFIG)
    ratios = []
    for power in (0.0, 0.5, 1.0):
        config = replace(CONFIG, imbalance="class-weights", imbalance_power=power)
        batches = EpochBatches(sides, config, 0)
        weights = np.concatenate([batches[i][2] for i in range(len(batches))])
        labels = shown_labels(batches)
        ratios.append(weights[labels == 1][0] / weights[labels == 0][0])
    assert ratios[0] == pytest.approx(1)
    assert ratios[1] == pytest.approx(np.sqrt(ratios[2]))
    assert ratios[2] > 3


def test_mixup_mixes_images_and_labels_alike() -> None:
    data = make_data()
    flat = Fer2013(np.broadcast_to(data.labels[:, None, None] * 30, (len(data), 48, 48)).astype(np.uint8),
                   data.labels, data.usages)  # fmt: skip
    flat.images[:, 0, 0] = np.arange(len(flat))  # no two alike, else they would be copies of one image
    config = replace(CONFIG, mixup=1.0)
    images, targets, _ = EpochBatches(divide(flat, config), config, 0)[0]
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
    assert (targets.max(axis=1) < 0.99).any()
    np.testing.assert_allclose(images[:, 24, 24, 0], targets @ (np.arange(7) * 30), rtol=1e-4, atol=1e-3)


def test_mixed_labels_keep_the_weights_of_their_classes() -> None:
    config = replace(CONFIG, mixup=1.0, imbalance="class-weights")
    sides = divide(make_rare(), config)
    plain = EpochBatches(sides, replace(config, mixup=0.0), 0)
    own_weights = np.zeros(7)
    for index in range(len(plain)):
        _, targets, weights = plain[index]
        own_weights[targets.argmax(axis=1)] = weights
    mixed = [EpochBatches(sides, config, 0)[index] for index in range(len(plain))]
    for _, targets, weights in mixed:
        shares = targets * weights[:, None] / own_weights  # of the two images in each label
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-4)
