"""FER+ votes change what is learnt from, and never what is measured by."""

import csv
from pathlib import Path

import numpy as np
import pytest

from mien.fer2013 import USAGES, Fer2013
from tests.conftest import DATA, make_data, require_module

require_module("keras")

from train.batches import divide
from train.config import TrainingConfig, check_votes
from train.fer_plus import is_confirmed, mix_votes, read_votes

pytestmark = pytest.mark.tensorflow

NAMES = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
HEADER = ["Usage", "Image name", *sorted(NAMES), "contempt", "unknown", "NF"]


def write_votes(data: Fer2013, path: Path, votes: dict[int, dict[str, int]], header: list[str] = HEADER) -> Path:
    """Write FER+'s table: ten votes for the own label, but for the rows that are given."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row, (label, usage) in enumerate(zip(data.labels, data.usages, strict=True)):
            cells = {"Usage": USAGES[usage]} | votes.get(row, {NAMES[label]: 10})
            writer.writerow([cells.get(name, 0) for name in header])
    return path


def test_votes_are_read_in_our_order(tmp_path: Path) -> None:
    data = make_data()
    votes = read_votes(write_votes(data, tmp_path / "votes.csv", {0: {"fear": 7, "contempt": 3}}), data)
    assert votes.shape == (len(data), 7)
    np.testing.assert_array_equal(votes[0], [0, 0, 7, 0, 0, 0, 0])
    np.testing.assert_array_equal(votes[1:].argmax(axis=1), data.labels[1:])


def test_soft_labels_are_half_the_own_label_and_half_the_votes() -> None:
    targets = np.eye(7, dtype=np.float32)[[0, 3]]
    votes = np.array([[2, 0, 8, 0, 0, 0, 0], [0] * 7], np.float32)
    expected = np.array([[0.6, 0, 0.4, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0]])
    np.testing.assert_allclose(mix_votes(targets, votes), expected, rtol=1e-6)


def test_the_filter_drops_labels_that_nobody_shares() -> None:
    votes = np.array([[1, 0, 9, 0, 0, 0, 0], [0, 0, 9, 0, 0, 0, 1], [0] * 7], np.float32)
    assert is_confirmed(np.array([0, 0, 0], np.uint8), votes).tolist() == [True, False, False]


def test_only_images_to_learn_from_are_touched(tmp_path: Path) -> None:
    data = make_data(per_class=20)
    nobody = {row: {"unknown": 10} for row in range(len(data))}
    votes = read_votes(write_votes(data, tmp_path / "votes.csv", {k: nobody[k] for k in range(0, len(data), 2)}), data)
    plain, filtered = divide(data, TrainingConfig()), divide(data, TrainingConfig(fer_plus="filter"), votes)
    np.testing.assert_array_equal(plain.validation.images, filtered.validation.images)
    assert 0.3 < len(filtered.training) / len(plain.training) < 0.7
    soft = divide(data, TrainingConfig(fer_plus="soft"), votes)
    np.testing.assert_array_equal(soft.training.images, plain.training.images)


def test_a_filter_that_leaves_nothing_is_refused() -> None:
    data = make_data()
    with pytest.raises(ValueError, match="no images at all"):
        divide(data, TrainingConfig(fer_plus="filter"), np.zeros((len(data), 7), np.float32))


@pytest.mark.parametrize(("use", "votes"), [("soft", None), ("filter", None), ("none", Path("fer2013new.csv"))])
def test_votes_and_their_use_go_together(use: str, votes: Path | None) -> None:
    with pytest.raises(ValueError, match="go together"):
        check_votes(TrainingConfig(fer_plus=use), votes)


def test_votes_of_other_images_are_refused(tmp_path: Path) -> None:
    data = make_data()
    path = write_votes(data, tmp_path / "votes.csv", {})
    with pytest.raises(ValueError, match="do not match the 83 images"):
        read_votes(path, data.rows(np.arange(83)))
    with pytest.raises(ValueError, match="lacks the column 'fear'"):
        read_votes(write_votes(data, tmp_path / "no.csv", {}, [name for name in HEADER if name != "fear"]), data)
    with pytest.raises(FileNotFoundError, match=r"give FER\+'s fer2013new.csv"):
        read_votes(tmp_path / "nothing.csv", data)


def test_the_whole_sets_votes_fit(fer2013: Fer2013) -> None:
    votes = read_votes(DATA / "fer2013" / "labels.csv", fer2013)
    has_vote = votes.sum(axis=1) > 0
    agreement = (votes.argmax(axis=1) == fer2013.labels)[has_vote].mean()
    assert 0.6 < agreement < 0.8
    assert 100 < (~has_vote).sum() < 1000
