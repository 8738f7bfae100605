"""From 48x48 faces to emotion probabilities: one TFLite interpreter, built once."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.card import ModelCard, find_model, read_card
from mien.emotions import EMOTIONS
from mien.faces import Image
from mien.preprocess import FACE_SIZE

RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite",
}
"""Package -> module with `Interpreter`, in the order in which they are tried."""

SMALLEST = {"int8": np.float32(1 / 512), "float32": np.float32(1e-7)}
"""By the model's type: what a probability of 0 is taken for where its logarithm counts."""

TFLITE_MAGIC = b"TFL3"  # bytes 4-8 of every TFLite flatbuffer


class EmotionClassifier:
    """Classifies faces with a TFLite model.

    Args:
        model: a name of `mien models`, a path to a `.tflite` file with its card beside it, or None
            for the default model.
        num_threads: threads of the interpreter.
        runtime: a key of `RUNTIMES`; None takes the first that is installed.

    Raises:
        FileNotFoundError: the model or its card does not exist.
        ValueError: an unknown name, or a file that is no model or not the one of its card.
        ImportError: no TFLite runtime is installed, or the installed one cannot work.
    """

    def __init__(self, model: str | Path | None = None, num_threads: int = 1, runtime: str | None = None) -> None:
        if num_threads < 1:
            raise ValueError(f"num_threads is {num_threads}: allowed is 1 or more")
        path = find_model(model)
        content = path.read_bytes()
        if content[4:8] != TFLITE_MAGIC:
            raise ValueError(f"{path} is not a TFLite model: give a .tflite file that `python -m convert` wrote")
        self.card: ModelCard = read_card(path.with_suffix(".json"))
        self.card.check(content, path)
        self.runtime, interpreter_class = load_runtime(runtime)
        self._interpreter = interpreter_class(model_content=content, num_threads=num_threads)
        self._interpreter.allocate_tensors()
        (model_input,) = self._interpreter.get_input_details()
        (model_output,) = self._interpreter.get_output_details()
        self._input_index, self._output_index = model_input["index"], model_output["index"]
        self._is_int8 = model_input["dtype"] == np.int8
        shapes = (tuple(model_input["shape"]), tuple(model_output["shape"]))
        if shapes != ((1, FACE_SIZE, FACE_SIZE, 1), (1, len(EMOTIONS))) or (
            np.dtype(model_input["dtype"]).name != self.card.input_type
        ):
            raise ValueError(
                f"{path} maps {model_input['dtype'].__name__} {shapes[0]} to {shapes[1]}, its card says "
                f"{self.card.input_type} faces of {FACE_SIZE}x{FACE_SIZE}: convert it again"
            )
        self._scale, self._zero_point = model_output["quantization"]
        thresholds = self.card.thresholds
        self._thresholds = np.array([thresholds.get(name, 0.0) for name in EMOTIONS], np.float32)

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
        probabilities = np.empty((len(faces), len(EMOTIONS)), np.float32)
        for face, row in zip(faces, probabilities, strict=True):
            row[:] = self._predict_one(face)
        return at_temperature(probabilities, self.card.temperature, self.card.input_type)

    def is_sure(self, probabilities: npt.NDArray[np.float32]) -> bool:
        """Return whether the most probable class of (7,) probabilities reaches its threshold in the card."""
        best = probabilities.argmax()
        return bool(probabilities[best] >= self._thresholds[best])

    def _predict_one(self, face: Image) -> npt.NDArray[np.float32]:
        # Flipping the top bit turns the gray level into gray - 128, read as int8.
        tensor = (face ^ 0x80).view(np.int8) if self._is_int8 else face.astype(np.float32)
        self._interpreter.set_tensor(self._input_index, tensor[np.newaxis, :, :, np.newaxis])
        self._interpreter.invoke()
        output: npt.NDArray[Any] = self._interpreter.get_tensor(self._output_index)[0]
        if self._is_int8:
            return (output.astype(np.float32) - self._zero_point) * np.float32(self._scale)
        return output


def at_temperature(
    probabilities: npt.NDArray[np.float32], temperature: float, input_type: str
) -> npt.NDArray[np.float32]:
    """Return what a softmax gives when its logits are divided by a temperature.

    Args:
        probabilities: (N, 7) from the softmax; may be overwritten.
        temperature: above 0; at 1 the probabilities are left as they are.
        input_type: of the model: a probability that int8 rounds to 0 counts as half a step.
    """
    if temperature == 1:
        return probabilities
    np.maximum(probabilities, SMALLEST[input_type], out=probabilities)
    probabilities **= np.float32(1 / temperature)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities


def load_runtime(name: str | None = None) -> tuple[str, Any]:
    """Return (package, Interpreter class) of a TFLite runtime; None takes the first installed of `RUNTIMES`.

    Raises:
        ImportError: it is not installed, or cannot work with the installed numpy.
        ValueError: the name is not in `RUNTIMES`.
    """
    if name is not None and name not in RUNTIMES:
        raise ValueError(f"unknown runtime {name!r}: allowed are {', '.join(RUNTIMES)}")
    for package in [name] if name else RUNTIMES:
        try:
            interpreter = import_module(RUNTIMES[package]).Interpreter
        except ModuleNotFoundError:
            continue
        if package == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
            # The import works and Interpreter(...) crashes: it was built against numpy 1.
            raise ImportError(
                f"tflite-runtime cannot work with numpy {np.__version__}: "
                "pip install 'numpy<2', or pip install ai-edge-litert instead"
            )
        return package, interpreter
    wanted = name or "TFLite runtime"
    raise ImportError(f"{wanted} is not installed: pip install 'mien[edge]' brings a TFLite runtime")
