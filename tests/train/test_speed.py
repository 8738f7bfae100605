"""The speed benchmark sets our way beside the tutorials' way."""

import re

import pytest

from tests.conftest import require_module

require_module("keras")

from train.speed import main, measure

pytestmark = pytest.mark.tensorflow


@pytest.mark.slow
def test_each_way_is_measured_against_the_naive_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resemotenet", "--width", "0.06", "--steps", "2", "--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| resemotenet, width 0.06 | images/s | |"
    assert re.fullmatch(r"\| ImageDataGenerator and fit \| \d+ \| 1.0 x \|", lines[2])
    assert len(lines) == 6


def test_the_median_counts_and_warm_up_does_not() -> None:
    seconds_a_step = iter([0.01, 0.01, 5.0])  # one round is disturbed

    def way(steps: int) -> list[float]:
        step_s = next(seconds_a_step)
        return [100.0 + step_s * step for step in range(steps)]  # the first step takes 100 seconds

    found = measure({"way": way}, steps=5, rounds=3)
    assert found["way"] == pytest.approx(6400)  # 64 images in 10 ms


@pytest.mark.parametrize("flag", ["--steps", "--rounds"])
def test_nothing_to_measure_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cnn", flag, "0"]) == 1
    assert "must be 1 or more" in capsys.readouterr().err
