"""A soak tells of growth, drift and throttling, and calls a run invalid that was disturbed or cut short."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import soak
from benchmarks.__main__ import main
from benchmarks.process import COLUMNS, Watch
from benchmarks.trends import MOST_POINTS, latency_drift, memory_slope, thinned
from mien.health import Health
from mien.streaming import run_stream

FIRMWARE = """#!/bin/sh
case "$*" in
*arm) echo "frequency(48)=1500000000" ;;
*) echo x >> {folder}/calls; i=0; while read -r line; do i=$((i + 1)); done < {folder}/calls
   [ $i -gt 20 ] && echo throttled=0x40004 || echo throttled=0x0 ;;
esac
"""
"""A vcgencmd that tells of throttling from the 21st time on that it is asked."""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Return what a short run on a board that begins to throttle writes."""
    folder = tmp_path_factory.mktemp("soak")
    (folder / "vcgencmd").write_text(FIRMWARE.format(folder=folder))
    (folder / "vcgencmd").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        code = main(["soak", "--minutes", "0.06", "--threads", "1", "--detector", "haar", "--json", f"{folder}/a.json"])
    assert code == 1  # since it is invalid
    yield json.loads((folder / "a.json").read_text())


def test_a_throttled_run_is_called_invalid(record: dict[str, Any]) -> None:
    results = record["results"]
    assert results["throttled"] == "0x40004"
    assert [reason for reason in results["invalid"] if reason.startswith("throttling in ")]
    assert "the run ended with throttling (throttled 0x40004)" in record["invalid"]
    assert set(results["invalid"]) <= set(record["invalid"])
    assert "| valid | NO: throttling in " in soak.table(results)


def test_a_run_counts_frames_at_the_pace_of_the_clip(record: dict[str, Any]) -> None:
    results = record["results"]
    assert (results["clip"], results["size"], results["detector"]) == ("demo.mp4", "480x360", "HaarDetector")
    assert results["minutes_measured"] == pytest.approx(0.06, abs=0.01)
    assert results["samples"] >= 30
    assert results["frames"] + results["dropped"] == pytest.approx(3.6 * 25, abs=5)
    assert 0 < results["latency"]["median_ms"] <= results["latency"]["p99_ms"]
    assert 0 < results["cpu"] < 4
    assert results["clock_mhz"] == [1500, 1500]
    assert results["memory"]["start_mb"] > 50


def test_a_run_is_drawn(record: dict[str, Any]) -> None:
    figure = soak.plots(record["results"])["soak"]
    assert [axes.get_ylabel().split(",")[0] for axes in figure.axes][:2] == ["memory", "latency"]
    assert "INVALID" in figure.get_suptitle()


def test_ctrl_c_ends_early_and_what_was_measured_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = Watch._sample

    def interrupted(self: Watch, since_s: float) -> None:
        sample(self, since_s)
        if self._sampled == 10:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Watch, "_sample", interrupted)
    assert main(["soak", "--minutes", "0.1", "--threads", "1", "--detector", "haar"]) == 1
    output = capsys.readouterr()
    assert "ended after 0.01" in output.err  # the tenth sample comes after 0.9 s
    assert " of 0.1 minutes" in output.err
    assert "too few samples: " in output.err
    assert "| latency drift |" in output.out


FACTS = {"clip": "a.mp4", "size": "640x480", "threads": 1, "detector": "haar", "model": "a", "runtime": "b"}


class Seen(Watch):
    """A watch that has seen an hour, a sample a second: 200 MB, 10 frames/s of 20 ms each, a quiet board."""

    def __init__(self, changed: Mapping[str, npt.ArrayLike] | None = None, seconds: int = 3600) -> None:
        super().__init__(Health(), 0, 1, 1, 1)
        times_s, noise = np.arange(seconds + 1), np.random.default_rng(0).normal(size=10 * seconds)
        usual = {
            "time_s": times_s, "frames": 10 * times_s, "dropped": 0 * times_s, "memory_mb": 200 + 0 * times_s,
            "own_cpu_s": 0.3 * times_s, "other_cpu_s": 0.02 * times_s, "temperature_c": 50 + 0 * times_s,
            "clock_mhz": 1500 + 0 * times_s, "flags": 0 * times_s, "latency_ms": 20 + noise,
        }  # fmt: skip
        self.seen = {name: np.asarray(values, float) for name, values in {**usual, **(changed or {})}.items()}

    def samples(self) -> dict[str, npt.NDArray[np.float64]]:
        return {name: self.seen[name] for name in COLUMNS}

    def latencies(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        latency_ms = self.seen["latency_ms"]
        return np.linspace(0, len(latency_ms) / 10, len(latency_ms), dtype=np.float32), latency_ms.astype(np.float32)


HOUR = np.arange(3601)


def test_an_hour_of_peace_is_valid_and_neither_grows_nor_drifts() -> None:
    results = soak.evaluate(Seen(), 60)
    assert results["invalid"] == []
    assert not results["memory"]["grows"]
    assert not results["drift"]["drifts"]
    assert results["frames_per_s"] == 10
    assert results["throttled"] == "0x0"
    assert "| valid | yes |" in soak.table(FACTS | results)
    assert len(results["series"]["memory_mb"]) == MOST_POINTS


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"flags": np.where(HOUR > 2700, 0x1, 0)}, "under-voltage in 25% of the samples"),
        ({"flags": np.where(HOUR > 2700, 0x20000, 0)}, "a capped clock between two samples"),
        ({"other_cpu_s": 0.5 * HOUR}, "other processes took 0.50 of "),
        ({"clock_mhz": np.where(HOUR > 1800, 1000, 1500)}, "the clock went from 1500 to 1000 MHz"),
        ({"time_s": np.where(HOUR > 1800, HOUR + 60, HOUR)}, "no frame for 60 s"),
    ],
)
def test_a_disturbed_hour_is_invalid(changed: dict[str, npt.ArrayLike], reason: str) -> None:
    (told,) = soak.evaluate(Seen(changed), 60)["invalid"]
    assert told.startswith(reason)


def test_flags_from_before_the_run_do_no_harm() -> None:
    assert soak.evaluate(Seen({"flags": np.full(3601, 0x50000)}), 60)["invalid"] == []


def test_a_machine_that_tells_nothing_is_no_error() -> None:
    nothing = np.full(3601, np.nan)
    results = soak.evaluate(Seen(dict.fromkeys(("flags", "temperature_c", "clock_mhz", "other_cpu_s"), nothing)), 60)
    assert (results["throttled"], results["temperature_c"], results["other_cpu"]) == (None, None, None)
    assert results["invalid"] == []
    assert soak.table(FACTS | results).count("does not tell") == 3
    assert len(soak.plots(FACTS | results)["soak"].axes) == 2
    json.dumps(results, allow_nan=False)


def test_what_ends_before_a_second_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match="ended before anything was measured"):
        soak.evaluate(Seen(seconds=0), 60)


@pytest.mark.parametrize("has_scipy", [True, False])
def test_a_leak_is_seen_through_noise(has_scipy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_scipy:
        monkeypatch.setitem(sys.modules, "scipy.stats", None)
    hours = np.linspace(0, 2, 100)
    noise_mb = np.random.default_rng(0).normal(0, 0.5, 100)
    leak = memory_slope(hours, 200 + 3 * hours + noise_mb)
    assert leak["low"] < 3 < leak["high"]
    assert leak["grows"]
    assert leak["method"] == ("Theil-Sen" if has_scipy else "least squares")
    assert not memory_slope(hours, 200 + noise_mb)["grows"]
    assert not memory_slope(hours / 40, 200 + 3 * hours / 40)["grows"]  # 0.15 MB in three minutes
    assert memory_slope(hours, np.full(100, 200.0))["mb_per_hour"] == pytest.approx(0, abs=1e-3)


def test_a_steady_drift_is_told_from_a_restless_machine() -> None:
    rng = np.random.default_rng(0)
    drifting = latency_drift(20 + np.linspace(0, 2, 5000) + rng.normal(0, 1, 5000))
    assert drifting["drift_ms"] == pytest.approx(1.8, abs=0.2)  # from the middle of a tenth to the middle of another
    assert drifting["drifts"]
    restless = latency_drift(20 + np.repeat([0, 3, 1, 2, 0, 3, 1, 2, 0, 2], 500) + rng.normal(0, 1, 5000))
    assert restless["drift_ms"] == pytest.approx(2, abs=0.2)
    assert not restless["drifts"]


def test_a_long_series_is_thinned_by_medians() -> None:
    series = np.arange(10_000.0)
    series[5] = 1e9
    assert len(thinned(series)) == MOST_POINTS
    assert thinned(series).max() < 10_000
    np.testing.assert_array_equal(thinned(series[:3]), [0, 1, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "0"], "error: --minutes 0: allowed is more than 0"),
        (["--minutes", "nan"], "error: --minutes nan: allowed is more than 0"),
        (["--source", "nothing.mp4"], "error: no clip at nothing.mp4"),
        (["--detector", "hare"], "error: detector is 'hare' (--detector): allowed are auto, finder, haar, yunet"),
    ],
)
def test_a_mistake_gets_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", *arguments]) == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(message)


def test_a_stream_that_fails_late_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def failing(*arguments: Any) -> None:
        run_stream(*arguments)
        raise OSError("no space left")

    monkeypatch.setattr(soak, "run_stream", failing)
    main(["soak", "--minutes", "0.01", "--threads", "1", "--detector", "haar", "--json", str(tmp_path / "a.json")])
    assert "the stream failed: no space left" in json.loads((tmp_path / "a.json").read_text())["invalid"]
