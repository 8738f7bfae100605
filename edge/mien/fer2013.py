"""FER2013, read the same way by training, conversion and benchmarks.

Two forms are understood, and nobody has to say which one it is:

- the CSV of the Kaggle challenge (`fer2013.csv`, or `icml_face_data.csv` with its padded header);
- the folder layout that most people download: `{train,test}/{angry,disgust,...}/*.png|jpg`.
"""

import csv
import hashlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.emotions import EMOTIONS
from mien.sources.images import read_image

logger = logging.getLogger(__name__)

SIZE = 48
TOTAL_ROWS = 35887
USAGES = ("Training", "PublicTest", "PrivateTest", "Test")
"""The parts of the data set; "Test" is for test images whose file name does not say which half."""

COLUMNS = ("emotion", "pixels", "usage")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Fer2013:
    """Images with their labels.

    Attributes:
        images: (N, 48, 48) uint8, gray, 0-255.
        labels: (N,) uint8, positions in `EMOTIONS`.
        usages: (N,) uint8, positions in `USAGES`.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    usages: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Fer2013":
        """Return the chosen rows (a mask or row numbers)."""
        return Fer2013(self.images[chosen], self.labels[chosen], self.usages[chosen])

    @property
    def training(self) -> "Fer2013":
        """The Training part; the only one that models may learn or calibrate from."""
        return self.rows(self.usages == 0)

    @property
    def test(self) -> "Fer2013":
        """Everything else: public and private test images together (7,178 in the whole set)."""
        return self.rows(self.usages != 0)

    def test_parts(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Return the parts on which test results are reported, as masks over the rows of `test`.

        "test" is all of it, "test_public" and "test_private" are the challenge's halves, and
        "test_without_twins" leaves out the images that stand in Training too, byte for byte (568 in
        the whole set). A part without images is not named.
        """
        test = self.test
        parts = {
            "test": np.ones(len(test), np.bool_),
            "test_public": test.usages == USAGES.index("PublicTest"),
            "test_private": test.usages == USAGES.index("PrivateTest"),
            "test_without_twins": ~np.isin(test.image_keys(), self.training.image_keys()),
        }
        return {name: is_in for name, is_in in parts.items() if is_in.any()}

    def split_training(self, validation_share: float, seed: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Divide Training into a part to learn from and a part to validate on.

        FER2013 holds many images twice. Copies of one image stay on one side, else validation would
        ask for what was learnt by heart. With one seed, a smaller share is a part of a larger one.

        Returns:
            (training, validation): row numbers, ascending; the second names `validation_share` of
            the distinct images.

        Raises:
            ValueError: there are too few images to leave any for validation.
        """
        rows = np.flatnonzero(self.usages == 0)
        _, distinct = np.unique(self.rows(rows).image_keys(), return_inverse=True)
        count = distinct.max() + 1
        order = np.random.default_rng(seed).permutation(count)
        is_validation = np.zeros(count, bool)
        is_validation[order[: round(count * validation_share)]] = True
        chosen = is_validation[distinct]
        if chosen.all() or not chosen.any():
            raise ValueError(
                f"{count} distinct images cannot be divided by a validation share of {validation_share}: "
                "give more images"
            )
        return rows[~chosen], rows[chosen]

    @property
    def sha256(self) -> str:
        """Hash of images, labels and usages: says whether two files hold the same data in the same order."""
        digest = hashlib.sha256()
        for array in (self.images, self.labels, self.usages):
            digest.update(array.tobytes())
        return digest.hexdigest()

    def image_keys(self) -> npt.NDArray[np.void]:
        """Return (N,) keys that are equal exactly where two images are equal byte for byte."""
        flat = np.ascontiguousarray(self.images).reshape(len(self), SIZE * SIZE)
        return flat.view(np.dtype((np.void, SIZE * SIZE))).ravel()


def load_fer2013(path: str | Path) -> Fer2013:
    """Read FER2013 from Kaggle's CSV or from Kaggle's folder layout.

    Raises:
        FileNotFoundError: `path` does not exist.
        ValueError: it is neither form, or a part of it is missing or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"no data at {path}: give Kaggle's fer2013.csv or the folder that holds train/ and test/"
        )
    data = _read_folder(path) if path.is_dir() else _read_csv(path)
    for part, name in ((data.training, "Training"), (data.test, "test")):
        if not len(part):
            raise ValueError(f"{path} has no {name} images, so it is cut off or a part of it: download it again")
    if len(data) != TOTAL_ROWS:
        logger.warning("%s has %d images, the whole FER2013 has %d: is it cut off?", path, len(data), TOTAL_ROWS)
    return data


def _read_csv(path: Path) -> Fer2013:
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    usages: list[int] = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file, warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy only warns of text among the numbers
            reader = csv.reader(file)
            emotion_at, pixels_at, usage_at = _find_columns(path, next(reader, []))
            for row in reader:
                if not "".join(row).strip():
                    continue
                where = f"{path}, line {reader.line_num}"
                if len(row) <= max(emotion_at, pixels_at, usage_at):
                    raise ValueError(
                        f"{where}: {len(row)} columns are too few; the file looks cut off: download it again"
                    )
                labels.append(_parse_emotion(row[emotion_at], where))
                images.append(_parse_pixels(row[pixels_at], where))
                usages.append(_parse_usage(row[usage_at], where))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file ({error}): give Kaggle's fer2013.csv") from error
    if not images:
        raise ValueError(f"{path} has a header but no rows: download it again")
    return Fer2013(np.stack(images), np.array(labels, np.uint8), np.array(usages, np.uint8))


def _find_columns(path: Path, header: list[str]) -> tuple[int, int, int]:
    names = [name.strip().lower() for name in header]
    if missing := [name for name in COLUMNS if name not in names]:
        found = ", ".join(names)[:80] or "nothing"
        raise ValueError(
            f"{path} lacks the column {missing[0]!r}: its first line has {found!r}; "
            "allowed is a file with emotion, pixels and Usage, as Kaggle's fer2013.csv"
        )
    return names.index("emotion"), names.index("pixels"), names.index("usage")


def _parse_emotion(text: str, where: str) -> int:
    if text.strip() not in {str(number) for number in range(len(EMOTIONS))}:
        raise ValueError(f"{where}: emotion {text[:20]!r} is not one of 0 to {len(EMOTIONS) - 1}")
    return int(text)


def _parse_pixels(text: str, where: str) -> npt.NDArray[np.uint8]:
    try:
        pixels = np.fromstring(text, dtype=np.int32, sep=" ")
    except (DeprecationWarning, ValueError) as error:
        raise ValueError(f"{where}: pixels hold something that is no number") from error
    if len(pixels) != SIZE * SIZE:
        raise ValueError(
            f"{where}: {len(pixels)} pixels instead of {SIZE * SIZE}; "
            "the row is damaged or the file cut off: download it again"
        )
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"{where}: pixels from {pixels.min()} to {pixels.max()}, allowed is 0 to 255")
    return pixels.astype(np.uint8).reshape(SIZE, SIZE)


def _parse_usage(text: str, where: str) -> int:
    if text.strip() not in USAGES[:3]:
        raise ValueError(f"{where}: Usage {text[:20]!r} is not one of {', '.join(USAGES[:3])}")
    return USAGES.index(text.strip())


def _read_folder(root: Path) -> Fer2013:
    files = list(_labelled_files(root))
    images = np.empty((len(files), SIZE, SIZE), np.uint8)
    for image, (file, _, _) in zip(images, files, strict=True):
        pixels = read_image(file, is_gray=True)
        if pixels is None:
            raise ValueError(f"{file} cannot be read as an image: download the data set again")
        if pixels.shape != (SIZE, SIZE):
            raise ValueError(f"{file} has {pixels.shape[1]}x{pixels.shape[0]} pixels, allowed is 48x48")
        image[:] = pixels
    labels = np.array([label for _, label, _ in files], np.uint8)
    usages = np.array([usage for _, _, usage in files], np.uint8)
    return Fer2013(images, labels, usages)


def _labelled_files(root: Path) -> Iterator[tuple[Path, int, int]]:
    """Yield (file, label, usage) in a fixed order; labels follow names, not the folders' order."""
    for split in ("train", "test"):
        if split not in (splits := _folders_in(root)):
            raise ValueError(f"{root} has no folder {split}/: give the folder that holds train/ and test/")
        classes = _folders_in(splits[split])
        for label, name in enumerate(EMOTIONS):
            if name not in classes:
                raise ValueError(
                    f"{splits[split]} has no folder {name}/: allowed are the seven classes {', '.join(EMOTIONS)}"
                )
            for file in sorted(classes[name].iterdir()):
                if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."):
                    yield file, label, _usage_of(file, split)


def _folders_in(root: Path) -> dict[str, Path]:
    """Return the folders in a folder by their names in lower case: some copies write Train/Angry."""
    return {folder.name.lower(): folder for folder in root.iterdir() if folder.is_dir()}


def _usage_of(file: Path, split: str) -> int:
    if split == "train":
        return 0
    prefix = file.name.split("_")[0]
    return USAGES.index(prefix) if prefix in USAGES[1:3] else USAGES.index("Test")
