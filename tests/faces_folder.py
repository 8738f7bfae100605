"""A folder of labelled photographs as `mien.photographs` reads it, with drawn faces."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

EYES_ABOVE = 0.1
"""Of the drawn face's height, how far its eyes lie above its middle."""


def draw_face(image: npt.NDArray[np.uint8], x: int, y: int, width: int, height: int) -> npt.NDArray[np.float32]:
    """Draw something like a face around (x, y); return its landmarks."""
    cv2.ellipse(image, (x, y), (width // 2, height // 2), 0, 0, 360, 220, -1)
    marks = [(-0.2, -EYES_ABOVE), (0.2, -EYES_ABOVE), (0, 0.08), (-0.15, 0.25), (0.15, 0.25)]
    landmarks = np.array([(x + across * width, y + down * height) for across, down in marks], np.float32)
    for mark in landmarks:
        cv2.circle(image, tuple(map(int, mark)), max(1, width // 12), 20, -1)
    return landmarks


def write_photographs(folder: Path, count: int = 60) -> Path:
    """Write a folder as `mien.photographs` reads it."""
    (folder / "images").mkdir(parents=True)
    rng, names = np.random.default_rng(0), [f"lm{number}{axis}" for number in range(1, 6) for axis in "xy"]
    rows, empty = [f"file,x,y,width,height,score,{','.join(names)},source,how"], ["file,source"]
    for number in range(count):
        name, image = f"drawn_{number:06}.jpg", rng.integers(40, 110, (96, 128)).astype(np.uint8)
        if number % 4:
            x, y, width = (int(rng.integers(*span)) for span in ((30, 98), (30, 66), (20, 40)))
            marks = draw_face(image, x, y, width, width * 4 // 3).ravel().round(1)
            box = x - width / 2, y - width * 2 / 3, width, width * 4 / 3
            rows.append(",".join(map(str, (name, *box, 0.9, *marks, "drawn", "drawn"))))
        else:
            empty.append(f"{name},drawn")
        cv2.imwrite(str(folder / "images" / name), image)
    (folder / "faces.csv").write_text("\n".join(rows) + "\n")
    (folder / "negatives.csv").write_text("\n".join(empty) + "\n")
    return folder
