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
        ValueError: there is no image, or, when all were tried, none that can be read.
    """

    is_continuous = False
    frame_rate = 1.0

    def __init__(self, path: Path, suffixes: tuple[str, ...]) -> None:
        self._path, self.name = path, str(path)
        self._files = [path]
        if path.is_dir():
            self._files = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
        if not self._files:
            raise ValueError(f"folder {path} holds no image: allowed are files with {', '.join(suffixes)}")

    def __iter__(self) -> Iterator[Frame]:
        is_any_read = False
        for index, file in enumerate(self._files):
            image = read_image(file)
            if image is not None:
                is_any_read = True
                yield Frame(image, index, float(index), file.name)
            elif len(self._files) > 1:
                logger.warning("%s cannot be read as an image: skipped", file)
        if not is_any_read:
            raise ValueError(f"{self._path} cannot be read as an image: give another file or folder")


def read_image(path: Path, is_gray: bool = False) -> Image | None:
    """Return an image, (H, W, 3) BGR or (H, W) gray; None for a file that is none, or larger than OpenCV reads."""
    import cv2

    try:
        return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE if is_gray else cv2.IMREAD_COLOR)
    except cv2.error:
        return None
