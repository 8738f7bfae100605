"""FER+ (Barsoum et al. 2016, arXiv:1608.01041): ten people's votes on each image of FER2013, for training images only.

Its file has one line for each row of `fer2013.csv`, in the same order. FER2013's own labels stay
what validation and test are measured by.
"""

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.emotions import EMOTIONS
from mien.fer2013 import USAGES, Fer2013

Votes = npt.NDArray[np.float32]

COLUMNS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""FER+'s names in the order of EMOTIONS; its contempt, unknown and "not a face" have no counterpart."""

SHARE = 0.5
"""Weight of the votes in a soft label; the other half stays on FER2013's own label, which tests go by."""


def read_votes(path: Path, data: Fer2013) -> Votes:
    """Read FER+'s `fer2013new.csv`, or a table with the same columns, for these images.

    Returns:
        (len(data), 7) float32 votes in the order of EMOTIONS; zeros where FER+ has no vote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table of votes, or its rows are not those of `data`.
    """
    if not path.exists():
        raise FileNotFoundError(f"no FER+ votes at {path}: give FER+'s fer2013new.csv")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [{name.strip().lower(): cell for name, cell in row.items() if name} for row in csv.DictReader(file)]
        votes = np.array([[float(row[name] or 0) for name in COLUMNS] for row in rows], np.float32)
        usages = [row["usage"] for row in rows]
    except KeyError as error:
        raise ValueError(
            f"{path} lacks the column {error}: allowed is FER+'s fer2013new.csv, with Usage, {', '.join(COLUMNS)}"
        ) from error
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise ValueError(f"{path} is no table of votes ({error}): give FER+'s fer2013new.csv") from error
    if usages != [USAGES[usage] for usage in data.usages]:
        raise ValueError(
            f"{path} has {len(usages):,} rows that do not match the {len(data):,} images in usage and order: "
            "votes need FER2013 as Kaggle's fer2013.csv, not as folders"
        )
    return votes


def mix_votes(targets: npt.NDArray[np.float32], votes: Votes) -> npt.NDArray[np.float32]:
    """Mix one-hot labels (N, 7) half and half with the shares of the votes; without a vote they stay."""
    total = votes.sum(axis=1, keepdims=True)
    mixed = (1 - SHARE) * targets + SHARE * votes / np.maximum(total, 1)
    return np.where(total > 0, mixed, targets).astype(np.float32)


def is_confirmed(labels: npt.NDArray[np.uint8], votes: Votes) -> npt.NDArray[np.bool_]:
    """Return which labels (N,) at least one voter shares; without any vote, among seven emotions, none does."""
    own = votes[np.arange(len(labels)), labels]
    return np.asarray(own > 0)


assert len(COLUMNS) == len(EMOTIONS)
