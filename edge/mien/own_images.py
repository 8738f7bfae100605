"""Images that someone sorted into folders named like the emotions: any size, colour, and subset of the seven."""

from pathlib import Path

import numpy as np

from mien.detectors import open_detector
from mien.emotions import EMOTIONS
from mien.faces import Box
from mien.fer2013 import Fer2013, load_fer2013
from mien.preprocess import crop_face
from mien.sources import IMAGE_SUFFIXES
from mien.sources.images import read_image

MIN_FACE = 0.2
"""Smallest face, as a share of a picture's shorter side: smaller boxes are rather false ones in a tight crop."""


def load_data(path: str | Path) -> Fer2013:
    """Read FER2013 (CSV, or folders train/ and test/), or own images in folders named like the emotions.

    Raises:
        FileNotFoundError: `path` does not exist.
        ValueError: it is none of these, or something in it is damaged.
    """
    path = Path(path)
    if is_own_folder(path):
        return load_own_images(path)
    if path.is_dir() and not {"train", "test"} & _folders_in(path):
        raise ValueError(
            f"{path} holds neither train/ and test/, as FER2013 does, nor folders named like the emotions: "
            f"{', '.join(EMOTIONS)}"
        )
    return load_fer2013(path)


def is_own_folder(path: Path) -> bool:
    """Return whether a path is a folder with own images, rather than FER2013."""
    folders = _folders_in(path) if path.is_dir() else set()
    return bool(folders & set(EMOTIONS)) and not folders & {"train", "test"}


def load_own_images(root: Path) -> Fer2013:
    """Read own images, all of them as Training.

    In each picture the largest face is cut as `mien run` would cut it, if it has at least a fifth of
    the picture's shorter side; where none is found, the whole picture counts as the face, so that
    tight crops work, too. Files of other types are counted and left out.

    Raises:
        ValueError: an image cannot be read, a folder's name is no emotion, or there are no images.
    """
    detector, images, labels, found = open_detector(min_face=MIN_FACE), [], [], 0
    others: list[Path] = []
    for folder in sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(".")):
        if folder.name.lower() not in EMOTIONS:
            raise ValueError(f"{folder} is not named like an emotion: allowed are {', '.join(EMOTIONS)}")
        for file in sorted(folder.iterdir()):
            if file.name.startswith("."):
                continue
            if file.suffix.lower() not in IMAGE_SUFFIXES:
                others.append(file)
                continue
            picture = read_image(file, is_gray=True)
            if picture is None:
                raise ValueError(f"{file} cannot be read as an image: remove or replace it")
            boxes = detector.detect(picture)
            found += bool(boxes)
            whole = Box(0, 0, picture.shape[1], picture.shape[0])
            images.append(crop_face(picture, boxes[0] if boxes else whole, margin=0))
            labels.append(EMOTIONS.index(folder.name.lower()))
    if not images:
        raise ValueError(f"{root} has folders but no images in them: allowed are {', '.join(IMAGE_SUFFIXES)}")
    if others:
        print(f"note: {len(others):,} files are no {', '.join(IMAGE_SUFFIXES)} and left out, such as {others[0]}")
    print(f"{len(images):,} own images: a face was found in {found:,}, the others are taken whole")
    return Fer2013(np.stack(images), np.array(labels, np.uint8), np.zeros(len(labels), np.uint8))


def _folders_in(path: Path) -> set[str]:
    return {folder.name.lower() for folder in path.iterdir() if folder.is_dir()}
