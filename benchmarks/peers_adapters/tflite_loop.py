"""The loop of tutorials for a Raspberry Pi: Haar over the whole frame, `tflite-runtime` on each face.

The model is our paper's CNN in float32, the same as in `keras_loop.py`; the interpreter is built once.
tflite-runtime 2.14.0 is the last one, for Python up to 3.11, and wants numpy 1, which OpenCV from 4.12 on does not.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "models" / "cnn"

NAME = "tflite-runtime loop"
REQUIREMENTS = ("tflite-runtime==2.14.0", "numpy<2", "opencv-python-headless<4.12")
IMPORT = "import cv2; from tflite_runtime.interpreter import Interpreter"
PACKAGES = ("tflite-runtime", "opencv-python-headless", "numpy")


class Peer:
    """`detectMultiScale(gray, 1.1, 5)`, then the interpreter on one face after the other."""

    how = "cnn in float32 on tflite-runtime, Haar over the whole frame"

    def __init__(self, threads: int) -> None:
        import cv2
        from tflite_runtime.interpreter import Interpreter

        cv2.setNumThreads(threads)
        self._cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
        self._interpreter = Interpreter(model_path=str(FOLDER / "cnn_float32.tflite"), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._names = json.loads((FOLDER / "cnn_float32.json").read_text())["labels"]

    def classify(self, faces: Any) -> list[str]:
        """Return the likeliest emotion of each of (N, 48, 48) faces."""
        return [self._classify(face) for face in faces]

    def look(self, frame: Any, time_s: float) -> int:
        """Return how many faces are in a frame."""
        import cv2

        gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        boxes = self._cascade.detectMultiScale(gray, 1.1, 5)
        for x, y, width, height in boxes:
            self._classify(cv2.resize(gray[y : y + height, x : x + width], (48, 48)))
        return len(boxes)

    def _classify(self, face: Any) -> str:
        self._interpreter.set_tensor(self._input, face[None, ..., None].astype("float32"))
        self._interpreter.invoke()
        name: str = self._names[self._interpreter.get_tensor(self._output)[0].argmax()]
        return name
