"""What accuracy is left when a detector cuts the face: emotions named from found boxes and from tight images.

    python -m benchmarks crops --data fer2013.csv --images 2000

Each test image is put into a larger picture, enlarged, with its edges drawn out and blurred around it. What a detector
finds there is cut as `mien run` cuts it. Images that are turned tell what it is worth to level heads that lean.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.candidates import list_crop_candidates
from benchmarks.crops_report import plots, table
from benchmarks.robustness import choose_images
from benchmarks.statistics import compare_paired
from mien.classifier import EmotionClassifier
from mien.detectors import FaceDetector
from mien.faces import Box, Image, LeaningBox
from mien.fer2013 import SIZE, Fer2013, load_fer2013
from mien.preprocess import crop_face
from mien.progress import ProgressBar

__all__ = ["add_arguments", "plots", "run", "table"]

PICTURE = (320, 240)
"""Width and height of the picture that an image is put into."""

SCALES = (2.0, 4.0)
"""An image is enlarged by something between."""

DEGREES = (0, 10, 20, 30, 45)

ROTATED_IMAGES = 1500
"""So many images at most are turned."""

TRUE_SQUARE = "the image's own place"
"""The row without a detector: what enlarging and cutting alone cost, and what levelling can gain at best."""

Right = npt.NDArray[np.bool_]
"""(N,), whether the emotion of each image was named."""


@dataclass(frozen=True)
class Scene:
    """A picture with one image of FER2013 in it.

    Attributes:
        picture: (H, W) uint8.
        place: of the image; it leans as the image was turned.
    """

    picture: Image
    place: LeaningBox


@dataclass(frozen=True)
class Finder:
    """What finds the face in a scene.

    Attributes:
        name: of its row.
        find: scene -> box, or None.
    """

    name: str
    find: Callable[[Scene], Box | None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add data, images and the model."""
    parser.add_argument("--data", required=True, help="fer2013.csv, or the folder with train/ and test/")
    parser.add_argument("--images", type=int, metavar="N", help="test images, drawn at random (default: all)")
    parser.add_argument("--model", help="a name of `mien models` or a file (default: that of `mien run`)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all detectors; see `measure_crops` for what comes out.

    Raises:
        FileNotFoundError: data or model do not exist.
        ValueError: `--images` is less than 1, the model is unknown, or the data are damaged.
        ImportError: SciPy is not installed.
    """
    if arguments.images is not None and arguments.images < 1:
        raise ValueError(f"--images {arguments.images} must be 1 or more")
    classifier = EmotionClassifier(arguments.model)
    images = choose_images(load_fer2013(arguments.data), arguments.images)
    detectors, not_measured = list_crop_candidates()
    return measure_crops(classifier, detectors, images) | {"not_measured": not_measured}


def measure_crops(
    classifier: EmotionClassifier,
    detectors: dict[str, FaceDetector],
    images: Fer2013,
    degrees: Sequence[int] = DEGREES,
) -> dict[str, Any]:
    """Compare what a classifier says of found faces with what it says of the images that they were made of.

    Returns:
        {"model", "runtime", "images", "rotated_images", "tight_accuracy": of all images as they are, "detectors":
        [{"detector", "angles": [{"degrees", "images", "found", "levelled_accuracy": of the found ones, cut as
        `mien run` cuts them, "upright_accuracy": of the same, cut upright, "tight_accuracy": of the same as they are,
        "difference": levelled less tight, "gain": levelled less upright, both with _from and _to of their 95 %
        intervals, "overall_accuracy": of all, where a face that was not found counts as wrong}]}]}. What has no found
        image is None.

    Raises:
        ImportError: SciPy is not installed.
    """
    finders = [Finder(TRUE_SQUARE, lambda scene: scene.place), *(_finder(*named) for named in detectors.items())]
    tight = _is_right(classifier, images.images, images.labels)
    rotated = choose_images(images, ROTATED_IMAGES)
    tight_rotated = _is_right(classifier, rotated.images, rotated.labels)
    angles: dict[str, list[dict[str, Any]]] = {finder.name: [] for finder in finders}
    for turn in degrees:
        chosen, right = (rotated, tight_rotated) if turn else (images, tight)
        cut = cut_all(finders, chosen.images, turn, classifier.card.crop_margin)
        for finder in finders:
            angles[finder.name].append(
                {"degrees": turn, **_figures(classifier, cut[finder.name], chosen.labels, right)}
            )
    return {
        "model": classifier.card.name,
        "runtime": classifier.runtime,
        "images": len(images),
        "rotated_images": len(rotated),
        "tight_accuracy": round(float(tight.mean()), 5),
        "detectors": [{"detector": name, "angles": entries} for name, entries in angles.items()],
    }


def make_scene(image: Image, degrees: float, rng: np.random.Generator) -> Scene:
    """Put an image somewhere into a larger picture.

    Args:
        image: (48, 48) uint8.
        degrees: how far it is turned, to one side or the other.
        rng: draws size, place and side.
    """
    import cv2

    width, height = PICTURE
    side = rng.uniform(*SCALES) * SIZE
    roll = degrees if rng.random() < 0.5 else -degrees
    reach = side / 2 * (abs(np.cos(np.radians(roll))) + abs(np.sin(np.radians(roll))))
    reach = min(reach, height / 2)  # a large one that leans loses its corners
    x, y = rng.uniform(reach, width - reach), rng.uniform(reach, height - reach)
    # From the image to the picture: clockwise, as `Box.roll_degrees`; OpenCV counts the other way round.
    turn = cv2.getRotationMatrix2D(((SIZE - 1) / 2,) * 2, -roll, side / SIZE)
    turn[:, 2] += (x - 0.5 - (SIZE - 1) / 2, y - 0.5 - (SIZE - 1) / 2)
    # A camera's picture of the face is as sharp as its pixels; linear interpolation would blur it.
    sharp = cv2.warpAffine(image, turn, PICTURE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    blurred = cv2.GaussianBlur(sharp, (0, 0), side / 12, borderType=cv2.BORDER_REPLICATE)
    is_image = cv2.warpAffine(np.full_like(image, 255), turn, PICTURE) / np.float32(255)
    picture = np.round(sharp * is_image + blurred * (1 - is_image)).astype(np.uint8)
    place = Box(round(x - side / 2), round(y - side / 2), round(side), round(side))
    return Scene(picture, LeaningBox.leaning(place, roll))


def cut_all(
    finders: Sequence[Finder], images: Image, degrees: int, margin: float
) -> dict[str, list[tuple[Image, Image] | None]]:
    """Return what each finder gives the classifier of each of (N, 48, 48) images: cut levelled and upright, or None."""
    cut: dict[str, list[tuple[Image, Image] | None]] = {finder.name: [] for finder in finders}
    if not sys.stderr.isatty():  # where the bar is not seen
        print(f"{len(images)} images turned by {degrees} degrees ...", file=sys.stderr, flush=True)
    with ProgressBar(f"turned by {degrees} degrees", len(images)) as bar:
        for number, image in enumerate(images):
            scene = make_scene(image, degrees, np.random.default_rng([number, degrees]))
            for finder in finders:
                box = finder.find(scene)
                pair = None if box is None else (box, Box(*box))
                cut[finder.name].append(pair and _cut_pair(scene.picture, pair, margin))
            bar.update(number + 1)
    return cut


def _cut_pair(picture: Image, pair: tuple[Box, Box], margin: float) -> tuple[Image, Image]:
    return crop_face(picture, pair[0], margin), crop_face(picture, pair[1], margin)


def _finder(name: str, detector: FaceDetector) -> Finder:
    """Take the box that overlaps the image's place most, if its centre lies in it."""

    def find(scene: Scene) -> Box | None:
        boxes = [box for box in detector.detect(scene.picture) if scene.place.has_inside(*box.centre)]
        return max(boxes, key=scene.place.overlap, default=None)

    return Finder(name, find)


def _figures(
    classifier: EmotionClassifier,
    cut: Sequence[tuple[Image, Image] | None],
    labels: npt.NDArray[np.uint8],
    tight: Right,
) -> dict[str, Any]:
    rows = [row for row, pair in enumerate(cut) if pair is not None]
    figures: dict[str, Any] = {"images": len(cut), "found": len(rows)}
    if not rows:
        names = ("levelled_accuracy", "upright_accuracy", "tight_accuracy", "difference", "gain")
        return {**figures, **dict.fromkeys(names), "overall_accuracy": 0.0}
    levelled, upright = (
        _is_right(classifier, np.stack([pair[form] for pair in cut if pair is not None]), labels[rows])
        for form in (0, 1)
    )
    return {
        **figures,
        "levelled_accuracy": round(float(levelled.mean()), 5),
        "upright_accuracy": round(float(upright.mean()), 5),
        "tight_accuracy": round(float(tight[rows].mean()), 5),
        **_difference("difference", levelled, tight[rows]),
        **_difference("gain", levelled, upright),
        "overall_accuracy": round(float(levelled.sum()) / len(cut), 5),
    }


def _difference(name: str, first: Right, second: Right) -> dict[str, float]:
    """Return what the first has more than the second on the same images, with its 95 % interval."""
    paired = compare_paired(first, second)
    low, high = paired.interval
    return {name: round(paired.difference, 5), f"{name}_from": round(low, 5), f"{name}_to": round(high, 5)}


def _is_right(classifier: EmotionClassifier, faces: Image, labels: npt.NDArray[np.uint8]) -> Right:
    return np.asarray(classifier.predict(faces).argmax(axis=1) == labels)
