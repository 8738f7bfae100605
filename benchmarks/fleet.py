"""Many devices on one broker, which is restarted in the middle: is anything lost, how late is it, what does it take?

    python -m benchmarks fleet --devices 100 --seconds 30

The devices are mien's own MQTT outputs with QoS 1, all in one process. What their subscriber got is compared with what
was written, result by result.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.broker import Arrival, Broker, Listener
from benchmarks.figures import new_figure
from benchmarks.fleet_devices import device_name
from benchmarks.stages import spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONNECT_S = 60.0
"""All devices must be connected after so long at first."""

SIGNALS = {"stop": signal.SIGTERM, "kill": signal.SIGKILL}
BINS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--devices", type=int, default=100, metavar="N", help="default: 100")
    parser.add_argument("--seconds", type=float, default=30, metavar="N", help="in which they publish (default: 30)")
    parser.add_argument("--rate", type=float, default=3, metavar="N", help="results/s of each (default: 3)")
    parser.add_argument("--away", type=float, default=3, metavar="SECONDS", help="of the broker (default: 3)")
    parser.add_argument(
        "--end",
        choices=SIGNALS,
        default="stop",
        help="how the broker ends: stopped (default), or killed as by a power cut",
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Let the devices publish while the broker is restarted.

    Returns:
        what `evaluate` returns, and {"devices", "seconds", "rate", "qos", "away_s", "end"}.

    Raises:
        OSError: there is no broker here, or it or the devices do not start.
        ValueError: a number is not allowed.
        ImportError: paho-mqtt is missing.
    """
    if not (0 < arguments.devices <= 1000 and 0 < arguments.rate <= 100 and 0 <= arguments.away < arguments.seconds):
        raise ValueError(
            f"--devices {arguments.devices} --rate {arguments.rate:g} --away {arguments.away:g} --seconds "
            f"{arguments.seconds:g}: allowed are 1 to 1000 devices, a rate up to 100, and less seconds away than in all"
        )
    try:
        import paho.mqtt.client  # noqa: F401
    except ImportError as error:
        raise ImportError("fleet needs paho-mqtt: pip install 'mien[mqtt]'") from error
    per_device = max(1, round(arguments.rate * arguments.seconds))
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker, Listener(broker.port) as listener:
        begin_s = time.monotonic()
        task = {"port": broker.port, "devices": arguments.devices, "per_device": per_device, "rate": arguments.rate}
        with _devices(task) as process:
            devices, outage = _publish(process, broker, listener, arguments, per_device)
        written = {device_name(index): per_device for index in range(arguments.devices)}
        broker.stop()
        took_s = time.monotonic() - begin_s - arguments.away
        used = {"cpu": round(broker.cpu_s / took_s, 3), "peak_mb": round(broker.peak_mb, 1)}
        size = listener.bytes / max(1, len(listener.arrivals))
        results = evaluate(list(listener.arrivals), written, outage, devices)
    facts = {name: getattr(arguments, name) for name in ("devices", "seconds", "rate", "end")}
    return {**facts, "qos": 1, "away_s": arguments.away, "message_bytes": round(size), **results, "broker": used}


def evaluate(
    arrivals: list[Arrival], written: dict[str, int], outage: tuple[float, float], devices: dict[str, Any]
) -> dict[str, Any]:
    """Compare what came with what was written.

    Args:
        arrivals: in their order.
        written: how many frames, from 0 on, each device has written.
        outage: Unix times of the broker's end and of when it listened again.
        devices: what their process told.

    Returns:
        {"written", "arrived": each counted once, "lost", "duplicates", "disordered": that came for the first time
        after a later one of the same device, "messages_per_s", "latency": spread of the time from a result to its
        arrival, but for those that the outage delayed, "longest_s": of all, "reconnected", "reconnected_s": from when
        the broker listened until the last device was connected, "caught_up_s": until all that had waited had arrived,
        "devices_process": {"cpu", "memory_mb", "threads"}, "dropped": by the outputs, "series": {"time_s", "per_s",
        "latency_ms"}, "invalid": reasons}.
    """
    ended_s, listening_s = outage
    first: dict[tuple[str, int], Arrival] = {}
    newest: dict[str, int] = {}
    disordered = 0
    for arrival in arrivals:
        if (arrival.device, arrival.frame) not in first:
            first[arrival.device, arrival.frame] = arrival
            disordered += arrival.frame < newest.get(arrival.device, -1)
            newest[arrival.device] = max(arrival.frame, newest.get(arrival.device, -1))
    if not first:
        raise ValueError("no result arrived at all")
    ready_s, came_s = np.array([arrival[2:] for arrival in first.values()]).T
    again_s = max(devices["reconnected_s"], default=listening_s)
    caught_up_s = came_s[ready_s <= again_s].max(initial=again_s)
    is_steady = (ready_s < ended_s - 1) | (ready_s > caught_up_s)
    lost = sum(written.values()) - len(first)
    return {
        "written": sum(written.values()),
        "arrived": len(first),
        "lost": lost,
        "duplicates": len(arrivals) - len(first),
        "disordered": disordered,
        "messages_per_s": round(sum(written.values()) / devices["seconds"], 1),
        "latency": spread((came_s - ready_s)[is_steady if is_steady.any() else slice(None)]),
        "longest_s": round(float((came_s - ready_s).max()), 2),
        "reconnected": len(devices["reconnected_s"]),
        "reconnected_s": round(float(again_s - listening_s), 2),
        "caught_up_s": round(float(max(caught_up_s, again_s) - listening_s), 2),
        "devices_process": {name: devices[name] for name in ("cpu", "memory_mb", "threads")},
        "dropped": devices["dropped"],
        "series": _series(ready_s, came_s),
        "invalid": [f"results lost: {lost} of {sum(written.values())}"] if lost else [],
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    latency, broker, devices = results["latency"], results["broker"], results["devices_process"]
    how = {"stop": "stopped (SIGTERM)", "kill": "killed (SIGKILL)"}[results["end"]]
    rows = {
        "results": f"{results['written']:,} written, {results['messages_per_s']:g} a second, "
        f"of {results['message_bytes']} bytes",
        "lost": f"{results['lost']} ({results['dropped']} dropped by the outputs)",
        "came twice": str(results["duplicates"]),
        "out of order": str(results["disordered"]),
        "from result to subscriber": f"median {latency['median_ms']:.1f} ms, p95 {latency['p95_ms']:.1f}, "
        f"p99 {latency['p99_ms']:.1f}; through the restart {results['longest_s']:g} s at most",
        "connected again": f"{results['reconnected']} devices, the last {results['reconnected_s']:.1f} s after the "
        f"broker was back; all that had waited was there after {results['caught_up_s']:.1f} s",
        "broker": f"{broker['cpu']:.1%} of a core, {broker['peak_mb']:.1f} MB at most",
        f"the process of all {results['devices']} outputs": f"{devices['cpu']:.1%} of a core, "
        f"{devices['memory_mb']:.1f} MB, {devices['threads']} threads",
    }
    return "\n".join(
        [
            f"{results['devices']} devices, QoS {results['qos']}, {results['seconds']:g} s; the broker was {how} in "
            f"the middle and away for {results['away_s']:g} s",
            "",
            "| fleet | |",
            "| --- | --- |",
            *(f"| {name} | {text} |" for name, text in rows.items()),
        ]
    )


def plots(results: dict[str, Any]) -> dict[str, "Figure"]:
    """Draw how many results arrived, and how late, over time."""
    series = results["series"]
    figure = new_figure(8, 4.8)
    above, below = figure.subplots(2, sharex=True)
    above.step(series["time_s"], series["per_s"], where="mid", color="#1f5f99")
    above.set_ylabel("results/s\nthat arrive")
    above.set_ylim(0)
    below.plot(series["time_s"], np.array(series["latency_ms"], float), ".", color="#1f5f99")
    below.set_yscale("log")
    below.set_ylabel("from result to\nsubscriber, ms (medians)")
    below.set_xlabel("seconds")
    for axes in (above, below):
        axes.grid(color="0.9")
    figure.suptitle(
        f"{results['devices']} devices, broker restarted in the middle, lost: {results['lost']}", fontsize=11
    )
    return {"fleet": figure}


def _devices(task: dict[str, Any]) -> "subprocess.Popen[str]":
    """Start the devices' process, which connects and then waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fleet_devices"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(task) + "\n")
    return process


def _publish(
    process: "subprocess.Popen[str]",
    broker: Broker,
    listener: Listener,
    arguments: argparse.Namespace,
    per_device: int,
) -> tuple[dict[str, Any], tuple[float, float]]:
    """Let the devices publish, restart the broker in the middle; return what they told, and the times of the outage."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if not _wait_until(lambda: len(listener.online) == arguments.devices, CONNECT_S):
            raise OSError(f"only {len(listener.online)} of {arguments.devices} devices connected in {CONNECT_S:g} s")
        broker.save()
        process.stdin.write("go\n")
        time.sleep((arguments.seconds - arguments.away) / 2)
        ended_s = time.time()
        broker.stop(SIGNALS[arguments.end])
        time.sleep(arguments.away)
        broker.start()
        listening_s = time.time()
        process.stdout.readline()  # all is written
        total = arguments.devices * per_device
        # An output that was refused comes back after a pause as long as it had been away, and a second more.
        _wait_until(lambda: listener.count() >= total, 2 * arguments.away + 5, listener.count)
        process.stdin.write("close\n")
        line = process.stdout.readline()
        if not line:
            raise OSError("the devices' process ended without a word: see above")
        return json.loads(line), (ended_s, listening_s)
    finally:
        process.stdin.close()
        if sys.exception() is not None:
            process.kill()


def _wait_until(is_so: Callable[[], bool], timeout_s: float, progress: Callable[[], int] = lambda: 0) -> bool:
    """Wait, as long as there is progress within the time; return whether it is so."""
    deadline_s, done = time.monotonic() + timeout_s, progress()
    while not is_so() and time.monotonic() < deadline_s:
        time.sleep(0.05)
        if progress() > done:
            deadline_s, done = time.monotonic() + timeout_s, progress()
    return is_so()


def _series(ready_s: Any, came_s: Any) -> dict[str, list[Any]]:
    """Return arrivals a second and the median of their latencies, over time; None where nothing came."""
    edges_s = np.linspace(came_s.min(), came_s.max() + 1e-6, BINS + 1)
    places = np.digitize(came_s, edges_s) - 1
    late_ms = [1000 * (came_s - ready_s)[places == place] for place in range(BINS)]
    return {
        "time_s": [round(float(edge_s), 2) for edge_s in (edges_s[1:] + edges_s[:-1]) / 2 - edges_s[0]],
        "per_s": [round(len(late) / float(edges_s[1] - edges_s[0]), 1) for late in late_ms],
        "latency_ms": [round(float(np.median(late)), 2) if len(late) else None for late in late_ms],
    }
