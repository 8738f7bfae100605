"""What several tests need: small data that is made here, the demo clip, and the whole data set where it exists."""

import csv
import importlib
import importlib.util
import os
import shutil
import signal
import struct
import zlib
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import pytest

from mien.emotions import EMOTIONS
from mien.faces import Image
from mien.fer2013 import USAGES, Fer2013
from mien.native_log import prepare_tensorflow
from mien.sources import DEMO_CLIP

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job; commands that tests start inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
prepare_tensorflow()  # as the commands do, so that both compute alike
# What somebody fetched or calibrated on this machine changes no test: neither here nor in commands that tests start.
os.environ["XDG_DATA_HOME"] = "/nonexistent"

REPOSITORY = Path(__file__).parent.parent
DATA = Path(os.environ.get("MIEN_TEST_DATA", REPOSITORY.parent / "shared"))
"""Real data that cannot be in the repository: FER2013 and clips of people."""


def require_program(name: str, package: str) -> str:
    """Return the path of a program, or skip."""
    path = shutil.which(name)
    if path is None:
        skip(f"{name} is missing: sudo apt install {package}")
    return str(path)


def require_module(name: str) -> Any:
    """Return a module that `mien[train]` brings, or skip the tests of the file."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        skip(f"{name} is missing: pip install 'mien[train]'")


def skip(reason: str) -> NoReturn:
    """Skip a test because something is not installed; where MIEN_NO_SKIP is set, as in CI, let it fail."""
    if os.environ.get("MIEN_NO_SKIP"):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def make_data(per_class: int = 6, seed: int = 0) -> Fer2013:
    """Make a small FER2013: each class is a bright bar at its own height, in noise, from 0 to 255."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(EMOTIONS), dtype=np.uint8), 2 * per_class)
    images = rng.integers(0, 120, (len(labels), 48, 48)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[6 * label + 2 : 6 * label + 6] = 255
        image[0, 0] = 0
    usages = np.zeros(len(labels), np.uint8)
    usages[len(labels) // 2 :] = np.arange(len(labels) - len(labels) // 2) % 2 + 1
    return Fer2013(images, labels, usages)


def write_csv(data: Fer2013, path: Path, header: tuple[str, ...] = ("emotion", "pixels", "Usage")) -> Path:
    """Write data as Kaggle's CSV; `header` also gives the order of the columns."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for image, label, usage in zip(data.images, data.labels, data.usages, strict=True):
            cells = {"emotion": int(label), "pixels": " ".join(map(str, image.ravel())), "usage": USAGES[usage]}
            writer.writerow([cells[name.strip().lower()] for name in header])
    return path


def write_huge_png(path: Path) -> None:
    """Write the beginning of a PNG with more pixels than OpenCV reads."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(content)


def write_folder(data: Fer2013, root: Path) -> Path:
    """Write data as Kaggle's folder layout, with Kaggle's file names."""
    for number, (image, label, usage) in enumerate(zip(data.images, data.labels, data.usages, strict=True)):
        folder = root / ("train" if usage == 0 else "test") / EMOTIONS[label]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{USAGES[usage]}_{number:05d}.png"), image)
    return root


@pytest.fixture(scope="session")
def small_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small fer2013.csv."""
    return write_csv(make_data(), tmp_path_factory.mktemp("data") / "fer2013.csv")


@pytest.fixture(scope="session")
def portrait() -> Image:
    """Return the demo clip's first frame: one smiling face, (360, 480, 3) BGR."""
    capture = cv2.VideoCapture(str(DEMO_CLIP))
    is_read, image = capture.read()
    capture.release()
    assert is_read
    return image


@pytest.fixture(scope="session")
def media() -> Path:
    """Return the folder with clips of real people, or skip."""
    if not (DATA / "media" / "clips").is_dir():
        pytest.skip(f"no clips at {DATA / 'media'}: set MIEN_TEST_DATA")
    return DATA / "media"


@pytest.fixture(scope="session")
def fer2013() -> Fer2013:
    """Return the whole of FER2013, or skip."""
    script = DATA / "fer2013" / "unpack.py"
    if not script.exists():
        pytest.skip(f"no FER2013 at {script.parent}: set MIEN_TEST_DATA")
    spec = importlib.util.spec_from_file_location("unpack", script)
    assert spec is not None
    assert spec.loader is not None
    unpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpack)
    images, rows = unpack.load()
    labels = np.array([int(row["emotion"]) for row in rows], np.uint8)
    usages = np.array([USAGES.index(row["usage"]) for row in rows], np.uint8)
    return Fer2013(images, labels, usages)
