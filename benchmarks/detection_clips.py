"""In how many frames of videos detectors find the face, by what YuNet sees in each frame."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.candidates import RawDetector, boxes_of
from benchmarks.detection_truth import is_found, is_on
from mien.detectors import FaceDetector
from mien.faces import Box
from mien.preprocess import to_gray
from mien.progress import ProgressBar
from mien.sources import open_source

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm")

MIN_SCORE = 0.7
"""Of what YuNet sees, from which on it is the truth."""


@dataclass
class Count:
    """What a detector did in a clip.

    Attributes:
        frames, faces: those frames in which YuNet sees a face, and the faces in them.
        found_frames, found_faces: frames of which it finds a face, and all that it finds.
        unconfirmed_boxes: in such frames, on none of these faces.
        false_boxes: in frames in which YuNet sees none.
    """

    frames: int = 0
    faces: int = 0
    found_frames: int = 0
    found_faces: int = 0
    unconfirmed_boxes: int = 0
    false_boxes: int = 0

    def add(self, truth: Sequence[Box], boxes: Sequence[Box]) -> None:
        """Count one more frame."""
        if not truth:
            self.false_boxes += len(boxes)
            return
        found = sum(is_found(face, boxes) for face in truth)
        self.frames += 1
        self.faces += len(truth)
        self.found_frames += found > 0
        self.found_faces += found
        self.unconfirmed_boxes += sum(not any(is_on(face, box) for face in truth) for box in boxes)


def measure_clips(detectors: Mapping[str, FaceDetector], judge: RawDetector, folder: Path) -> dict[str, Any]:
    """Let detectors search each frame of each clip as a whole.

    Args:
        detectors: by name.
        judge: whose boxes are the truth.
        folder: with the clips.

    Returns:
        {"detectors": [{"detector", "recall": share of the frames with a face in which one is found, or None, and the
        fields of `Count`, "clips": [{"name", the same}]}]}.

    Raises:
        FileNotFoundError: there are no clips in the folder.
        ValueError: a clip cannot be read.
    """
    import cv2

    clips = sorted(path for path in folder.glob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not clips:
        raise FileNotFoundError(f"no videos in {folder}: allowed are {', '.join(VIDEO_SUFFIXES)}")
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as the candidates are
    try:
        counts = {clip.name: _count(detectors, judge, clip) for clip in clips}
    finally:
        cv2.setNumThreads(threads)
    return {"detectors": [_figures(name, {clip: count[name] for clip, count in counts.items()}) for name in detectors]}


def _count(detectors: Mapping[str, FaceDetector], judge: RawDetector, clip: Path) -> dict[str, Count]:
    counts = {name: Count() for name in detectors}
    if not sys.stderr.isatty():  # where the bar is not seen
        print(f"{clip.name} ...", file=sys.stderr, flush=True)
    with open_source(str(clip)) as source, ProgressBar(clip.name, 0, unit="frames") as bar:
        for frame in source:
            truth = boxes_of(judge.find(frame.image, MIN_SCORE))
            gray = to_gray(frame.image)
            for name, detector in detectors.items():
                counts[name].add(truth, detector.detect(frame.image if detector.takes_frame else gray))
            bar.update(frame.index)
    return counts


def _figures(name: str, counts: Mapping[str, Count]) -> dict[str, Any]:
    whole = Count(*(sum(figures) for figures in zip(*(vars(one).values() for one in counts.values()), strict=True)))
    clips = [{"name": clip, **_with_recall(one)} for clip, one in counts.items()]
    return {"detector": name, **_with_recall(whole), "clips": clips}


def _with_recall(count: Count) -> dict[str, Any]:
    return {"recall": round(count.found_frames / count.frames, 4) if count.frames else None, **vars(count)}
