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
    UNSURE: (120, 120, 120),
}


def annotate(image: Image, faces: list[Face]) -> Image:
    """Return a copy of an image, (H, W, 3) BGR uint8, with the faces drawn on it."""
    picture = image.copy()
    scale = max(0.7, min(picture.shape[:2]) / 720)  # smaller letters cannot be read
    for face in faces:
        _draw_face(picture, face, scale)
    return picture


def _draw_face(picture: Image, face: Face, scale: float) -> None:
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
    top = y - label_height if y >= label_height else y
    left = max(0, min(x, picture.shape[1] - text_width - 4))
    cv2.rectangle(picture, (left, top), (left + text_width + 4, top + label_height), color, cv2.FILLED)
    origin = (left + 2, top + text_height + 2)
    cv2.putText(picture, text, origin, font, size, (0, 0, 0), stroke, cv2.LINE_AA)
    _draw_bars(picture, face, scale)


def _draw_bars(picture: Image, face: Face, scale: float) -> None:
    """Draw the seven probabilities as bars below the box, in the order of EMOTIONS."""
    import cv2

    x, y, width, height = face.box
    row_height = max(3, round(6 * scale))
    panel = picture[y + height : y + height + row_height * len(EMOTIONS), x : x + width]
    panel //= 3  # dark, so that the bars can be seen on any picture
    for row, (name, probability) in enumerate(zip(EMOTIONS, face.probabilities, strict=True)):
        top = y + height + row * row_height
        end = (x + round(float(probability) * width), top + row_height - 2)
        cv2.rectangle(picture, (x, top), end, COLORS[name], cv2.FILLED)
