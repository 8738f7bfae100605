"""From 48x48 faces to emotion probabilities: one TFLite interpreter, built once."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.card import find_model, read_model
from mien.emotions import EMOTIONS
from mien.faces import Image
from mien.interpreter import TFLiteModel
from mien.preprocess import FACE_SIZE

SMALLEST = {"int8": np.float32(1 / 512), "float32": np.float32(1e-7)}
"""By the output's type: what a probability of 0 is taken for where its logarithm counts."""


class EmotionClassifier:
    """Classifies faces with a TFLite model.

    Args:
        model: a name of `mien models`, a path to a `.tflite` file with its card beside it, or None
            for the default model.
        num_threads: threads of the interpreter.
        runtime: a key of `RUNTIMES`; None takes the first that is installed.

    Attributes:
        card: the model's card.
        thresholds: (7,) float32, the confidence of each emotion below which it is unsure.
        runtime: the package that runs the model.

    Raises:
        FileNotFoundError: the model or its card does not exist.
        ValueError: an unknown name, or a file that is no model or not the one of its card.
        ImportError: no TFLite runtime is installed, or the installed one cannot work.
    """

    def __init__(self, model: str | Path | None = None, num_threads: int = 1, runtime: str | None = None) -> None:
        path = find_model(model)
        content, self.card = read_model(path)
        if self.card.labels != EMOTIONS or self.card.input.shape != (1, FACE_SIZE, FACE_SIZE, 1):
            size = "x".join(map(str, self.card.input.shape[1:]))
            raise ValueError(
                f"{path} sorts pictures of {size} into {', '.join(self.card.labels)}; allowed here are faces of "
                f"{FACE_SIZE}x{FACE_SIZE}x1 and {', '.join(EMOTIONS)}"
            )
        self._model = TFLiteModel(content, num_threads, runtime)
        self.runtime = self._model.runtime
        if (self._model.input, self._model.output) != (self.card.input, self.card.output):
            raise ValueError(
                f"{path} maps {self._model.input} to {self._model.output}, its card says "
                f"{self.card.input} and {self.card.output}: convert it again"
            )
        thresholds = self.card.thresholds
        self.thresholds = np.array([thresholds.get(name, 0.0) for name in EMOTIONS], np.float32)

    def predict(self, faces: Image) -> npt.NDArray[np.float32]:
        """Return the probabilities of faces.

        Args:
            faces: (N, 48, 48) uint8, gray, 0-255, as `crop_face` makes them.

        Returns:
            (N, 7) float32 in the order of `EMOTIONS`, at the temperature of the card. Each row sums to
            1; with a temperature of 1, within 3.5/256 (int8 outputs are multiples of 1/256, each off by
            at most about half a step).

        Raises:
            ValueError: `faces` has another shape or type.
        """
        expected = (FACE_SIZE, FACE_SIZE)
        if (
            not isinstance(faces, np.ndarray)
            or faces.ndim != 3
            or faces.shape[1:] != expected
            or faces.dtype != np.uint8
        ):
            got = f"{faces.shape} {faces.dtype}" if isinstance(faces, np.ndarray) else type(faces).__name__
            raise ValueError(f"faces must be (N, {FACE_SIZE}, {FACE_SIZE}) uint8; got {got}")
        probabilities = self._model.predict(faces[..., np.newaxis])
        return at_temperature(probabilities, self.card.temperature, self.card.output.dtype)


def at_temperature(probabilities: npt.NDArray[np.float32], temperature: float, dtype: str) -> npt.NDArray[np.float32]:
    """Return what a softmax gives when its logits are divided by a temperature.

    Args:
        probabilities: (N, 7) from the softmax; may be overwritten.
        temperature: above 0; at 1 the probabilities are left as they are.
        dtype: of the model's output: a probability that int8 rounds to 0 counts as half a step.
    """
    if temperature == 1:
        return probabilities
    np.maximum(probabilities, SMALLEST[dtype], out=probabilities)
    probabilities **= np.float32(1 / temperature)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities
