"""The PyPI package `fer` with its defaults: Haar over the whole frame, its mini-XCEPTION as TFLite.

Read in fer 25.10.3: `FER()` takes OpenCV's frontalface_default (scaleFactor 1.1, minNeighbors 5, faces from 50 pixels),
and, since `use_tflite` is true by default, data/emotion_model_quantized.tflite in TensorFlow's interpreter, built once.
It gives that interpreter no number of threads, and has no argument for it.

Accuracy: each 48x48 face is one picture whose box is all of it, in `detect_emotions(picture, face_rectangles=[box])`,
which scales it to 64x64. FER2013's faces are cut already, so `offsets=(0, 0)` leaves out the ten pixels that the
package by default adds around a detector's box: here they would be a frame of one gray. The answer is the one of the
greatest score, as `top_emotion` takes it.

`fer` imports `pkg_resources`, which setuptools 81 no longer has. An environment of Python 3.11 comes with an older
one; ours starts empty, and those of Python 3.12 and later do, too. So setuptools is bounded here. OpenCV is not: with
Python 3.11 facenet-pytorch's numpy 1 keeps it at 4.11, and a bound of our own would bring other versions.
"""

from typing import Any

NAME = "fer"
REQUIREMENTS = ("fer==25.10.3", "setuptools<81")
IMPORT = "from fer.fer import FER"
PACKAGES = ("fer", "tensorflow", "torch", "opencv-contrib-python", "numpy")
NOTE = (
    "installed with setuptools<81, whose pkg_resources it imports; its interpreter takes no number of threads; "
    "accuracy without the margin that it adds to a detector's box, since FER2013 is cut already"
)


class Peer:
    """`FER()` for frames, `FER(offsets=(0, 0))` for faces that are cut already; both share one interpreter."""

    how = "mini-XCEPTION (quantized TFLite) on TensorFlow, Haar over the whole frame"

    def __init__(self, threads: int) -> None:
        import cv2
        from fer.fer import FER  # type: ignore[import-not-found,unused-ignore]

        cv2.setNumThreads(threads)
        self._detector = FER()
        self._classifier = FER(offsets=(0, 0))

    def classify(self, faces: Any) -> list[str]:
        """Return the likeliest emotion of each of (N, 48, 48) faces."""
        import cv2

        names = []
        for face in faces:
            height, width = face.shape
            picture = cv2.cvtColor(face, cv2.COLOR_GRAY2BGR)
            (answer,) = self._classifier.detect_emotions(picture, face_rectangles=[(0, 0, width, height)])
            names.append(max(answer["emotions"], key=answer["emotions"].get))
        return names

    def look(self, frame: Any, time_s: float) -> int:
        """Return how many faces are in a frame."""
        return len(self._detector.detect_emotions(frame))
