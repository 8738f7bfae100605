"""What a model is calibrated and validated on, in the form that it wants: faces, or one folder for each class."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mien.emotions import EMOTIONS
from mien.fer2013 import Fer2013
from mien.own_images import load_data
from mien.preprocess import FACE_SIZE
from mien.sources import IMAGE_SUFFIXES
from mien.sources.images import read_image

FACE_SHAPE = (FACE_SIZE, FACE_SIZE, 1)


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures.

    Attributes:
        labels: (N,) positions in `classes`.
        classes: in the order of the model's outputs.
        is_test: (N,) whether a picture belongs to a test set.
        keys: (N,) equal where two pictures are equal byte for byte.
        read: from row numbers to (M, height, width, channels) uint8; three channels are red, green, blue.
        faces: the data set, if it is FER2013 or own faces.
    """

    labels: npt.NDArray[np.unsignedinteger[Any]]
    classes: tuple[str, ...]
    is_test: npt.NDArray[np.bool_]
    keys: npt.NDArray[np.void] | npt.NDArray[np.bytes_]
    read: Callable[[npt.NDArray[np.intp]], npt.NDArray[np.uint8]]
    faces: Fer2013 | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def is_in_tests(self) -> npt.NDArray[np.bool_]:
        """Return (N,) whether a picture is a test picture or equal to one, byte for byte."""
        return np.isin(self.keys, self.keys[self.is_test])


def load_pictures(path: str | Path, shape: tuple[int, int, int], class_count: int) -> Pictures:
    """Read what fits a model: FER2013, own images in folders named like the emotions, or folders of any classes.

    Args:
        path: `fer2013.csv`, a folder with train/ and test/, or a folder with one folder for each class.
        shape: (height, width, channels) that the model wants; pictures of another size are scaled.
        class_count: of the model.

    Raises:
        FileNotFoundError: `path` does not exist.
        ValueError: it is none of these, or does not fit the model.
    """
    path = Path(path)
    folders = _class_folders(path)
    # Own faces are cut as `mien run` cuts them; for a model of another kind the same names are mere classes.
    are_faces = shape == FACE_SHAPE and class_count == len(EMOTIONS)
    if folders and not (are_faces and {folder.name.lower() for folder in folders} <= set(EMOTIONS)):
        return _from_folders(path, folders, shape, class_count)
    data = load_data(path)
    if class_count != len(EMOTIONS):
        raise ValueError(
            f"the model has {class_count} classes and {path} has {len(EMOTIONS)}: give --data a folder with one "
            "folder of images for each class"
        )
    return from_faces(data, shape)


def from_faces(data: Fer2013, shape: tuple[int, int, int] = FACE_SHAPE) -> Pictures:
    """Return FER2013 or own faces in the shape that a model wants."""
    return Pictures(
        labels=data.labels,
        classes=EMOTIONS,
        is_test=data.usages != 0,
        keys=data.image_keys(),
        read=lambda rows: np.stack([_fit(image, shape) for image in data.images[rows]]),
        faces=data,
    )


def _from_folders(root: Path, folders: list[Path], shape: tuple[int, int, int], class_count: int) -> Pictures:
    if len(folders) != class_count:
        raise ValueError(
            f"the model has {class_count} classes and {root} has {len(folders)} folders: give one folder of images "
            "for each class, named so that their alphabetical order is that of the outputs"
        )
    files = [
        (file, label)
        for label, folder in enumerate(folders)
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        raise ValueError(f"{root} has folders but no images in them: allowed are {', '.join(IMAGE_SUFFIXES)}")
    is_gray = shape[2] == 1

    def read(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        images = []
        for row in rows:
            image = read_image(files[row][0], is_gray)
            if image is None:
                raise ValueError(f"{files[row][0]} cannot be read as an image: remove or replace it")
            images.append(_fit(image if is_gray else image[..., ::-1], shape))
        return np.stack(images)

    return Pictures(
        labels=np.array([label for _, label in files], np.min_scalar_type(len(folders))),
        classes=tuple(folder.name for folder in folders),
        is_test=np.zeros(len(files), np.bool_),
        keys=np.array([hashlib.sha256(file.read_bytes()).digest() for file, _ in files]),
        read=read,
    )


def _class_folders(path: Path) -> list[Path]:
    """Return the folders in a folder, in alphabetical order; none where it is laid out like FER2013."""
    if not path.is_dir():
        return []
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    return [] if {folder.name.lower() for folder in folders} & {"train", "test"} else folders


def _fit(image: npt.NDArray[np.uint8], shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Return a gray or colour image in a model's shape."""
    height, width, channels = shape
    if image.shape[:2] != (height, width):
        is_larger = image.shape[0] > height or image.shape[1] > width
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if is_larger else cv2.INTER_LINEAR)
    if image.ndim == 2:
        image = np.repeat(image[..., np.newaxis], channels, axis=2)
    return image
