"""mien, as `mien run` works, installed from this checkout as README says: `pip install '.[edge]'`."""

from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

NAME = "mien"
REQUIREMENTS = (f"{ROOT}[edge]",)
IMPORT = "import mien; from mien.recognition import make_recognizer; import cv2; from ai_edge_litert import interpreter"
PACKAGES = ("mien", "ai-edge-litert", "tflite-runtime", "opencv-python", "numpy")
SOURCES = (ROOT / "edge" / "mien", ROOT / "pyproject.toml")


class Peer:
    """The recognizer of `mien run` with its default settings."""

    def __init__(self, threads: int) -> None:
        from mien.config import Config
        from mien.recognition import make_recognizer

        config = Config(threads=threads)
        self._recognizer = make_recognizer(config)
        classifier, detector = self._recognizer.classifier, type(self._recognizer.detector).__name__
        self.how = f"{config.model} on {classifier.runtime}, {detector}, tracking"

    def classify(self, faces: Any) -> list[str]:
        """Return the likeliest emotion of each of (N, 48, 48) faces."""
        classifier = self._recognizer.classifier
        return [classifier.card.labels[place] for place in classifier.predict(faces).argmax(axis=1)]

    def look(self, frame: Any, time_s: float) -> int:
        """Return how many faces are in a frame."""
        return len(self._recognizer.recognize(frame, time_s))
