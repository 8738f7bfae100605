"""Latency is measured in fresh processes, compared within a run, and judged by a peak that is reasoned out."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import latency
from benchmarks.__main__ import main
from benchmarks.latency_worker import ROUNDS
from benchmarks.operators import arithmetic, read_operators, time_prefixes, write_prefixes
from benchmarks.peak import find_peak, peak_share
from benchmarks.runtimes import find_runtimes
from mien.card import find_model
from mien.interpreter import TFLiteModel

CNN_MULTIPLY_ADDS = (
    9 * 48**2 * (1 * 64 + 64 * 64)
    + 9 * 24**2 * (64 * 128 + 128 * 128)
    + 9 * 12**2 * (128 * 256 + 256 * 256)
    + 256 * 128
    + 128 * 7
)
"""Of the paper's network: six 3x3 convolutions, a pooling after each two, two dense layers."""

XEON = {"flags": "fpu sse2 avx fma avx2 avx512f avx512bw avx512_vnni amx_int8", "vendor_id": "GenuineIntel"}


def arguments_of(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    latency.add_arguments(parser)
    return parser.parse_args(flags)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    flags = ["--models", "cnn_int8", "mien_net_int8", "--threads", "2", "1", "--seconds", "0.2", "--runs", "50"]
    measured = latency.run(arguments_of(*flags, "--runtimes", "ai-edge-litert", "--profile"))
    return dict(json.loads(json.dumps(measured)))


def machine(root: Path, lines: dict[str, str], cores: int = 4, highest_khz: int | None = None) -> Path:
    """Write what /proc and /sys say of a processor; return their root."""
    (root / "proc").mkdir(parents=True)
    core = "".join(f"{name}\t: {value}\n" for name, value in lines.items())
    (root / "proc/cpuinfo").write_text("\n".join(f"processor\t: {index}\n{core}" for index in range(cores)))
    if highest_khz:
        frequency = root / "sys/devices/system/cpu/cpu0/cpufreq"
        frequency.mkdir(parents=True)
        (frequency / "cpuinfo_max_freq").write_text(f"{highest_khz}\n")
    return root


def test_every_model_is_measured_with_every_number_of_threads(results: dict[str, Any]) -> None:
    points = [(point["model"], point["threads"]) for point in results["points"]]
    assert points == [("cnn_int8", 1), ("cnn_int8", 2), ("mien_net_int8", 1), ("mien_net_int8", 2)]
    for point in results["points"]:
        assert 0 < point["median_ms"] <= point["p90_ms"] <= point["p99_ms"]
        assert point["load_ms"] > 0
        assert point["first_ms"] > 0
        assert ROUNDS <= point["runs"] <= 50
        assert len(point["round_medians_ms"]) == ROUNDS
        expected = point["multiply_adds"] / point["median_ms"] / 1e6
        # median_ms is rounded to 0.0001 ms, a thousandth of the quickest model's
        assert point["gmacs_per_s"] == pytest.approx(expected, rel=0.001)
    assert results["failed"] == results["not_measured"] == []


def test_models_are_compared_with_the_papers_at_as_many_threads(results: dict[str, Any]) -> None:
    medians = {(point["model"], point["threads"]): point["median_ms"] for point in results["points"]}
    for point in results["points"]:
        expected = medians["cnn_int8", point["threads"]] / point["median_ms"]
        assert point["times_faster_than_cnn_int8"] == pytest.approx(expected, abs=0.006)


def test_memory_is_that_of_a_fresh_process(results: dict[str, Any]) -> None:
    assert [entry["model"] for entry in results["memory"]] == ["cnn_int8", "mien_net_int8"]
    for entry in results["memory"]:
        assert entry["increase_mb"] == pytest.approx(entry["peak_mb"] - entry["import_mb"], abs=0.02)
        # This process has imported far more; 1 MB is less than the file of the one, 150 MB more than all of it.
        assert 1 < entry["increase_mb"] < entry["peak_mb"] < 150


def test_the_profile_has_each_operator_and_adds_up(results: dict[str, Any]) -> None:
    cnn, _ = results["profile"]
    assert [operator["operator"] for operator in cnn["operators"]][:3] == ["CONV_2D", "CONV_2D", "MAX_POOL_2D"]
    assert sum(operator["multiply_adds"] for operator in cnn["operators"]) == CNN_MULTIPLY_ADDS
    assert sum(operator["share"] for operator in cnn["operators"]) == pytest.approx(1, abs=0.01)


def test_the_table_and_the_plot_are_made_of_the_results_alone(results: dict[str, Any]) -> None:
    pytest.importorskip("matplotlib")
    table = latency.table(results)
    assert "| cnn_int8 | ai-edge-litert | 1 |" in table
    assert "1 CONV_2D | 48x48x64 | 1.33 |" in table
    assert "Not measured" not in table
    figure = latency.plots(results)["latency"]
    (panel,) = figure.axes
    assert {label.get_text() for label in panel.get_yticklabels()} == {"cnn_int8", "mien_net_int8"}


def test_a_model_that_cannot_be_loaded_loses_nothing_else(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(find_model("cnn_int8").read_bytes()[:-1])
    shutil.copy(find_model("cnn_int8").with_suffix(".json"), tmp_path / "damaged.json")
    flags = ["--models", str(damaged), "mien_net_int8", "--threads", "1", "--seconds", "0.1", "--runs", "10"]
    results = latency.run(arguments_of(*flags, "--runtimes", "ai-edge-litert"))
    (failure,) = results["failed"]
    assert failure["model"] == "damaged"
    assert "cut off or was replaced" in failure["why"]
    (point,) = results["points"]
    assert (point["model"], point["times_faster_than_cnn_int8"]) == ("mien_net_int8", None)
    assert "- damaged in ai-edge-litert: " in latency.table(results)


def test_the_command_prints_the_machine_and_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.json"
    flags = ["--models", "mien_net_int8", "--threads", "1", "--seconds", "0.1", "--json", str(results)]
    assert main(["latency", *flags, "--runtimes", "ai-edge-litert"]) == 0
    assert "| mien_net_int8 | ai-edge-litert | 1 |" in capsys.readouterr().out
    assert json.loads(results.read_text())["results"]["points"][0]["median_ms"] > 0


def test_tflite_runtime_is_measured_in_its_own_environment() -> None:
    if "tflite-runtime" in find_runtimes(["ai-edge-litert", "tflite-runtime"])[1]:
        pytest.skip("tflite-runtime has no environment: script/setup train")
    flags = ["--models", "mien_net_int8", "--threads", "1", "--seconds", "0.1", "--runs", "10"]
    results = latency.run(arguments_of(*flags, "--runtimes", "tflite-runtime"))
    (point,) = results["points"]
    assert (point["runtime"], point["arithmetic"]) == ("tflite-runtime", "int8")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--threads", "0"], "--threads 0: allowed is 1 or more"),
        (["--seconds", "0"], "--seconds 0 --runs 1000: allowed are seconds above 0"),
        (["--runs", "9"], "--seconds 10 --runs 9: allowed are .* 10 runs or more"),
    ],
)
def test_a_flag_out_of_range_is_refused(flags: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        latency.run(arguments_of(*flags))


def test_multiply_adds_are_counted_from_the_file() -> None:
    operators = read_operators(find_model("cnn_int8").read_bytes())
    assert sum(operator.multiply_adds for operator in operators) == CNN_MULTIPLY_ADDS
    assert arithmetic(operators) == "int8"


def test_a_model_cut_after_its_last_operator_answers_as_before(tmp_path: Path) -> None:
    model = find_model("mien_net_int8")
    face = np.random.default_rng(0).integers(0, 256, (1, 48, 48, 1), np.uint8)
    files = write_prefixes(model, tmp_path)
    assert len(files) == len(read_operators(model.read_bytes()))
    whole, cut = (TFLiteModel(path.read_bytes()).predict(face) for path in (model, files[-1]))
    assert np.array_equal(whole, cut)


def test_a_cut_model_keeps_what_a_later_operator_needs(tmp_path: Path) -> None:
    model = find_model("mien_net_int8")
    fourth = write_prefixes(model, tmp_path)[3].read_bytes()
    assert len(read_operators(fourth)) == 4
    # a block's own way, and the short cut beside it
    with pytest.raises(ValueError, match="a model with 2 outputs: allowed is one"):
        TFLiteModel(fourth)


def test_each_operator_gets_its_time_and_error(tmp_path: Path) -> None:
    files = write_prefixes(find_model("cnn_int8"), tmp_path)[:2]
    first, second = time_prefixes(files, "ai-edge-litert", 1, 0.1)
    assert first["median_ms"] > 0  # the call itself
    assert second["median_ms"] > second["error_ms"] > 0  # a quarter of the network's multiply-adds


def test_the_peak_is_multiply_adds_a_cycle_times_clock(tmp_path: Path) -> None:
    peak = find_peak(machine(tmp_path, XEON, cores=2, highest_khz=3_000_000))
    assert peak["gmacs_per_s_a_core"] == {"int8": 1024 * 3.0, "float32": 32 * 3.0}
    assert peak["is_upper_bound"]
    assert any("AMX" in line and "Optimization Reference Manual" in line for line in peak["reasoning"])
    assert peak_share(peak, "float32", threads=1, gmacs_per_s=48) == 0.5
    assert peak_share(peak, "float32", threads=4, gmacs_per_s=48) == 0.25  # there are two cores


def test_a_clock_that_may_be_exceeded_is_no_upper_bound(tmp_path: Path) -> None:
    peak = find_peak(machine(tmp_path, {**XEON, "cpu MHz": "2100.000"}))
    assert peak["clock_mhz"] == 2100
    assert not peak["is_upper_bound"]
    assert "turbo" in peak["clock_source"]


def test_zen_4_needs_two_cycles_for_avx_512(tmp_path: Path) -> None:
    flags = {"vendor_id": "AuthenticAMD", "cpu family": "25", "flags": "sse2 avx fma avx2 avx512f avx512_vnni"}
    assert find_peak(machine(tmp_path, flags))["multiply_adds_per_cycle"] == {"int8": 64, "float32": 16}


@pytest.mark.parametrize(("part", "int8", "float32"), [("0xd08", 8, 4), ("0xd0b", 32, 8)])
def test_raspberry_pis_have_a_peak(part: str, int8: int, float32: int, tmp_path: Path) -> None:
    features = "fp asimd crc32 asimddp" if part == "0xd0b" else "fp asimd crc32"
    root = machine(tmp_path, {"Features": features, "CPU part": part}, highest_khz=1_800_000)
    assert find_peak(root)["multiply_adds_per_cycle"] == {"int8": int8, "float32": float32}
    assert find_peak(root)["cores"] == 4


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"Features": "fp asimd", "CPU part": "0xfff", "cpu MHz": "1000"}, "part number 0xfff is not in our table"),
        (XEON, "unknown, neither cpufreq nor /proc/cpuinfo has it"),
        ({}, "The instruction set is unknown"),
    ],
)
def test_what_is_unknown_is_said_and_not_guessed(lines: dict[str, str], message: str, tmp_path: Path) -> None:
    peak = find_peak(machine(tmp_path, lines))
    assert peak["gmacs_per_s_a_core"] == {"int8": None, "float32": None}
    assert not peak["is_upper_bound"]
    assert any(message in line for line in peak["reasoning"])
    assert peak_share(peak, "int8", 1, 100) is None
