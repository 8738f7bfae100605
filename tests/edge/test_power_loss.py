"""The plug is pulled at any moment, fifty times: what is on the disk then never keeps the next run from starting.

SIGKILL stands for the plug: nothing of the program runs any more. What a file system makes of a real power cut is its
own; that a line may be cut in two there is tested apart.
"""

import csv
import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from mien.card import DEFAULT_MODEL, MODELS_DIR, read_card
from mien.emotions import EMOTIONS
from mien.faces import Face, FrameResult, Image
from mien.neutral import Calibration, load_calibration, save_calibration
from mien.outputs.csv_file import COLUMNS, CsvOutput
from mien.outputs.jsonl import JsonLinesOutput
from tests.conftest import REPOSITORY
from tests.edge.test_download import Server, Way
from tests.edge.test_outputs import make_face

PULLS = 50

KILL_OVER_AND_OVER = """
import os, random, signal, sys, time

def pull_the_plug(work, check, longest_s, pulls=int(sys.argv[1])):
    chance = random.Random(0)
    for _ in range(pulls):
        child = os.fork()
        if child == 0:
            try:
                work()
            except BaseException as error:
                print(error, file=sys.stderr)
                os._exit(1)
            os._exit(0)
        time.sleep(chance.uniform(0, longest_s))
        os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL), code
        check()
"""
"""For programs that are loaded once: each child is a start of its own."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def clip(tmp_path: Path, portrait: Image) -> Path:
    """Return 12 small frames with a face."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (240, 180))
    for _ in range(12):
        writer.write(cv2.resize(portrait, (240, 180)))
    writer.release()
    return path


def check_files(folder: Path) -> None:
    """Assert that each result is whole up to its last line, or is not there."""
    for path in folder.glob("faces.jsonl*"):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                assert set(json.loads(line)) == {"time", "frame", "faces"}
    for path in folder.glob("faces.csv*"):
        rows = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        assert {len(row) for row in csv.reader(rows)} <= {len(COLUMNS)}
        assert not rows or rows[0].startswith("time,frame")
    if (folder / "annotated.mp4").exists():
        capture = cv2.VideoCapture(str(folder / "annotated.mp4"))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 12
        capture.release()
    if (folder / "sheet.png").exists():
        assert cv2.imread(str(folder / "sheet.png")) is not None


def test_a_run_that_is_killed_at_any_moment_starts_again(home: Path, tmp_path: Path, clip: Path) -> None:
    card = read_card(MODELS_DIR / f"{DEFAULT_MODEL}.json")
    save_calibration(str(clip), Calibration(card.sha256, "2026-11-26", dict.fromkeys(EMOTIONS, -0.1)))
    folder = tmp_path / "results"
    folder.mkdir()
    arguments = ["run", "--source", str(clip), "--log-size-mb", "0.02"]
    for name in ("faces.jsonl", "faces.csv", "annotated.mp4", "sheet.png"):
        arguments += ["--output", str(folder / name)]
    command = [sys.executable, "-m", "mien", *arguments]
    script = KILL_OVER_AND_OVER + (
        f"sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from pathlib import Path\n"
        "import mien.streaming\n"
        "from mien.cli import main\n"
        "from tests.edge.test_power_loss import check_files\n"
        "def work():\n"
        f"    assert main({arguments!r}) == 0\n"
        "started_s = time.monotonic()\n"
        "if (child := os.fork()) == 0:\n"
        "    work()\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "whole_s = time.monotonic() - started_s\n"
        f"folder = Path({str(folder)!r})\n"
        "for path in folder.iterdir():\n"
        "    path.unlink()\n"
        "pull_the_plug(work, lambda: check_files(folder), 1.1 * whole_s)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(PULLS)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr

    last = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert last.returncode == 0, last.stderr
    assert "corrected by the neutral face" in last.stderr
    check_files(folder)
    assert {path.name for path in folder.iterdir()} >= {"faces.jsonl", "faces.csv", "annotated.mp4", "sheet.png"}
    assert not list(folder.glob(".unfinished*"))  # what the killed ones left is used up
    lines = [json.loads(line) for path in folder.glob("faces.jsonl*") for line in path.read_text().splitlines()]
    assert len(lines) > 12  # of more than one run


def test_a_calibration_that_is_killed_while_it_is_kept_leaves_the_former_one(home: Path) -> None:
    script = KILL_OVER_AND_OVER + (
        "from mien.emotions import EMOTIONS\n"
        "from mien.neutral import Calibration, calibrated_cameras, save_calibration\n"
        "def work():\n"
        "    while True:\n"
        "        save_calibration('camera', Calibration('0' * 64, '2026-11-26', dict.fromkeys(EMOTIONS, -0.5)))\n"
        "def check():\n"
        "    assert calibrated_cameras() == ['camera']\n"
        "save_calibration('camera', Calibration('0' * 64, '2026-11-26', dict.fromkeys(EMOTIONS, -0.1)))\n"
        "pull_the_plug(work, check, 0.03)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(PULLS)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    card = read_card(MODELS_DIR / f"{DEFAULT_MODEL}.json")
    assert load_calibration("camera", card) is None  # of another model; but it can be read


def test_a_fetch_that_is_killed_leaves_a_whole_model_or_none_and_goes_on(home: Path, tmp_path: Path) -> None:
    content = random.Random(0).randbytes(200_000)
    folder = tmp_path / "models"
    sha256 = hashlib.sha256(content).hexdigest()
    with Server(content, [Way(bytes_a_second=4_000_000)]) as server:
        script = KILL_OVER_AND_OVER + (
            "from pathlib import Path\n"
            "from mien.download import fetch\n"
            "from mien.published import Published, is_whole\n"
            f"model = Published('x', 'x', {server.url!r}, 'x.onnx', {len(content)}, {sha256!r}, 'MIT', 'x')\n"
            f"folder = Path({str(folder)!r})\n"
            "fetched = []\n"
            "def check():\n"
            "    path = folder / 'x.onnx'\n"
            "    if path.exists():\n"
            "        assert is_whole(path, model)\n"
            "        fetched.append(path)\n"
            "        path.unlink()\n"
            "pull_the_plug(lambda: fetch(model, folder), check, 0.1)\n"
            "assert is_whole(fetch(model, folder), model)\n"
            "print(len(fetched))\n"
        )
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        command = [sys.executable, "-c", script, str(PULLS)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert 1 <= int(done.stdout) < PULLS
    assert any(asked for asked in server.ranges)  # some went on where one was killed


@pytest.mark.parametrize("name", ["faces.jsonl", "faces.csv"])
def test_a_log_goes_on_after_its_last_whole_line(tmp_path: Path, portrait: Image, name: str) -> None:
    path = tmp_path / name
    write_log(path, [0, 1], make_face())
    first = path.read_bytes()
    path.write_bytes(first[:-20])  # cut in two by a power cut
    write_log(path, [2], make_face())
    whole = first.splitlines(keepends=True)[:-1]
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines[:-1] == whole
    assert lines[-1].endswith(b"\n")
    assert b"2" in lines[-1]


def test_a_log_that_holds_no_whole_line_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("time,fra")
    write_log(path, [0], make_face())
    assert len(list(csv.DictReader(path.open()))) == 1


def test_a_table_with_other_columns_is_kept_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("time,face\n0.0,1\n")
    write_log(path, [0], make_face())
    assert path.with_name("faces.csv.1").read_text() == "time,face\n0.0,1\n"
    assert path.read_text().startswith("time,frame")


def write_log(path: Path, frames: list[int], face: Face) -> None:
    """Write results as one run with a size limit."""
    kind = CsvOutput if path.suffix == ".csv" else JsonLinesOutput
    image = cv2.UMat(1, 1, cv2.CV_8UC3).get()
    with kind(path, 1.0) as output:
        for frame in frames:
            output.write(image, FrameResult(0.04 * frame, frame, [face]))
