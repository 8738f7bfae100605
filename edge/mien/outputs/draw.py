"""Boxes, names and probabilities on a picture; shared by all outputs that show one."""

from mien.emotions import EMOTIONS, UNSURE
from mien.faces import Face, Image

COLORS = {  # BGR, told apart on dark and on bright pictures
    "angry": (60, 60, 230),
    "disgust": (60, 160, 60),
    "fear": (200, 90, 160),
    "happy": (40, 200, 250),
    "sad": (220, 140, 60),
    "surprise": (40, 140, 250),
    "neutral": (190, 190, 190),
    UNSURE: (145, 145, 145),
}


SHOWN = 3
"""So many emotions of a face are shown, where it is wide enough for their names."""


NAMED_WIDTH, STILL_NAMED_WIDTH = 1.6, 1.35
"""A face is wide enough from so many widths of a name on; one that was, down to the second, or it would flicker."""


def annotate(image: Image, faces: list[Face], named: set[int] | None = None) -> Image:
    """Return a copy of an image, (H, W, 3) BGR uint8, with the faces drawn on it.

    Above a face stands what it shows, below it a bar for each of its three most probable emotions; below a small one
    a single bar, its confidence.

    Args:
        image, faces: of one frame.
        named: ids of the faces that had three bars in the last frame; those of this one replace them.
    """
    picture = image.copy()
    scale = max(0.7, min(picture.shape[:2]) / 720)  # smaller letters cannot be read
    before = set() if named is None else set(named)
    now = {face.track_id for face in faces if _draw_face(picture, face, scale, face.track_id in before)}
    if named is not None:
        named.clear()
        named.update(now)
    return picture


def _draw_face(picture: Image, face: Face, scale: float, was_named: bool) -> bool:
    """Draw a face; return whether its bars have names."""
    import cv2

    x, y, width, height = face.box
    color = COLORS[face.label]
    thickness = max(2, round(2 * scale))
    for line, extra in (((0, 0, 0), 2), (color, 0)):  # with a black edge, to be seen on any ground
        cv2.rectangle(picture, (x, y), (x + width, y + height), line, thickness + extra)
    text = f"{face.track_id}  {face.caption}"
    font, size, stroke = cv2.FONT_HERSHEY_SIMPLEX, 0.65 * scale, max(1, round(scale))
    (text_width, text_height), baseline = cv2.getTextSize(text, font, size, stroke)
    label_height = text_height + baseline + 2
    # Above the box, or inside it where the picture ends; never out of the picture.
    top = y - label_height if y >= label_height else max(0, y)
    left = max(0, min(x, picture.shape[1] - text_width - 4))
    cv2.rectangle(picture, (left, top), (left + text_width + 4, top + label_height), color, cv2.FILLED)
    origin = (left + 2, top + text_height + 2)
    cv2.putText(picture, text, origin, font, size, (0, 0, 0), stroke, cv2.LINE_AA)
    return _draw_bars(picture, face, scale, was_named)


def _draw_bars(picture: Image, face: Face, scale: float, was_named: bool) -> bool:
    """Draw the most probable emotions below the box, as bars with their names, or the confidence alone."""
    import cv2

    x, y, width, height = face.box
    font, size, stroke = cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, max(1, round(0.8 * scale))
    names_width = max(cv2.getTextSize(name, font, size, stroke)[0][0] for name in EMOTIONS) + round(10 * scale)
    right = min(x + width, picture.shape[1])
    visible = right - max(0, x)  # a face may be half out of the picture
    has_names = visible >= (STILL_NAMED_WIDTH if was_named else NAMED_WIDTH) * names_width
    row_height = round((18 if has_names else 7) * scale)
    ranking = face.probabilities.argsort()[::-1][:SHOWN] if has_names else [EMOTIONS.index(face.emotion)]
    top = y + height + max(2, round(2 * scale))
    panel = picture[max(0, top) : top + row_height * len(ranking), max(0, x) : max(0, right)]
    panel //= 3  # dark, so that bars and names can be seen on any picture
    left = max(0, x) + (names_width if has_names else 0)
    for row, index in enumerate(ranking):
        name, middle = EMOTIONS[index], top + row * row_height + row_height // 2
        end = left + round(float(face.probabilities[index]) * max(0, right - left - 2))
        half = max(2, round((4 if has_names else 2) * scale))
        cv2.rectangle(picture, (left, middle - half), (end, middle + half), COLORS[name], cv2.FILLED)
        if has_names:
            origin = (max(0, x) + round(4 * scale), middle + round(5 * scale))
            cv2.putText(picture, name, origin, font, size, (235, 235, 235), stroke, cv2.LINE_AA)
    return has_names
