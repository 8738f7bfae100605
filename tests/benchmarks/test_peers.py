"""Peers see the same images and frames, each in its environment; what cannot be measured is named."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.peers_adapters.adapter import OURS, find_adapter
from benchmarks.peers_adapters.environment import STAMP, last_line, prepare
from mien.emotions import EMOTIONS
from tests.conftest import make_data, write_csv

ADAPTER = """
import os, sys
sys.path.append({site!r})

NAME = {name!r}
REQUIREMENTS = ()
IMPORT = {statement!r}
PACKAGES = ()
NOTE = "made for a test"

class Peer:
    how = "one answer for all"

    def __init__(self, threads):
        self._threads = threads

    def classify(self, faces):
        return [{answer!r}] * len(faces)

    def look(self, frame, time_s):
        {look}
        return 1
"""


def write_adapter(
    folder: Path, name: str, answer: str = "happy", statement: str = "import json", look: str = "pass"
) -> Path:
    site = str(Path(np.__file__).parents[1])  # nothing is installed in the test: the peer borrows our numpy
    path = folder / f"{name}.py"
    path.write_text(ADAPTER.format(name=name, answer=answer, statement=statement, look=look, site=site))
    return path


def run_peers(folder: Path, *peers: Path, rounds: int = 2) -> tuple[int, dict[str, dict[str, object]], dict[str, str]]:
    data = write_csv(make_data(), folder / "fer2013.csv")
    flags = ["--data", str(data), "--frames", "4", "--rounds", str(rounds)]
    flags += ["--environments", str(folder / "environments")]
    code = main(["peers", *flags, "--peers", *map(str, peers), "--json", str(folder / "peers.json")])
    results = json.loads((folder / "peers.json").read_text())["results"]
    reasons = {missing["peer"]: missing["why"] for missing in results["not_measured"]}
    return code, {peer["peer"]: peer for peer in results["peers"]}, reasons


def test_peers_are_measured_on_the_same_images_and_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = write_adapter(tmp_path, "slow", answer="sad", look="import time; time.sleep(0.02)")
    code, peers, reasons = run_peers(tmp_path, write_adapter(tmp_path, "quick"), slow)
    assert (code, reasons) == (0, {})
    labels = make_data().test.labels
    for name, answer in (("quick", "happy"), ("slow", "sad")):
        assert peers[name]["accuracy"] == pytest.approx((labels == EMOTIONS.index(answer)).mean(), abs=1e-5)
        assert peers[name]["faces_found"] == 8
    assert peers["slow"]["frames_per_s"] < 50 < peers["quick"]["frames_per_s"]  # type: ignore[operator]
    assert "| quick | 14.3% ± " in capsys.readouterr().out


def test_what_cannot_be_measured_is_named_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = write_adapter(tmp_path, "broken", statement="import no_such_package")
    failing = write_adapter(tmp_path, "failing", look="raise ValueError('no cascades here')")
    wrong = write_adapter(tmp_path, "wrong", answer="bored")
    code, peers, reasons = run_peers(tmp_path, write_adapter(tmp_path, "good"), broken, failing, wrong)
    assert list(peers) == ["good"]
    assert "No module named 'no_such_package'" in reasons["broken"]
    assert "play fails: ValueError: no cascades here" in reasons["failing"]
    assert reasons["wrong"].startswith("its adapter answers 'bored': allowed are angry, ")
    assert "- failing was not measured: play fails" in capsys.readouterr().out
    assert code == 0


def test_a_peer_that_crashes_takes_nothing_along(tmp_path: Path) -> None:
    crashing = write_adapter(tmp_path, "crashing", look="os.kill(os.getpid(), 11)")
    _, peers, reasons = run_peers(tmp_path, crashing, write_adapter(tmp_path, "good"))
    assert list(peers) == ["good"]
    assert reasons == {"crashing": "ended by signal 11"}


def test_an_environment_is_used_again_until_it_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = find_adapter(str(write_adapter(tmp_path, "peer")))
    python = prepare(adapter, tmp_path / "environments").python
    made = python.parent.stat().st_ino
    assert prepare(adapter, tmp_path / "environments").python.parent.stat().st_ino == made
    assert capsys.readouterr().err.count("installing into") == 1
    (python.parents[1] / STAMP).unlink()  # as an installation that was interrupted leaves it
    prepare(adapter, tmp_path / "environments")
    assert capsys.readouterr().err.count("installing into") == 1


def test_an_environment_whose_import_fails_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = tmp_path / "needed.py"
    module.write_text("")
    statement = f"import sys; sys.path.append({str(tmp_path)!r}); import needed"
    adapter = find_adapter(str(write_adapter(tmp_path, "peer", statement=statement)))
    folder = prepare(adapter, tmp_path / "environments").folder
    (folder / "old").touch()
    module.unlink()
    with pytest.raises(OSError, match="No module named 'needed'"):
        prepare(adapter, tmp_path / "environments")
    assert "its environment is broken" in capsys.readouterr().err
    assert not (folder / "old").exists()
    assert not (folder / STAMP).exists()


def test_a_peer_with_its_own_order_of_classes_is_judged_by_names(tmp_path: Path) -> None:
    path = write_adapter(tmp_path, "reversed")
    own_order = tuple(reversed(EMOTIONS))  # of make_data's bright bars, the place tells the class
    names = f"[{own_order}[6 - int(face[:, 1:].mean(axis=1)[2:].argmax()) // 6] for face in faces]"
    path.write_text(path.read_text().replace("['happy'] * len(faces)", names))
    _, peers, _ = run_peers(tmp_path, path)
    assert peers["reversed"]["accuracy"] == 1


def test_one_disturbed_round_of_three_does_not_change_the_frame_rate(tmp_path: Path) -> None:
    # Warm-up looks at 4 frames; of the 12 frames that follow, the first round's take 40 times as long.
    look = "import time; self.n = getattr(self, 'n', 0) + 1; time.sleep(0.4 if 4 < self.n <= 8 else 0.01)"
    _, peers, _ = run_peers(tmp_path, write_adapter(tmp_path, "disturbed", look=look), rounds=3)
    assert peers["disturbed"]["frames_per_s"] > 30  # type: ignore[operator]  # 100 less what sleeping overshoots; a mean would give 7


def test_a_folder_that_is_no_environment_is_never_removed(tmp_path: Path) -> None:
    adapter = find_adapter(str(write_adapter(tmp_path, "peer")))
    folder = tmp_path / "environments" / f"peer-{sys.version_info.major}.{sys.version_info.minor}"
    folder.mkdir(parents=True)
    (folder / "letters.txt").write_text("dear")
    with pytest.raises(ValueError, match="is no environment and is left alone"):
        prepare(adapter, tmp_path / "environments")
    assert (folder / "letters.txt").read_text() == "dear"


@pytest.mark.parametrize("name", OURS)
def test_our_adapters_are_read_without_their_packages(name: str) -> None:
    adapter = find_adapter(name)
    assert adapter.requirements
    assert adapter.packages


def test_the_last_line_about_an_error_is_what_is_told() -> None:
    log = "Collecting x\nERROR: No matching distribution found for x\nWARNING: old pip\n[notice] new pip\n"
    assert last_line(log) == "No matching distribution found for x"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--peers", "nobody"], "error: no peer nobody: allowed are mien_itself, "),
        (["--frames", "1"], "error: --frames 1 must be 2 or more"),
    ],
)
def test_a_mistake_gets_one_line(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peers", "--data", "nothing.csv", *flags]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)
