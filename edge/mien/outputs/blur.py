"""Faces that nobody can recognise, for pictures that leave the device."""

from collections.abc import Iterable

from mien.faces import Box, FrameResult, Image

BLOCKS = 8
"""A face is shown in 8 x 8 blocks: too few for people, and for face recognition, to tell who it is."""

MARGIN = 0.2
"""Share of the box's sides that is hidden around it too: hair, ears and chin also tell who it is."""


def places_of_faces(result: FrameResult) -> list[Box]:
    """Return all places that must be hidden: also of faces that are not shown, or were missed in this frame alone."""
    return [*(face.box for face in result.faces), *result.seen]


def blur_faces(image: Image, boxes: Iterable[Box]) -> Image:
    """Return a copy of an image, (H, W, 3) BGR or (H, W) gray uint8, with the faces in these boxes unrecognisable.

    Only these are hidden: a face that no detector ever found is still seen.
    """
    import cv2

    picture = image.copy()
    for box in boxes:
        area = _area(picture, box)
        if area.size:
            blocks = cv2.resize(area, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
            area[:] = cv2.resize(blocks, (area.shape[1], area.shape[0]), interpolation=cv2.INTER_NEAREST)
    return picture


def _area(picture: Image, box: Box) -> Image:
    """Return the part of the picture, as a view of it, with the box and its margin."""
    margin_x, margin_y = round(MARGIN * box.width), round(MARGIN * box.height)
    top, left = max(0, box.y - margin_y), max(0, box.x - margin_x)
    bottom, right = max(0, box.y + box.height + margin_y), max(0, box.x + box.width + margin_x)
    return picture[top:bottom, left:right]
