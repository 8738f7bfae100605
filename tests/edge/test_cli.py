"""The command as a user types it; each mistake gets one line and leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.cli import main
from mien.faces import Box, FrameResult
from mien.outputs.text import TextOutput
from mien.sources import DEMO_CLIP
from tests.conftest import REPOSITORY, require_program, write_huge_png


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


def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    for name in ("numpy", "cv2"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('gone', name='{name}')")
        command = [sys.executable, "edge/run.py", "--source", "demo"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
        assert result.returncode == 1
        assert result.stderr.startswith(f"error: {name} is not installed: ")
        assert len(result.stderr.splitlines()) == 1
        (tmp_path / f"{name}.py").unlink()


def test_a_closed_standard_output_does_not_matter(tmp_path: Path) -> None:
    script = f"{sys.executable} -m mien run --source demo --output {tmp_path}/faces.jsonl >&-"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == 250


def test_json_lines_need_a_standard_output() -> None:
    script = f"{sys.executable} -m mien run --source demo --output jsonl >&-"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == "error: standard output is closed: give jsonl a file, such as --output faces.jsonl\n"


def test_several_outputs_are_written_in_one_run(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.mp4", "sheet.png", "faces.jsonl")]
    arguments = [text for file in files for text in ("--output", str(file))]
    assert main(["run", "--source", "demo", *arguments]) == 0
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert len(files[2].read_text().splitlines()) == 250


def test_a_folder_of_images_gives_a_line_each(tmp_path: Path, portrait: np.ndarray) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), portrait)
    assert main(["run", "--source", str(tmp_path), "--output", str(tmp_path / "faces.jsonl")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
    assert [[face["id"] for face in line["faces"]] for line in lines] == [[1], [1]]
    assert lines[0]["faces"] == lines[1]["faces"]


def test_a_folder_skips_an_image_with_too_many_pixels(
    tmp_path: Path, portrait: np.ndarray, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_huge_png(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "b.png"), portrait)
    assert main(["run", "--source", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("b.png  happy ")
    assert "a.png cannot be read as an image: skipped" in caplog.text


def test_results_may_lie_in_the_folder_of_the_images_and_be_replaced(
    tmp_path: Path, portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", portrait)
    for source in (str(tmp_path), "."):
        assert main(["run", "--source", source, "--output", "faces.jsonl"]) == 0
        assert len(Path("faces.jsonl").read_text().splitlines()) == 1


def test_help_of_run_fits_on_a_screen() -> None:
    command = [sys.executable, "-m", "mien", "run", "--help"]
    result = subprocess.run(command, env={**os.environ, "COLUMNS": "80"}, capture_output=True, text=True)
    assert len(result.stdout.splitlines()) <= 24


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
        (["--source", "demo", "--threads", "0"], 2, "threads is 0 (--threads): allowed is 1 to 64"),
        (["--source", "copy.mp4", "--output", "copy.mp4"], 2, "would overwrite the source"),
        (["--source", "photos", "--output", "photos/a.png"], 2, "would overwrite the source"),
        (["--source", "photos"], 2, "photos cannot be read as an image"),
        (["--source", "demo", "--output", "a.mp4", "--output", "./a.mp4"], 2, "is given twice"),
        (["--source", "demo", "--output", "jsonl", "--output", "text"], 2, "both print"),
        (["--source", "demo", "--smoothing-s", "nan"], 2, "smoothing_s is nan (--smoothing-s): allowed is a number"),
        (["--source", "demo", "--model", ""], 2, "unknown model ''"),
        (["--source", ""], 2, "source is '' (--source): allowed is auto, picamera, "),
        (["--source", "demo", "--detectr", "haar"], 2, "unknown flag --detectr: did you mean --detector?"),
        (
            ["--source", "demo", "--max-face=2", "--max-fases=2"],
            2,
            "unknown flag --max-fases: did you mean --max-faces?",
        ),
        (["--source", "demo", "--mqtt-hots", "x"], 2, "unknown flag --mqtt-hots: did you mean --mqtt-host?"),
        (["--source", "demo", "--xyzzy"], 2, "unknown flag --xyzzy: `mien run --help` tells the usual ones"),
        (
            ["--source", "demo", "--web-token", "x"],
            2,
            "--web-token is a secret, which others could read here: set MIEN",
        ),
        (["clip.mp4"], 2, "unknown argument 'clip.mp4': --source clip.mp4 if you mean a source"),
    ],
)
def test_a_mistake_gets_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("hello")
    Path("text.tflite").write_text("hello")
    Path("copy.mp4").write_bytes(DEMO_CLIP.read_bytes())
    Path("photos").mkdir()
    Path("photos/a.png").write_text("no picture")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    result = subprocess.run([sys.executable, "-m", "mien", "run", *arguments], capture_output=True, text=True)
    assert result.returncode == code
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before


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


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    """A screen of 800x600 pixels with Raspberry Pi OS's window manager: its environment, its picture.

    Without a window manager, OpenCV's Qt misses now and then on a busy machine that its window is
    there, and never paints it.
    """
    xvfb, openbox = require_program("Xvfb", "xvfb"), require_program("openbox", "openbox")
    ready, tell = os.pipe()  # the server takes a free number and tells it when it is ready
    # Without -noreset the server starts anew, with another file, when its only client goes.
    arguments = [xvfb, "-noreset", "-displayfd", str(tell), "-screen", "0", "800x600x24", "-fbdir", str(tmp_path)]
    with subprocess.Popen(arguments, pass_fds=[tell], stderr=subprocess.DEVNULL) as server:
        try:
            environment = {**os.environ, "DISPLAY": f":{os.read(ready, 16).decode().strip()}"}
            marker = tmp_path / "openbox-is-ready"
            manager = [openbox, "--startup", f"touch {marker}"]
            with subprocess.Popen(manager, env=environment, stderr=subprocess.DEVNULL) as running:
                while not marker.exists():
                    assert running.poll() is None
                    time.sleep(0.01)
                yield environment, tmp_path / "Xvfb_screen0"
                server.terminate()  # and with it, the manager
        finally:
            server.terminate()


def test_the_window_shows_the_picture_and_closes_on_q(desktop: tuple[dict[str, str], Path]) -> None:
    environment, picture = desktop
    xdotool = require_program("xdotool", "xdotool")
    command = [sys.executable, "-m", "mien", "run", "--source", "demo", "--output", "window"]
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    orange = 0  # pixels of the suit
    while orange <= 5000 and run.poll() is None:
        screen = np.frombuffer(picture.read_bytes()[-800 * 600 * 4 :], np.uint8)
        blue, _, red = screen.reshape(600, 800, 4)[..., :3].transpose(2, 0, 1).astype(int)
        orange = int(((red - blue) > 120).sum())
    assert orange > 5000
    press_q = [xdotool, "search", "--onlyvisible", "--name", "^mien$", "key", "q"]
    subprocess.run(press_q, env=environment, check=True)
    started_s = time.monotonic()
    assert run.wait(timeout=60) == 0
    assert time.monotonic() - started_s < 2  # a clip of ten seconds would not be over yet


def test_photographs_get_a_line_each_and_a_bad_file_an_error(
    tmp_path: Path, portrait: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / name) for name in ("face.png", "bad.png", "wall.png")]
    cv2.imwrite(files[0], portrait)
    Path(files[1]).write_text("no picture")
    cv2.imwrite(files[2], np.full((300, 400, 3), 127, np.uint8))
    assert main(["image", "--json", *files]) == 1
    output = capsys.readouterr()
    first, second = (json.loads(line) for line in output.out.splitlines())
    assert first["file"] == files[0]
    assert [(face["id"], face["emotion"]) for face in first["faces"]] == [(1, "happy")]
    assert Box(*first["faces"][0]["box"]).overlap(Box(208, 32, 116, 116)) > 0.6
    assert second == {"file": files[2], "faces": []}
    assert output.err == f"error: {files[1]} cannot be read as an image: give a .jpg, .png or the like\n"
    assert main(["image", files[0], files[2]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r".*face\.png  happy \d+%, \d+ pixels wide at \(\d+, \d+\)", lines[0])
    assert lines[1:] == [f"{files[2]}  no face"]


def test_photographs_that_are_missing_or_too_large_do_not_stop_the_others(
    tmp_path: Path, portrait: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / name) for name in ("missing.jpg", "huge.png", "face.png")]
    write_huge_png(Path(files[1]))
    cv2.imwrite(files[2], portrait)
    assert main(["image", *files]) == 1
    output = capsys.readouterr()
    assert output.out.startswith(f"{files[2]}  happy ")
    assert output.err.splitlines() == [
        f"error: {files[0]} does not exist",
        f"error: {files[1]} cannot be read as an image: give a .jpg, .png or the like",
    ]


def test_photographs_take_as_many_threads_as_they_are_told(
    tmp_path: Path, portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), portrait)
    for threads in (1, 2):
        monkeypatch.setenv("MIEN_THREADS", str(threads))
        assert main(["image", str(tmp_path / "face.png")]) == 0
        assert cv2.getNumThreads() == threads


def test_one_frame_is_not_many(capsys: pytest.CaptureFixture[str]) -> None:
    output = TextOutput()
    output.write(np.zeros((60, 80, 3), np.uint8), FrameResult(0.0, 0, []))
    output.close()
    assert capsys.readouterr().out.startswith("1 frame in ")


def test_models_are_listed_with_their_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert re.search(
        r"^mien_net_int8 \(default\): mien_net, int8, .*; \d\.\d\d MB$", capsys.readouterr().out, re.MULTILINE
    )


@pytest.mark.parametrize(
    ("clip", "frames", "at_least", "place", "elsewhere"),
    [
        # Frames, of which so many show the face, whose centre stays in this part of the picture (by eye).
        ("neutral_to_smile.mp4", 72, 72, Box(240, 120, 120, 140), 0),
        ("face_then_none.mov", 169, 72, Box(380, 200, 140, 180), 0),
        ("half_body.mkv", 87, 80, Box(250, 90, 110, 100), 0),
        ("skull_shirt.mkv", 52, 48, Box(250, 80, 120, 110), 30),  # the skull on the shirt, followed once it is found
        ("night_talk.mp4", 115, 80, Box(260, 20, 160, 140), 2),
        ("bottles_no_face.mp4", 1189, 0, Box(0, 0, 0, 0), 2),
    ],
)
def test_real_clips_are_followed(
    media: Path, tmp_path: Path, clip: str, frames: int, at_least: int, place: Box, elsewhere: int
) -> None:
    file = tmp_path / "faces.jsonl"
    assert main(["run", "--source", str(media / "clips" / clip), "--output", str(file)]) == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(frames))
    centres = [
        (face["box"][0] + face["box"][2] / 2 - place.x, face["box"][1] + face["box"][3] / 2 - place.y)
        for line in lines
        for face in line["faces"]
    ]
    on_the_face = sum(0 <= x <= place.width and 0 <= y <= place.height for x, y in centres)
    assert on_the_face >= at_least
    assert len(centres) - on_the_face <= elsewhere
    if clip == "face_then_none.mov":
        assert not any(line["faces"] for line in lines[73:])


def test_two_heads_are_two_faces(media: Path, tmp_path: Path) -> None:
    file = tmp_path / "faces.jsonl"
    assert main(["run", "--source", str(media / "clips" / "two_heads.mp4"), "--output", str(file)]) == 0
    first = json.loads(file.read_text().splitlines()[0])  # later they tilt their heads out of Haar's reach
    assert sorted(face["box"][0] > 240 for face in first["faces"]) == [False, True]
