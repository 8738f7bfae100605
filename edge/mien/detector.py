"""Where the faces are: the detectors' protocol, and OpenCV's Haar cascades behind it."""

from pathlib import Path
from typing import Any, Protocol

from mien.faces import Box, Image

CASCADES = ("default", "alt", "alt2")


class FaceDetector(Protocol):
    """Finds faces in a gray frame."""

    def detect(self, gray: Image) -> list[Box]:
        """Return the boxes of the faces in (H, W) uint8, in pixels of `gray`, largest first."""
        ...


class HaarDetector:
    """Viola-Jones detection with one of OpenCV's frontal face cascades, on a small copy of the frame.

    The detector, not the classifier, decides the frame rate of a small device, so it searches a
    plane of at most `max_side` pixels. The cascade alt2 takes fewer other things for faces than default.

    Args:
        cascade: "default", "alt" or "alt2".
        max_side: the frame is shrunk until its longer side has at most this many pixels.
        scale_factor: step between the sizes that are searched.
        min_neighbors: how many overlapping hits make a face.
        min_face: smallest face, as a fraction of the frame's shorter side.

    Raises:
        ValueError: an argument is out of range.
        ImportError: this OpenCV has no cascades (5.0 dropped them).
    """

    def __init__(
        self,
        cascade: str = "alt2",
        max_side: int = 320,
        scale_factor: float = 1.1,
        min_neighbors: int = 5,
        min_face: float = 0.08,
    ) -> None:
        if cascade not in CASCADES:
            raise ValueError(f"unknown cascade {cascade!r}: allowed are {', '.join(CASCADES)}")
        if max_side < 40 or scale_factor <= 1 or min_neighbors < 0 or not 0 < min_face < 1:
            raise ValueError(
                f"max_side {max_side}, scale_factor {scale_factor}, min_neighbors {min_neighbors}, "
                f"min_face {min_face}: allowed are 40 or more, above 1, 0 or more, between 0 and 1"
            )
        self._cascade = _load_cascade(cascade)
        self._max_side, self._scale_factor = max_side, scale_factor
        self._min_neighbors, self._min_face = min_neighbors, min_face

    def detect(self, gray: Image) -> list[Box]:
        """Return the boxes of the faces in (H, W) uint8, in pixels of `gray`, largest first."""
        import cv2

        height, width = gray.shape
        scale = min(1.0, self._max_side / max(height, width))
        small = gray
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        smallest = max(1, round(self._min_face * min(small.shape)))
        found = self._cascade.detectMultiScale(
            small, scaleFactor=self._scale_factor, minNeighbors=self._min_neighbors, minSize=(smallest, smallest)
        )
        boxes = [Box(*map(int, box)).scaled(1 / scale, 1 / scale) for box in found]
        return sorted(boxes, key=lambda box: box.width * box.height, reverse=True)


def _load_cascade(name: str) -> Any:
    import cv2

    if not hasattr(cv2, "CascadeClassifier"):
        raise ImportError(f"OpenCV {cv2.__version__} has no Haar cascades: pip install 'opencv-python<5'")
    file = f"haarcascade_frontalface_{name}.xml"
    folders = [Path("/usr/share/opencv4/haarcascades")]  # where Debian's opencv-data puts them
    if data := getattr(cv2, "data", None):  # Debian's own OpenCV has no cv2.data
        folders.insert(0, Path(data.haarcascades))
    for folder in folders:
        if (folder / file).exists():
            return cv2.CascadeClassifier(str(folder / file))
    raise ImportError(f"OpenCV's {file} is in none of {', '.join(map(str, folders))}: sudo apt install opencv-data")
