"""The loop of most tutorials: Haar over the whole frame, Keras' `model.predict` on each face.

The model is our paper's CNN in float32, the same as in `tflite_loop.py`, so that loops are compared, not networks.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "models" / "cnn"

NAME = "Keras loop"
REQUIREMENTS = ("tensorflow>=2.18", "keras>=3.11", "opencv-python-headless<5")
IMPORT = "import cv2, keras"
PACKAGES = ("tensorflow", "keras", "opencv-python-headless", "numpy")


class Peer:
    """`detectMultiScale(gray, 1.1, 5)`, then `predict` on one face after the other."""

    how = "cnn in float32 on TensorFlow, model.predict a face, Haar over the whole frame"

    def __init__(self, threads: int) -> None:
        import cv2
        import keras

        cv2.setNumThreads(threads)
        self._cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
        self._model = keras.models.load_model(FOLDER / "model.keras", compile=False)
        self._names = json.loads((FOLDER / "cnn_float32.json").read_text())["labels"]

    def classify(self, faces: Any) -> list[str]:
        """Return the likeliest emotion of each of (N, 48, 48) faces."""
        answers = self._model.predict(faces[..., None].astype("float32"), verbose=0)
        return [self._names[place] for place in answers.argmax(axis=1)]

    def look(self, frame: Any, time_s: float) -> int:
        """Return how many faces are in a frame."""
        import cv2

        gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        boxes = self._cascade.detectMultiScale(gray, 1.1, 5)
        for x, y, width, height in boxes:
            face = cv2.resize(gray[y : y + height, x : x + width], (48, 48))
            self._model.predict(face[None, ..., None].astype("float32"), verbose=0).argmax()
        return len(boxes)
