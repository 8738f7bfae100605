"""One frame in, faces out: the part of mien that other programs import."""

import math
import time
from pathlib import Path

import numpy as np

from mien.classifier import EmotionClassifier
from mien.detector import FaceDetector, HaarDetector
from mien.faces import Face, Image
from mien.preprocess import crop_face, to_gray
from mien.tracker import Tracker


class EmotionRecognizer:
    """Finds, follows and classifies the faces of a stream of frames; no threads, deterministic.

    Args:
        model: a name of `mien models`, a path to a `.tflite` file, or None for the default model.
        detector: what finds the faces; None takes a `HaarDetector`.
        num_threads: threads of the classifier.
        max_faces: at most so many faces a frame, the largest first.
        smoothing_s: time constant of the smoothing of each face's probabilities; 0 switches it off.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `EmotionClassifier` and `HaarDetector`.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        detector: FaceDetector | None = None,
        num_threads: int = 1,
        max_faces: int = 8,
        smoothing_s: float = 0.3,
    ) -> None:
        if max_faces < 1 or not 0 <= smoothing_s < math.inf:
            raise ValueError(f"max_faces {max_faces} must be 1 or more, smoothing_s {smoothing_s} must be 0 or more")
        self.classifier = EmotionClassifier(model, num_threads)
        self._detector = detector or HaarDetector()
        self._max_faces, self._smoothing_s = max_faces, smoothing_s
        self.reset()

    def reset(self) -> None:
        """Forget all tracks: the next frame has nothing to do with the last."""
        self._tracker = Tracker()

    def recognize(self, frame: Image, timestamp_s: float | None = None) -> list[Face]:
        """Return the faces of a frame, largest first.

        Args:
            frame: (H, W) gray or (H, W, 3) BGR, uint8.
            timestamp_s: when the frame was taken; tracking and smoothing count in it. None: now.

        Raises:
            ValueError: the frame has another shape or type.
        """
        gray = to_gray(frame)
        now_s = time.monotonic() if timestamp_s is None else timestamp_s
        boxes = self._detector.detect(gray)[: self._max_faces]
        tracks = self._tracker.update(boxes, now_s)
        if not tracks:
            return []
        margin = self.classifier.card.crop_margin
        crops = np.stack([crop_face(gray, track.box, margin) for track in tracks])
        faces = []
        for track, probabilities in zip(tracks, self.classifier.predict(crops), strict=True):
            track.smooth(probabilities, now_s, self._smoothing_s)
            assert track.probabilities is not None
            is_sure = self.classifier.is_sure(track.probabilities)
            faces.append(Face(track.box, track.probabilities, track.track_id, is_sure))
        return faces
