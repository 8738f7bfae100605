"""Results are records that say of which machine they are; a report, a comparison and README are made of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import readme
from benchmarks.__main__ import main
from benchmarks.record import RESULTS, read_record, write_record
from tests.conftest import require_module

SCHEMA = json.loads((RESULTS.parent / "schema.json").read_text())


def make_record(benchmark: str = "latency", **results: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "benchmark": benchmark,
        "command": f"python -m benchmarks {benchmark}",
        "started": "2026-01-02T03:04:05+00:00",
        "seconds": 1.5,
        "machine": {"processor": "an abacus", "cores": "2"},
        "before": {"temperature_c": 40.0, "throttled": "0x0"},
        "after": {"temperature_c": 55.5, "throttled": "0x0"},
        "invalid": [],
        "results": results,
    }


def margin_record() -> dict[str, Any]:
    figures = {"found": 0.8, "side": 46.3, "centre_x": 24.2, "centre_y": 23.8, "margin": 0.018}
    return make_record("crop-margin", **figures)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_published_results_follow_the_schema(path: Path) -> None:
    require_module("jsonschema").validate(json.loads(path.read_text()), SCHEMA)


def test_a_benchmark_writes_a_record_that_follows_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    arguments = ["--models", "mien_net_int8", "--threads", "1", "--seconds", "0.1", "--json", str(path)]
    assert main(["latency", *arguments]) == 0
    record = read_record(path)
    require_module("jsonschema").validate(record, SCHEMA)
    assert record["command"].startswith("python -m benchmarks latency --models mien_net_int8")
    assert record["machine"]["cores"].isdigit()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema_version": 1, "bench', "is no JSON or cut off"),
        ("[]", "is a list: allowed is a file that"),
        ("{}", "lacks 'schema_version'"),
        (json.dumps({**make_record(), "schema_version": 9}), "has schema version 9, allowed is 1"),
    ],
)
def test_a_damaged_result_is_refused_in_one_line(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "damaged.json"
    path.write_text(content)
    assert main(["compare", str(path), str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path} ")
    assert message in line


def test_a_report_has_machine_conditions_tables_and_what_is_missing(tmp_path: Path) -> None:
    write_record(tmp_path / "crop-margin.json", margin_record())
    (tmp_path / "half.json").write_text('{"schema_')
    assert main(["report", "--results", str(tmp_path)]) == 0
    text = (tmp_path / "report.md").read_text()
    assert "| processor | an abacus |" in text
    assert "| crop-margin | yes | 40.0 / 55.5 |" in text
    assert "latency: not run" in text
    assert f"{tmp_path / 'half.json'} is no JSON or cut off" in text
    page = (tmp_path / "report.html").read_text()
    assert "<td>an abacus</td>" in page


def test_the_reports_page_needs_no_network_and_no_other_file(tmp_path: Path) -> None:
    assert main(["report", "--out", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]{0,60})', page)
    assert len(sources) >= 4
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    for image in re.findall(r"\]\((plots/[^)]+)\)", (tmp_path / "report.md").read_text()):
        assert (tmp_path / image).stat().st_size > 5000


def test_an_invalid_run_is_called_so_in_the_report(tmp_path: Path) -> None:
    write_record(tmp_path / "crop-margin.json", {**margin_record(), "invalid": ["throttled during the run"]})
    assert main(["report", "--results", str(tmp_path)]) == 0
    text = (tmp_path / "report.md").read_text()
    assert "**Invalid:** throttled during the run" in text
    assert "| crop-margin | no |" in text


def test_results_of_another_version_do_not_stop_the_report(tmp_path: Path) -> None:
    write_record(tmp_path / "latency.json", make_record("latency", speeds=[1, 2, 3]))
    write_record(tmp_path / "crop-margin.json", margin_record())
    assert main(["report", "--results", str(tmp_path)]) == 0
    text = (tmp_path / "report.md").read_text()
    assert "These results are damaged or of another version of mien" in text
    assert "0.018" in text


def compared(before: dict[str, Any], after: dict[str, Any], folder: Path) -> int:
    files = [folder / "a.json", folder / "b.json"]
    for file, record in zip(files, (before, after), strict=True):
        write_record(file, record)
    return main(["compare", *map(str, files)])


def test_compare_tells_noise_from_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def points(median_ms: float, p90_ms: float, gmacs_per_s: float) -> dict[str, Any]:
        point = {"model": "m", "threads": 1, "median_ms": median_ms, "p90_ms": p90_ms, "gmacs_per_s": gmacs_per_s}
        return make_record("latency", points=[point])

    assert compared(points(1.0, 2.0, 50), points(1.05, 2.5, 60), tmp_path) == 1
    output = capsys.readouterr().out
    assert "| points[m 1].p90_ms | 2 | 2.5 | ± 0.2 | **worse** |" in output
    assert "| points[m 1].gmacs_per_s | 50 | 60 | ± 5 | better |" in output
    assert "median_ms" not in output
    assert "1 of 3 figures did not change beyond noise." in output


def test_compare_takes_the_intervals_of_accuracies_for_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def model(accuracy: float) -> dict[str, Any]:
        return make_record("accuracy", models=[{"model": "m", "test": {"accuracy": accuracy, "interval_95": 0.01}}])

    assert compared(model(0.69), model(0.677), tmp_path) == 0
    assert "1 of 1 figures did not change beyond noise." in capsys.readouterr().out
    assert compared(model(0.69), model(0.67), tmp_path) == 1


def test_compare_warns_of_other_machines_and_invalid_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {**make_record(median_ms=1.0), "machine": {"processor": "a slide rule"}, "invalid": ["too hot"]}
    assert compared(make_record(median_ms=1.0), other, tmp_path) == 0
    output = capsys.readouterr().out
    assert "The machines differ" in output
    assert "The second run is invalid: too hot" in output


def test_compare_refuses_results_of_two_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(make_record("latency"), make_record("soak"), tmp_path) == 1
    assert "the first file is of 'latency', the second of 'soak'" in capsys.readouterr().err


def test_readme_says_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["readme", "--check"]) == 0, "stale: python -m benchmarks readme"


def test_a_stale_readme_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stale = tmp_path / "README.md"
    stale.write_text("Before.\n<!-- benchmarks: pipeline -->\n| mien | 9,999 |\n<!-- end -->\nAfter.\n")
    monkeypatch.setattr(readme, "README", stale)
    assert main(["readme", "--check"]) == 1
    assert main(["readme"]) == 0
    text = stale.read_text()
    assert "9,999" not in text
    assert text.startswith("Before.\n<!-- benchmarks: pipeline -->\n| detector, threads |")
    assert text.endswith("<!-- end -->\nAfter.\n")
    assert main(["readme", "--check"]) == 0
