"""Trends of a long run: how fast memory grows, whether the latency drifts, and series short enough to keep."""

from typing import Any

import numpy as np
import numpy.typing as npt

MOST_POINTS = 200
"""Longer series are thinned, by the medians of as many parts, for the slope and the plots."""

LEAST_GROWTH_MB = 0.5
"""Less, in all of a run, is what allocators take and give: a longer run tells whether it adds up."""

Floats = npt.NDArray[np.floating[Any]]


def memory_slope(hours: Floats, memory_mb: Floats) -> dict[str, Any]:
    """Return how fast memory grows: the median slope of all pairs of samples (Theil and Sen), which jumps do not move.

    Args:
        hours: of the samples.
        memory_mb: at these times.

    Returns:
        {"mb_per_hour", "low", "high": its 95 % interval, as if the samples were independent, "method", "grows":
        whether all of the interval lies above 0, and the growth in this time above `LEAST_GROWTH_MB`}.
    """
    try:
        from scipy.stats import theilslopes

        (slope, _, low, high), method = theilslopes(memory_mb, hours, 0.95), "Theil-Sen"
    except ImportError:  # as on a device
        (slope, _), covariance = np.polyfit(hours, memory_mb, 1, cov="unscaled")
        residuals_mb = memory_mb - np.polyval(np.polyfit(hours, memory_mb, 1), hours)
        error = 1.96 * np.sqrt(covariance[0, 0] * (residuals_mb**2).sum() / max(1, len(hours) - 2))
        low, high, method = slope - error, slope + error, "least squares"
    figures = {"mb_per_hour": slope, "low": low, "high": high}
    rounded = {name: round(float(value), 3) for name, value in figures.items()}
    is_much = float(slope * (hours[-1] - hours[0])) > LEAST_GROWTH_MB
    return {**rounded, "method": method, "grows": is_much and rounded["low"] > 0}


def latency_drift(latencies_ms: Floats) -> dict[str, Any]:
    """Compare the median of the last tenth of the frames with that of the first.

    The noise is what two tenths differ by when nothing drifts. Neighbours tell it: a steady drift moves them by a ninth
    of itself only (von Neumann et al. 1941, The Mean Square Successive Difference).

    Returns:
        {"first_ms", "last_ms", "drift_ms", "noise_ms": 95 % of differences are smaller, "drifts": whether the drift is
        larger than the noise, "tenths_ms"}.
    """
    tenths_ms = np.array([np.median(part) for part in np.array_split(latencies_ms, 10) if len(part)])
    steps_ms = np.diff(tenths_ms)
    # 2.26: Student's t of 9 degrees of freedom, 95 %, for as many steps.
    noise_ms = 2.26 * float(np.sqrt((steps_ms**2).mean())) if len(steps_ms) else 0.0
    drift_ms = float(tenths_ms[-1] - tenths_ms[0])
    return {
        "first_ms": round(float(tenths_ms[0]), 3),
        "last_ms": round(float(tenths_ms[-1]), 3),
        "drift_ms": round(drift_ms, 3),
        "noise_ms": round(noise_ms, 3),
        "drifts": abs(drift_ms) > noise_ms,
        "tenths_ms": plain(tenths_ms),
    }


def thinned(values: Floats) -> Floats:
    """Return at most `MOST_POINTS` medians of as many parts of a series; NaN where a part has only NaN."""
    parts = np.array_split(values, min(MOST_POINTS, len(values)))
    return np.array([np.nan if np.isnan(part).all() else np.nanmedian(part) for part in parts])


def medians_between(edges: Floats, places: Floats, values: Floats) -> Floats:
    """Return the median of the values at the places between each two edges; NaN where there are none."""
    parts = np.split(values, np.searchsorted(places, edges[1:-1]))
    return np.array([np.median(part) if len(part) else np.nan for part in parts])


def plain(values: Floats) -> list[float | None]:
    """Return values for JSON; None for NaN."""
    return [None if np.isnan(value) else round(float(value), 3) for value in values]
