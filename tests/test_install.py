"""What a newcomer does first: the demo from a fresh checkout, and the wheel beside either runtime."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import cv2
import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.install

OFFLINE = ("Temporary failure in name resolution", "Network is unreachable", "Connection refused", "NewConnectionError")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command and return what it printed; skip where it needed a network and there is none."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    result = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True)
    if result.returncode and any(sign in result.stderr for sign in OFFLINE) and not os.environ.get("MIEN_NO_SKIP"):
        pytest.skip("no network to install packages from")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, REPOSITORY)
    (file,) = folder.glob("*.whl")
    return file


def test_the_demo_runs_from_a_fresh_checkout_and_is_quick_the_second_time(tmp_path: Path) -> None:
    checkout = tmp_path / "mien"
    left_out = shutil.ignore_patterns(".git", ".venv", ".*_cache", "runs", "demo-output", "__pycache__")
    shutil.copytree(REPOSITORY, checkout, ignore=left_out)
    first = run("script/demo", cwd=checkout).splitlines()
    assert first[0] == "Installing mien[edge] into .venv (this once):"
    assert any("face 1  happy" in line for line in first)
    assert first[-2:] == [
        f"annotated video: {checkout}/demo-output/annotated.mp4",
        f"contact sheet:   {checkout}/demo-output/contact-sheet.png",
    ]
    assert cv2.VideoCapture(f"{checkout}/demo-output/annotated.mp4").get(cv2.CAP_PROP_FRAME_COUNT) == 250
    sheet = cv2.imread(f"{checkout}/demo-output/contact-sheet.png")
    assert sheet is not None
    assert sheet.shape == (720, 1280, 3)
    packages = run(checkout / ".venv/bin/pip", "list", "--format=freeze")
    assert "tensorflow" not in packages.lower()

    started_s = time.monotonic()
    with subprocess.Popen(["script/demo"], cwd=checkout, stdout=subprocess.PIPE, text=True) as second:
        assert second.stdout is not None
        assert "face 1  happy" in second.stdout.readline()
        assert time.monotonic() - started_s < 15
        second.stdout.read()
    assert second.returncode == 0


def test_the_wheel_holds_the_one_package_with_all_that_it_needs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"mien"}
    for name in (
        "py.typed",
        "demo/demo.mp4",
        "models/mien_net_int8.tflite",
        "models/mien_net_int8.json",
        "models/cnn_int8.json",
        "card.schema.json",
    ):
        assert f"mien/{name}" in names
    assert wheel.stat().st_size < 5e6


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime 2.14 has wheels for Python 3.11 and older only")
def test_every_model_runs_in_tflite_runtime_too(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    packages = ["tflite-runtime==2.14.0", "numpy<2", "opencv-python-headless<4.12"]
    run(python, "-m", "pip", "install", "--quiet", wheel, *packages)
    lines = run(tmp_path / "venv/bin/mien", "run", "--source", "demo", "--output", "jsonl").splitlines()
    here = run(sys.executable, "-m", "mien", "run", "--source", "demo", "--output", "jsonl").splitlines()
    pairs = [(json.loads(there)["faces"], json.loads(line)["faces"]) for there, line in zip(lines, here, strict=True)]
    seen = [(there[0], face[0]) for there, face in pairs if there and face]
    # OpenCV's versions may differ by a box or two, and the runtimes' int8 kernels in the last step.
    assert len(seen) >= 0.95 * sum(bool(face) for _, face in pairs) > 100
    assert sum(there["emotion"] == face["emotion"] for there, face in seen) >= 0.95 * len(seen)

    models = [*(REPOSITORY / "models").rglob("*.tflite"), *(REPOSITORY / "edge/mien/models").glob("*.tflite")]
    code = (
        "import sys, numpy, mien, mien.detectors.finder\n"
        "from pathlib import Path\n"
        "for model in sys.argv[1:]:\n"
        "    if Path(model).stem.startswith('finder'):\n"
        "        finder = mien.detectors.finder.FinderDetector(Path(model))\n"
        "        assert finder.detect(numpy.zeros((240, 320), numpy.uint8)) == []\n"
        "        print(finder.runtime)\n"
        "        continue\n"
        "    classifier = mien.EmotionClassifier(model)\n"
        "    faces = numpy.random.default_rng(0).integers(0, 256, (3, 48, 48), numpy.uint8)\n"
        "    assert abs(classifier.predict(faces).sum(axis=1) - 1).max() < 0.02\n"
        "    print(classifier.runtime)\n"
    )
    assert run(python, "-c", code, *models).split() == ["tflite-runtime"] * len(models)
