"""The command as a user types it; each mistake gets one line and leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.cli import main
from mien.sources import DEMO_CLIP
from tests.conftest import REPOSITORY, require_program


def test_the_demo_tells_how_a_face_comes_goes_and_returns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--source", "demo"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    lines = output.out.splitlines()
    assert re.fullmatch(r"00:00\.00  face 1  happy \d+%, \d+ pixels wide at \(\d+, \d+\)", lines[0])
    assert re.search(r"^00:0[67]\.\d\d  face 1  gone$", output.out, re.MULTILINE)
    assert re.search(r"^00:0[89]\.\d\d  face 2  \w+ \d+%, ", output.out, re.MULTILINE)
    assert re.fullmatch(r"250 frames in [\d.]+ s, \d+ frames/s; 2 faces followed", lines[-1])


def test_the_checkout_and_the_installed_command_print_the_same_lines() -> None:
    arguments = ["--source", "demo", "--output", "jsonl"]
    environment = {**os.environ, "PYTHONSAFEPATH": ""}
    commands = [[sys.executable, "edge/run.py"], [str(Path(sys.executable).with_name("mien")), "run"]]
    results = [
        subprocess.run(command + arguments, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
        for command in commands
    ]
    assert [result.returncode for result in results] == [0, 0]
    assert [result.stderr for result in results] == ["", ""]
    assert results[0].stdout == results[1].stdout
    lines = [json.loads(line) for line in results[0].stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(250))


def test_several_outputs_are_written_in_one_run(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.mp4", "sheet.png", "faces.jsonl")]
    arguments = [text for file in files for text in ("--output", str(file))]
    assert main(["run", "--source", "demo", *arguments]) == 0
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert len(files[2].read_text().splitlines()) == 250


def test_a_folder_of_images_gives_a_line_each(tmp_path: Path, portrait: np.ndarray, capfd: object) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), portrait)
    assert main(["run", "--source", str(tmp_path), "--output", str(tmp_path / "faces.jsonl")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
    assert [[face["id"] for face in line["faces"]] for line in lines] == [[1], [1]]
    assert lines[0]["faces"] == lines[1]["faces"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--source", "nothing.mp4"], 1, "'nothing.mp4' does not exist: allowed are"),
        (["--source", "empty.mp4"], 2, "empty.mp4 holds no video frame"),
        (["--source", "text.mp4"], 2, "text.mp4 holds no video frame"),
        (["--source", "/dev/video97"], 1, "there is no camera at /dev/video97"),
        (["--source", "demo", "--model", "resnet"], 2, "unknown model 'resnet': allowed are"),
        (["--source", "demo", "--model", "text.tflite"], 2, "text.tflite is not a TFLite model"),
        (["--source", "demo", "--model", "nothing.tflite"], 1, "no model at nothing.tflite"),
        (["--source", "demo", "--output", "out.jsonl", "--output", "out.gif"], 2, "unknown output 'out.gif'"),
        (["--source", "demo", "--output", "no/where.mp4"], 1, "the folder no does not exist"),
        (["--source", "demo", "--threads", "0"], 2, "num_threads is 0"),
        (["--source", "copy.mp4", "--output", "copy.mp4"], 2, "is the source itself"),
    ],
)
def test_a_mistake_gets_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("hello")
    Path("text.tflite").write_text("hello")
    Path("copy.mp4").write_bytes(DEMO_CLIP.read_bytes())
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    result = subprocess.run([sys.executable, "-m", "mien", "run", *arguments], capture_output=True, text=True)
    assert result.returncode == code
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_reader_that_has_seen_enough_ends_the_run_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", "run", "--source", "demo", "--output", "jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b'{"time": 0.0')
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 0


def test_ctrl_c_finishes_what_was_begun(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", "run", "--source", "demo", "--output", "jsonl", "--output", str(video)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert 20 <= cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT) < 250


def test_the_window_shows_the_picture_and_closes_on_q(tmp_path: Path) -> None:
    xvfb, xdotool = require_program("Xvfb", "xvfb"), require_program("xdotool", "xdotool")
    environment = {**os.environ, "DISPLAY": ":97"}
    server = subprocess.Popen([xvfb, ":97", "-screen", "0", "800x600x24", "-fbdir", str(tmp_path)])
    try:
        command = [sys.executable, "-m", "mien", "run", "--source", "demo", "--output", "window"]
        run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        search = [xdotool, "search", "--sync", "--onlyvisible", "--name", "^mien$"]
        window = subprocess.run(search, env=environment, capture_output=True, text=True, timeout=60).stdout.split()[0]
        time.sleep(1)
        screen = np.frombuffer((tmp_path / "Xvfb_screen0").read_bytes()[-800 * 600 * 4 :], np.uint8)
        blue, _, red = screen.reshape(600, 800, 4)[..., :3].transpose(2, 0, 1).astype(int)
        assert ((red - blue) > 120).sum() > 5000  # the orange suit
        subprocess.run([xdotool, "key", "--window", window, "q"], env=environment, check=True)
        assert run.wait(timeout=10) == 0  # the clip is ten seconds long, at least
    finally:
        server.terminate()
        server.wait()


def test_models_are_listed_with_their_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert re.search(r"^cnn_int8 \(default\): cnn, int8, .*; \d\.\d\d MB$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("clip", "at_least"),
    [
        # Frames with a face, of those in which the clip shows one (two_heads: tilted out of Haar's reach).
        ("neutral_to_smile.mp4", 72),
        ("face_then_none.mov", 72),
        ("half_body.mkv", 80),
        ("skull_shirt.mkv", 48),
        ("night_talk.mp4", 80),
        ("two_heads.mp4", 1),
    ],
)
def test_real_clips_are_followed(
    media: Path, clip: str, at_least: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--source", str(media / "clips" / clip), "--output", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(bool(line["faces"]) for line in lines) >= at_least
    if clip == "face_then_none.mov":
        assert not any(line["faces"] for line in lines[73:])
