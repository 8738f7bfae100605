"""`python -m benchmarks all`: one failed part never loses the others' results."""

import json
from pathlib import Path

import pytest

from benchmarks import all as all_parts
from benchmarks.__main__ import main
from benchmarks.record import read_record
from tests.conftest import make_data, write_csv


def test_a_failed_part_loses_nothing_and_the_report_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data, out = write_csv(make_data(), tmp_path / "fer2013.csv"), tmp_path / "out"
    no_photos = tmp_path / "photos"
    no_photos.mkdir()
    flags = {
        "detection": ["--photos", str(no_photos)],  # fails: there is no photos.csv
        "latency": ["--models", "mien_net_int8", "--threads", "1", "--seconds", "0.1"],
        "crop-margin": ["--data", str(data), "--images", "3"],
    }
    monkeypatch.setattr(all_parts, "plan", lambda arguments: flags)
    assert main(["all", "--data", str(data), "--out", str(out)]) == 1
    assert read_record(out / "latency.json")["benchmark"] == "latency"
    assert "detection: no photos.csv in" in (out / "report.md").read_text()
    assert "## Latency of one face" in (out / "report.md").read_text()
    assert str(out / "report.html") in capfd.readouterr().out


def test_a_part_that_crashes_is_named_and_its_older_results_are_called_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latency.json").write_text("{}")
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\nkill -SEGV $$\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(interpreter))
    why = all_parts.run_part("latency", [], tmp_path / "latency.json")
    assert why == "ended by signal 11 (its figures above are older)"


def test_a_part_that_succeeds_takes_its_name_off_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_csv(make_data(), tmp_path / "fer2013.csv")
    (tmp_path / "not_measured.json").write_text(json.dumps({"latency": "was too hot", "soak": "no clip"}))
    flags = {"latency": ["--models", "mien_net_int8", "--threads", "1", "--seconds", "0.1"], "soak": []}
    monkeypatch.setattr(all_parts, "plan", lambda arguments: flags)
    main(["all", "--data", str(data), "--out", str(tmp_path), "--only", "latency"])
    assert json.loads((tmp_path / "not_measured.json").read_text()) == {"soak": "no clip"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "nothing.csv"], "error: nothing at --data nothing.csv"),
        (["--data", ".", "--source", "no.mp4"], "error: no clip at --source no.mp4"),
        (["--data", ".", "--photos", "nowhere"], "error: nothing at --photos nowhere"),
        (["--data", ".", "--only", "speed"], "error: --only speed is no part: allowed are latency, "),
    ],
)
def test_a_mistake_ends_before_anything_is_measured(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["all", *flags, "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)
    assert not (tmp_path / "out").exists()
