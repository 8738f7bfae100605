"""The loop that tutorials write, to compare with: a cascade over the whole frame, a float model for each face."""

import numpy as np

from benchmarks.models import PUBLISHED
from mien.detectors.haar import load_cascade
from mien.faces import Image
from mien.interpreter import load_runtime

MODEL = PUBLISHED / "cnn" / "cnn_float32.tflite"


class NaiveLoop:
    """Searches each frame anew at its full size and runs the paper's CNN in float32 on each face.

    Args:
        num_threads: threads of the interpreter; those of OpenCV are set for all of the process.

    Raises:
        FileNotFoundError: the model is not in this checkout.
        ImportError: there is no TFLite runtime, or OpenCV has no cascades.
    """

    def __init__(self, num_threads: int) -> None:
        if not MODEL.exists():
            raise FileNotFoundError(f"no model at {MODEL}: run this in a checkout of mien, which has it")
        self._cascade = load_cascade("frontalface_default")
        _, interpreter_class = load_runtime()
        self._interpreter = interpreter_class(model_path=str(MODEL), num_threads=num_threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def recognize(self, frame: Image) -> int:
        """Return how many faces were found, and classified, in (H, W, 3) BGR uint8."""
        import cv2

        gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        boxes = self._cascade.detectMultiScale(gray, 1.1, 5)
        for x, y, width, height in boxes:
            face = cv2.resize(gray[y : y + height, x : x + width], (48, 48)).astype(np.float32)
            self._interpreter.set_tensor(self._input, face[np.newaxis, :, :, np.newaxis])
            self._interpreter.invoke()
            self._interpreter.get_tensor(self._output)[0].argmax()
        return len(boxes)
