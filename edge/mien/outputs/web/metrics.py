"""The state of a run in Prometheus' text format, and the temperature of the processor."""

from collections.abc import Mapping
from pathlib import Path

from mien.emotions import EMOTIONS, UNSURE
from mien.faces import Face
from mien.health import Health

THERMOMETER = Path("/sys/class/thermal/thermal_zone0/temp")


def metrics_text(health: Health, faces: list[Face], processor_c: float | None) -> str:
    """Return the state of a run in Prometheus' text format, version 0.0.4."""
    labels = {f'label="{name}"': 0 for name in (*EMOTIONS, UNSURE)}
    for face in faces:
        labels[f'label="{face.label}"'] += 1
    outputs = [(f'output="{_escape(name)}"', output) for name, output in list(health.outputs.items())]
    written = {name: output.written for name, output in outputs}
    dropped = {name: output.dropped for name, output in outputs}
    failed = {name: int(bool(output.error)) for name, output in outputs}
    temperature = {} if processor_c is None else {"": processor_c}
    families: list[tuple[str, str, str, Mapping[str, float]]] = [
        ("frames_captured_total", "counter", "Frames that the source gave.", {"": health.captured}),
        ("frames_recognized_total", "counter", "Frames with a result.", {"": health.recognized}),
        ("frames_dropped_total", "counter", "Frames that gave way to a newer one.", {"": health.dropped}),
        ("frames_skipped_total", "counter", "Frames left out for heat or a budget.", {"": health.skipped}),
        ("reconnections_total", "counter", "How often the source came back.", {"": health.reconnections}),
        ("source_up", "gauge", "1 while the source gives frames.", {"": int(health.state == "running")}),
        ("frames_per_second", "gauge", "Results a second, in the last seconds.", {"": health.frames_per_s}),
        ("latency_seconds", "gauge", "Median time from frame to result, in the last seconds.", {"": health.latency_s}),
        ("slowed_level", "gauge", "How far heat or a budget slows it; 0: not.", {"": health.slowed_level}),
        ("faces", "gauge", "Faces in the newest frame.", {"": len(faces)}),
        ("faces_by_label", "gauge", "Faces in the newest frame with this label.", labels),
        ("output_results_total", "counter", "Results that an output took.", written),
        ("output_dropped_total", "counter", "Results that an output missed or lost.", dropped),
        ("output_failed", "gauge", "1 if an output has an error.", failed),
        ("temperature_celsius", "gauge", "Temperature of the processor.", temperature),
    ]
    return "".join(_family(*family) for family in families if family[3])


def temperature_c() -> float | None:
    """Return the processor's temperature, or None where there is no thermometer."""
    try:
        return int(THERMOMETER.read_text()) / 1000
    except (OSError, ValueError):
        return None


def _family(name: str, kind: str, text: str, samples: Mapping[str, float]) -> str:
    lines = [f"# HELP mien_{name} {text}", f"# TYPE mien_{name} {kind}"]
    for labels, value in samples.items():
        lines.append(f"mien_{name}{{{labels}}} {value}" if labels else f"mien_{name} {value}")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
