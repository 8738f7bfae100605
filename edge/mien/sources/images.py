"""The images of a folder, in the order of their names, or one image; each stands for itself."""

import logging
from collections.abc import Iterator
from pathlib import Path

from mien.faces import Image
from mien.sources.base import Frame, Source

logger = logging.getLogger(__name__)


class ImageSource(Source):
    """Reads images; faces are not followed from one to the next.

    Args:
        path: an image, or a folder of images (not searched deeper).
        suffixes: which files of a folder are images, in lower case.

    Raises:
        ValueError: there is no readable image.
    """

    is_continuous = False
    frame_rate = 1.0

    def __init__(self, path: Path, suffixes: tuple[str, ...]) -> None:
        self._files = [path]
        if path.is_dir():
            self._files = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
        if not self._files:
            raise ValueError(f"folder {path} holds no image: allowed are files with {', '.join(suffixes)}")
        if len(self._files) == 1 and self._read(self._files[0]) is None:
            raise ValueError(f"{self._files[0]} cannot be read as an image: give another file")

    def __iter__(self) -> Iterator[Frame]:
        for index, file in enumerate(self._files):
            image = self._read(file)
            if image is None:
                logger.warning("%s cannot be read as an image: skipped", file)
                continue
            yield Frame(image, index, float(index))

    @staticmethod
    def _read(file: Path) -> Image | None:
        import cv2

        return cv2.imread(str(file), cv2.IMREAD_COLOR)
