"""Intervals and tests for counts of right answers: exact where SciPy has it, else a seeded bootstrap.

SciPy is imported where it is used, so that a device without it can run the other benchmarks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BOOTSTRAP_DRAWS = 10_000

Interval = tuple[float, float]


@dataclass(frozen=True)
class Paired:
    """Two classifiers on the same images.

    Attributes:
        images: how many.
        only_first, only_second: images that only the one, only the other gets right.
        p_value: of McNemar's exact test: how often chance alone would part them so far, were they equally good.
        difference: accuracy of the first less that of the second, from -1 to 1.
        interval: its 95 % interval.
    """

    images: int
    only_first: int
    only_second: int
    p_value: float
    difference: float
    interval: Interval


def compare_paired(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> Paired:
    """Compare two classifiers by which of the same (N,) images each gets right.

    Raises:
        ValueError: there is no image, or the two differ in number.
        ImportError: SciPy is missing.
    """
    if first.shape != second.shape or not len(first):
        raise ValueError(f"{first.shape} and {second.shape} answers: give the answers of both to the same images")
    images = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return Paired(
        images=images,
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar(only_first, only_second),
        difference=(only_first - only_second) / images,
        interval=difference_interval(only_first, only_second, images),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p of McNemar's exact test (McNemar 1947): a coin that falls so on the images that differ."""
    if only_first + only_second == 0:
        return 1.0
    return float(load_scipy_stats().binomtest(only_first, only_first + only_second).pvalue)


def difference_interval(only_first: int, only_second: int, images: int, seed: int = 0) -> Interval:
    """Return the 95 % interval of the difference of two accuracies on the same images, by drawing images anew.

    The difference depends only on how often either is right alone, so that a draw of images with replacement (Efron
    1979, the bootstrap) is one draw of these counts. Where the two never differ, it is (0, 0).
    """
    shares = np.array([only_first, only_second, images - only_first - only_second]) / images
    draws = np.random.default_rng(seed).multinomial(images, shares, size=BOOTSTRAP_DRAWS)
    low, high = np.percentile((draws[:, 0] - draws[:, 1]) / images, (2.5, 97.5))
    return float(low), float(high)


def share_interval(hits: int, count: int) -> Interval:
    """Return the exact 95 % interval of a share (Clopper and Pearson 1934); (0, 1) for a share of nothing.

    Raises:
        ImportError: SciPy is missing.
    """
    if not count:
        return 0.0, 1.0
    interval = load_scipy_stats().binomtest(hits, count).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def load_scipy_stats() -> Any:
    """Return `scipy.stats`.

    Raises:
        ImportError: SciPy is missing.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise ImportError("exact intervals need SciPy: pip install 'mien[bench]'") from error
    return stats
