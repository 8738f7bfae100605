"""A small fleet loses nothing when its broker is restarted, and what is lost, late or doubled is counted as such."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import fleet
from benchmarks.__main__ import main
from benchmarks.broker import Arrival
from benchmarks.fleet_devices import make_result
from tests.conftest import require_module, require_program


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what a short run of ten devices writes."""
    require_program("mosquitto", "mosquitto")
    path = tmp_path_factory.mktemp("fleet") / "fleet.json"
    assert (
        main(["fleet", "--devices", "10", "--seconds", "3", "--rate", "5", "--away", "0.5", "--json", str(path)]) == 0
    )
    return dict(json.loads(path.read_text()))


def test_a_fleet_loses_nothing_when_its_broker_is_restarted(record: dict[str, Any]) -> None:
    results = record["results"]
    assert (results["written"], results["arrived"], results["lost"]) == (150, 150, 0)
    assert (results["dropped"], results["disordered"]) == (0, 0)
    assert results["duplicates"] <= 10  # one on its way a device
    assert results["reconnected"] == 10
    assert 0 <= results["reconnected_s"] <= results["caught_up_s"] < 10
    assert results["longest_s"] >= 0.5


def test_a_fleets_figures_are_those_of_the_rate_and_of_two_processes(record: dict[str, Any]) -> None:
    results = record["results"]
    assert results["messages_per_s"] == pytest.approx(50, rel=0.2)
    assert 0 < results["latency"]["median_ms"] <= results["latency"]["p95_ms"]
    assert results["broker"]["peak_mb"] > 1
    assert results["devices_process"]["memory_mb"] > 10
    assert results["devices_process"]["threads"] >= 21  # two an output
    assert 200 < results["message_bytes"] < 1000
    require_module("jsonschema").validate(record, json.loads((Path(fleet.__file__).parent / "schema.json").read_text()))


def test_a_fleet_is_drawn_and_told(record: dict[str, Any]) -> None:
    assert "| lost | 0 (0 dropped by the outputs) |" in fleet.table(record["results"])
    above, below = fleet.plots(record["results"])["fleet"].axes
    assert above.get_ylabel().startswith("results/s")
    assert below.get_yscale() == "log"


DEVICES = {"seconds": 2.0, "cpu": 0.1, "memory_mb": 50.0, "threads": 3, "dropped": 0, "reconnected_s": [14.0]}
OUTAGE = (11.0, 13.0)


def evaluate(*frames: int, late_s: float = 0.01) -> dict[str, Any]:
    """Return what becomes of one device's five results, one a second from 10 s on, that came in this order."""
    arrivals = [Arrival("a", frame, 10.0 + frame, 10.0 + frame + late_s) for frame in frames]
    return fleet.evaluate(arrivals, {"a": 5}, OUTAGE, DEVICES)


@pytest.mark.parametrize(
    ("frames", "lost", "duplicates", "disordered"),
    [
        ((0, 1, 2, 3, 4), 0, 0, 0),
        ((0, 1, 1, 2, 3, 4), 0, 1, 0),
        ((0, 1, 2, 1, 2, 3, 4), 0, 2, 0),  # sent again, which is no new disorder
        ((0, 2, 1, 3, 4), 0, 0, 1),
        ((0, 1, 4), 2, 0, 0),
    ],
)
def test_what_is_lost_doubled_or_out_of_order_is_counted(
    frames: tuple[int, ...], lost: int, duplicates: int, disordered: int
) -> None:
    results = evaluate(*frames)
    assert (results["lost"], results["duplicates"], results["disordered"]) == (lost, duplicates, disordered)
    assert results["invalid"] == ([f"results lost: {lost} of 5"] if lost else [])


def test_what_waited_for_the_broker_does_not_count_as_latency() -> None:
    arrivals = [Arrival("a", 0, 9.0, 9.01), Arrival("a", 1, 12.0, 14.5), Arrival("a", 2, 15.0, 15.03)]
    results = fleet.evaluate(arrivals, {"a": 3}, OUTAGE, DEVICES)
    assert results["latency"]["mean_ms"] == pytest.approx(20, abs=0.1)
    assert results["longest_s"] == pytest.approx(2.5)
    assert (results["reconnected_s"], results["caught_up_s"]) == (1.0, 1.5)
    json.dumps(results, allow_nan=False)


def test_each_made_up_result_is_a_change() -> None:
    for device in range(20):
        shown = [{(face.track_id, face.label) for face in make_result(device, frame).faces} for frame in range(50)]
        assert all(before != after for before, after in pairwise(shown))
    (face, *_) = make_result(0, 0).faces
    np.testing.assert_allclose(face.probabilities.sum(), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices", "0"], "error: --devices 0 "),
        (["--rate", "nan"], "error: --devices 100 --rate nan"),
        (["--seconds", "3", "--away", "3"], "allowed are 1 to 1000 devices, a rate up to 100, and less seconds away"),
    ],
)
def test_a_mistake_gets_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_without_a_broker_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.broker.PROGRAM", "no-such-broker")
    assert main(["fleet", "--devices", "1"]) == 1
    assert "error: no broker to publish to: sudo apt install no-such-broker" in capsys.readouterr().err
