"""Any TFLite image classifier behind one function, in whichever runtime is installed.

The one place where a picture becomes a tensor: devices, conversion and benchmarks all come through here.
"""

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.card import TFLITE_MAGIC, TensorSpec

RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite.python.interpreter",  # tensorflow.lite itself has no Interpreter in 2.21
}
"""Package -> module with `Interpreter`, in the order in which they are tried."""


class TFLiteModel:
    """A TFLite model with one input and one output; the interpreter is built once.

    Args:
        content: the file's bytes; `mien.card.read_model` reads them and compares them with the card.
        num_threads: threads of the interpreter.
        runtime: a key of `RUNTIMES`; None takes the first that is installed.

    Attributes:
        runtime: the package that runs it.
        input, output: what the file says of its tensors.

    Raises:
        ValueError: the bytes are no such model, or the runtime refuses them.
        ImportError: no TFLite runtime is installed, or the installed one cannot work.
    """

    def __init__(self, content: bytes, num_threads: int = 1, runtime: str | None = None) -> None:
        if num_threads < 1:
            raise ValueError(f"num_threads is {num_threads}: allowed is 1 or more")
        if content[4:8] != TFLITE_MAGIC:
            raise ValueError("not a TFLite model: give a .tflite file that `python -m convert` wrote")
        self.runtime, interpreter_class = load_runtime(runtime)
        try:
            self._interpreter = interpreter_class(model_content=content, num_threads=num_threads)
            self._interpreter.allocate_tensors()
        except RuntimeError as error:
            raise ValueError(f"{self.runtime} cannot run it: {' '.join(str(error).split())[:300]}") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(f"a model with {len(inputs)} inputs and {len(outputs)} outputs: allowed is one of each")
        self.input, self.output = _spec(inputs[0]), _spec(outputs[0])
        self._input_index, self._output_index = inputs[0]["index"], outputs[0]["index"]
        # Gray level minus 128: a flip of the top bit instead of arithmetic.
        self._is_exact = (self.input.dtype, self.input.scale, self.input.zero_point) == ("int8", 1.0, -128)

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return what the model answers.

        Args:
            images: (N, height, width, channels) uint8, 0-255, as the input's shape says.

        Returns:
            (N, classes) float32.
        """
        answers = np.empty((len(images), self.output.shape[-1]), np.float32)
        for image, row in zip(images, answers, strict=True):
            self._interpreter.set_tensor(self._input_index, self._to_tensor(image)[np.newaxis])
            self._interpreter.invoke()
            output: npt.NDArray[Any] = self._interpreter.get_tensor(self._output_index)[0]
            if self.output.scale is None or self.output.zero_point is None:
                row[:] = output
            else:
                row[:] = (output.astype(np.float32) - self.output.zero_point) * np.float32(self.output.scale)
        return answers

    def _to_tensor(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        if self._is_exact:
            return (image ^ 0x80).view(np.int8)
        if self.input.scale is None or self.input.zero_point is None:
            return image.astype(self.input.dtype)
        limits = np.iinfo(self.input.dtype)
        levels = np.round(image / np.float32(self.input.scale)) + self.input.zero_point
        return levels.clip(limits.min, limits.max).astype(self.input.dtype)


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


def _spec(details: dict[str, Any]) -> TensorSpec:
    scale, zero_point = details["quantization"]
    is_quantized = scale != 0
    return TensorSpec(
        shape=tuple(int(side) for side in details["shape"]),
        dtype=np.dtype(details["dtype"]).name,
        scale=float(scale) if is_quantized else None,
        zero_point=int(zero_point) if is_quantized else None,
    )
