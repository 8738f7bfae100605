"""One frame in, faces out: the part of mien that other programs import."""

import time
from pathlib import Path

import numpy as np

from mien.classifier import EmotionClassifier
from mien.detectors import FaceDetector, ScalableDetector, open_detector
from mien.emotions import EMOTIONS
from mien.faces import Box, Face, Image
from mien.neutral import Calibration
from mien.preprocess import check_frame, crop_face, to_gray
from mien.search import FaceSearch
from mien.tracker import Track, Tracker

SHOWN_FIRST = 1.5
"""Where there are too many faces, a newcomer's box must be so much larger than a shown one's: boxes tremble."""


class EmotionRecognizer:
    """Finds, follows and classifies the faces of a stream of frames; no threads, deterministic.

    Args:
        model: a name of `mien models`, a path to a `.tflite` file, or None for the default model.
        detector: what finds the faces; None takes what `open_detector` makes.
        num_threads: threads of the classifier, and of the detector that None takes.
        max_faces: at most so many faces a frame, the largest first; one that was shown before goes before a newcomer
            of about its size.
        max_classified: so many of them are classified in one frame; in turns, if there are more. In the first frame,
            which may be the only one, all are.
        smoothing_s: time constant of the smoothing of each face's probabilities; 0 switches it off, and so the
            hold on an emotion that is about as probable as another; `math.inf` gives the mean over all frames.
        max_tracked: so many are followed, shown or not; None: twice `max_faces`.
        detect_interval_s: seconds in which the whole frame is searched once; in between, the search goes on around
            known faces. 0: the whole frame every time.

    Attributes:
        classifier: what names the emotions.
        detector: what finds the faces.
        seen: boxes of the last frame: all faces that were found, and where those that were missed are expected.
        calibration: of the camera's neutral face, if `mien calibrate` has measured it; it may be set at any time.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `EmotionClassifier` and `open_detector`.
    """

    calibration: Calibration | None = None

    def __init__(
        self,
        model: str | Path | None = None,
        detector: FaceDetector | None = None,
        num_threads: int = 1,
        max_faces: int = 8,
        max_classified: int = 4,
        smoothing_s: float = 0.5,
        detect_interval_s: float = 0.5,
        max_tracked: int | None = None,
    ) -> None:
        if max_faces < 1 or max_classified < 1 or not smoothing_s >= 0 or not detect_interval_s >= 0:
            raise ValueError(
                f"max_faces {max_faces} and max_classified {max_classified} must be 1 or more, smoothing_s "
                f"{smoothing_s} and detect_interval_s {detect_interval_s} must be 0 or more"
            )
        self.classifier = EmotionClassifier(model, num_threads)
        self.detector = detector or open_detector(num_threads=num_threads)
        self._max_faces, self._max_classified = max_faces, max_classified
        self._max_tracked = 2 * max_faces if max_tracked is None else max_tracked
        self._smoothing_s, self._detect_interval_s = smoothing_s, detect_interval_s
        self.reset()

    def reset(self) -> None:
        """Forget all tracks: the next frame has nothing to do with the last."""
        self._tracker = Tracker()
        self._search = FaceSearch(self.detector, self._detect_interval_s)
        self._shown: set[int] = set()  # ids of the last frame's faces
        self._is_first = True
        self.seen: tuple[Box, ...] = ()

    def set_effort(self, detect_interval_s: float, detect_side: int) -> None:
        """Search the whole frame more or less often, and in more or fewer pixels, from the next frame on.

        Args:
            detect_interval_s: as in the constructor.
            detect_side: longer side of the picture that is searched; no matter to a detector that has no `max_side`.

        Raises:
            ValueError: an argument is out of range.
        """
        if not detect_interval_s >= 0 or detect_side < 40:
            raise ValueError(
                f"detect_interval_s {detect_interval_s}, detect_side {detect_side}: allowed are 0 or more, 40 or more"
            )
        self._detect_interval_s = self._search.interval_s = detect_interval_s
        if isinstance(self.detector, ScalableDetector):
            self.detector.max_side = detect_side

    def recognize(self, frame: Image, timestamp_s: float | None = None, luma: Image | None = None) -> list[Face]:
        """Return the faces of a frame, largest first.

        Args:
            frame: (H, W) gray or (H, W, 3) BGR, uint8.
            timestamp_s: when the frame was taken; tracking and smoothing count in it. None: now.
            luma: (h, w) gray of the same view in fewer pixels, to find faces in, where a camera makes one.

        Raises:
            ValueError: the frame has another shape or type.
        """
        check_frame(frame)
        picture = frame if self.detector.takes_frame else to_gray(frame if luma is None else luma)
        now_s = time.monotonic() if timestamp_s is None else timestamp_s
        scale_x, scale_y = picture.shape[1] / frame.shape[1], picture.shape[0] / frame.shape[0]
        known = [
            (track.expected(now_s).scaled(scale_x, scale_y), now_s - track.last_seen_s)
            for track in self._tracker.known(now_s)
        ]
        boxes = [box.scaled(1 / scale_x, 1 / scale_y) for box in self._search.find(picture, known, now_s)]
        followed = self._tracker.update(boxes[: self._max_tracked], now_s)
        missed = [track for track in self._tracker.known(now_s) if track.last_seen_s < now_s]
        self.seen = (*boxes, *(track.expected(now_s) for track in missed))
        tracks = self._choose(followed)
        self._classify(picture if picture.shape[:2] == frame.shape[:2] else frame, tracks, now_s)
        return [self._face(track, now_s) for track in tracks if track.probabilities is not None]

    def _choose(self, tracks: list[Track]) -> list[Track]:
        """Return the tracks that are shown, in the same order."""

        def size(track: Track) -> float:
            return track.box.area * (SHOWN_FIRST if track.track_id in self._shown else 1.0)

        self._shown = {track.track_id for track in sorted(tracks, key=size, reverse=True)[: self._max_faces]}
        return [track for track in tracks if track.track_id in self._shown]

    def _classify(self, picture: Image, tracks: list[Track], now_s: float) -> None:
        """Classify those faces whose last time is longest ago."""
        most = self._max_faces if self._is_first else self._max_classified
        chosen = sorted(tracks, key=lambda track: track.classified_s)[:most]
        self._is_first = False
        if not chosen:
            return
        margin = self.classifier.card.crop_margin
        crops = np.stack([crop_face(picture, track.box, margin) for track in chosen])
        predicted = self.classifier.predict(crops)
        if self.calibration is not None:
            predicted = self.calibration.apply(predicted)
        for track, probabilities in zip(chosen, predicted, strict=True):
            track.smooth(probabilities, now_s, self._smoothing_s)
            if not self._smoothing_s:
                track.shown = -1  # nothing is held, either
            track.judge(self.classifier.thresholds)

    def _face(self, track: Track, now_s: float) -> Face:
        assert track.probabilities is not None
        instant = track.instant if track.classified_s == now_s else None
        return Face(track.box, track.probabilities, track.track_id, track.is_sure, EMOTIONS[track.shown], instant)
