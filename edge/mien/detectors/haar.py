"""OpenCV's Haar cascades, which vote."""

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.detectors.base import cut_region, shrink, small_size
from mien.faces import Box, Image

FRONTAL, PROFILE, MIRRORED = "frontalface_alt2", "profileface", "profileface, mirrored"
"""Cascades; that for profiles knows one side of the head, so it looks at the mirrored picture, too."""

STILL_VOTES = {FRONTAL: 2, PROFILE: 1, MIRRORED: 1}
LIVE_VOTES = {FRONTAL: 1}

SAME_FACE = 0.4
"""Hits whose edges are nearer than this share of their size belong to one face."""

REGION_FACE = 44
"""A known face is scaled to so many pixels before it is searched again: the cascades' windows have 20."""

REGION_SIZES = (0.82, 1.22)
"""Smallest and largest size of a known face that is searched, as a multiple of the last one."""

TILTS_DEGREES = (-25, 25, -45, 45)
"""How a known head may lean when it is not found upright; the cascades themselves bear about 15."""

WINDOWS_A_STEP = 6000
"""So many places are searched in one step at most: the time of a step is about the same for all."""


class HaarDetector:
    """Viola-Jones detection with OpenCV's cascades, on a small copy of the frame.

    Several cascades vote: each hit of one counts as often as `votes` says, and a face is where enough of them agree.
    docs/detection.md has the measurements behind the defaults.

    Args:
        max_side: the frame is shrunk until its longer side has at most this many pixels.
        scale_factor: step between the sizes that are searched.
        min_votes: how many agreeing votes make a face.
        min_face: smallest face, as a fraction of the frame's shorter side.
        votes: cascade -> votes of each of its hits.

    Attributes:
        max_side: may be changed between two frames.
        problem: why it was taken instead of another one; "" where it was asked for.

    Raises:
        ValueError: an argument is out of range.
        ImportError: this OpenCV has no cascades (5.0 dropped them).
    """

    name = "haar"
    problem = ""
    takes_frame = False

    def __init__(
        self,
        max_side: int = 320,
        scale_factor: float = 1.1,
        min_votes: int = 5,
        min_face: float = 0.08,
        votes: dict[str, int] | None = None,
    ) -> None:
        if max_side < 40 or scale_factor <= 1 or min_votes < 1 or not 0 < min_face <= 1:
            raise ValueError(
                f"max_side {max_side}, scale_factor {scale_factor}, min_votes {min_votes}, min_face {min_face}: "
                "allowed are 40 or more, above 1, 1 or more, above 0 up to 1"
            )
        self._votes = votes or LIVE_VOTES
        if unknown := set(self._votes) - {FRONTAL, PROFILE, MIRRORED}:
            raise ValueError(f"unknown cascade {min(unknown)!r}: allowed are {FRONTAL}, {PROFILE} and {MIRRORED!r}")
        self._cascades = {name: load_cascade(name.split(",")[0]) for name in (FRONTAL, PROFILE, MIRRORED)}
        self.max_side, self._scale_factor = max_side, scale_factor
        self._min_votes, self._min_face = min_votes, min_face
        self._steps = lru_cache(maxsize=8)(self._list_steps)

    @classmethod
    def for_stills(cls) -> "HaarDetector":
        """Return one that takes its time: more pixels, smaller faces, turned heads."""
        return cls(max_side=640, min_votes=9, min_face=0.045, votes=STILL_VOTES)

    def detect(self, picture: Image) -> list[Box]:
        """Return the boxes of the faces in (H, W) uint8, in its pixels, largest first."""
        small, scale = shrink(picture, self.max_side)
        smallest = self._smallest(small.shape)
        hits = {name: self._search(name, small, smallest, 0) for name in self._votes}
        boxes = [Box(*box).scaled(1 / scale, 1 / scale) for box, _ in _agree(hits, self._votes, self._min_votes)]
        return sorted(boxes, key=lambda box: box.area, reverse=True)

    def count_steps(self, shape: tuple[int, int]) -> int:
        """Return in how many steps a frame of (height, width) is searched."""
        return len(self._steps(shape, self.max_side))

    def detect_step(self, picture: Image, step: int) -> list[Box]:
        """Return where faces may be, in one step of the search: one size of face, in one strip of the frame."""
        small, scale = shrink(picture, self.max_side)
        side, top, bottom = self._steps(picture.shape, self.max_side)[step]
        hits = self._search(FRONTAL, small[top:bottom], side, side)
        # Two places beside each other are no face yet, but worth a closer look.
        found = _agree({FRONTAL: hits}, LIVE_VOTES, 2)
        return [
            Box(int(x), int(y) + top, int(width), int(height)).scaled(1 / scale, 1 / scale)
            for (x, y, width, height), _ in found
        ]

    def detect_near(self, picture: Image, box: Box, reach: float, is_known: bool) -> list[Box]:
        """Return faces of about a box's size near it, the likeliest first."""
        region, left, top, scale = cut_region(picture, box, reach, REGION_FACE)
        found = self._search_region(region, LIVE_VOTES, 2 if is_known else self._min_votes)
        if not found and is_known:
            found = self._search_region(region, {PROFILE: 1, MIRRORED: 1}, 2)
        if not found and is_known:
            found = self._search_tilted(region)
        return [
            Box(round(x / scale + left), round(y / scale + top), round(width / scale), round(height / scale))
            for x, y, width, height in found
        ]

    def _search_region(self, region: Image, votes: dict[str, int], min_votes: int) -> list[Box]:
        smallest, largest = (round(REGION_FACE * size) for size in REGION_SIZES)
        hits = {name: self._search(name, region, smallest, largest) for name in votes}
        return [Box(*map(int, box)) for box, _ in _agree(hits, votes, min_votes)]

    def _search_tilted(self, region: Image) -> list[Box]:
        """Look for a head that leans to a side: turn the region instead, which the cascades cannot."""
        import cv2

        height, width = region.shape
        for angle in TILTS_DEGREES:
            turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
            turned = cv2.warpAffine(region, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
            if found := self._search_region(turned, LIVE_VOTES, self._min_votes):
                back = cv2.invertAffineTransform(turn)
                centres = [back @ (*box.centre, 1) for box in found]
                return [
                    Box(round(x - box.width / 2), round(y - box.height / 2), box.width, box.height)
                    for box, (x, y) in zip(found, centres, strict=True)
                ]
        return []

    def _smallest(self, shape: tuple[int, ...]) -> int:
        return max(20, round(self._min_face * min(shape)))

    def _search(self, name: str, gray: Image, smallest: int, largest: int) -> npt.NDArray[np.int32]:
        """Return all hits of a cascade, (N, 4) int32; `largest` 0 sets no limit."""
        import cv2

        is_mirrored = name == MIRRORED
        picture = cv2.flip(gray, 1) if is_mirrored else gray
        found = self._cascades[name].detectMultiScale(
            picture, scaleFactor=self._scale_factor, minNeighbors=0, minSize=(smallest,) * 2, maxSize=(largest,) * 2
        )
        hits = np.asarray(found, np.int32).reshape(-1, 4)
        if is_mirrored:
            hits[:, 0] = gray.shape[1] - hits[:, 0] - hits[:, 2]
        return hits

    def _list_steps(self, shape: tuple[int, int], max_side: int) -> list[tuple[int, int, int]]:
        """Return (side of the faces, top, bottom of the strip) in pixels of the small frame."""
        height, width = small_size(shape, max_side)
        steps, side = [], float(self._smallest((height, width)))
        while side <= min(height, width):
            size = round(side)
            # OpenCV shrinks the frame so that the face has 20 pixels, and takes every second place up to twice that.
            factor = size / 20
            pace = factor * (2 if factor <= 2 else 1)
            places = (width - size) / pace * (height - size) / pace
            strips = max(1, round(places / WINDOWS_A_STEP + 0.5))
            edges = np.linspace(0, height - size, strips + 1).round().astype(int)
            steps += [(size, int(top), int(bottom) + size) for top, bottom in pairwise(edges)]
            side *= self._scale_factor
        return steps


def _agree(
    hits: dict[str, npt.NDArray[np.int32]], votes: dict[str, int], min_votes: int
) -> list[tuple[npt.NDArray[np.int32], int]]:
    """Return (box, votes) where hits agree, most votes first; of overlapping boxes the one with more votes."""
    import cv2

    ballots = [hits[name] for name, count in votes.items() for _ in range(count) if len(hits[name])]
    if not ballots:
        return []
    boxes, counts = cv2.groupRectangles(np.concatenate(ballots).tolist(), min_votes - 1, SAME_FACE)
    kept: list[tuple[npt.NDArray[np.int32], int]] = []
    for index in np.argsort(-np.ravel(counts), kind="stable"):
        if not any(Box(*boxes[index]).is_same_face(Box(*other)) for other, _ in kept):
            kept.append((boxes[index], int(np.ravel(counts)[index])))
    return kept


def load_cascade(name: str) -> Any:
    """Return a cascade of OpenCV, such as "frontalface_alt2".

    Raises:
        ImportError: this OpenCV has none.
        ValueError: its file is damaged.
    """
    import cv2

    if not hasattr(cv2, "CascadeClassifier"):
        raise ImportError(f"OpenCV {cv2.__version__} has no Haar cascades: pip install 'opencv-python<5'")
    file = f"haarcascade_{name}.xml"
    folders = [Path("/usr/share/opencv4/haarcascades")]  # where Debian's opencv-data puts them
    if data := getattr(cv2, "data", None):  # Debian's own OpenCV has no cv2.data
        folders.insert(0, Path(data.haarcascades))
    for folder in folders:
        if (folder / file).exists():
            return _load(folder / file)
    raise ImportError(f"OpenCV's {file} is in none of {', '.join(map(str, folders))}: sudo apt install opencv-data")


def _load(path: Path) -> Any:
    import cv2

    try:
        cascade = cv2.CascadeClassifier(str(path))
    except (cv2.error, SystemError):  # the latter where its parser raises
        cascade = None
    if cascade is None or cascade.empty():
        raise ValueError(f"OpenCV's {path} is damaged: reinstall OpenCV, or opencv-data")
    return cascade
