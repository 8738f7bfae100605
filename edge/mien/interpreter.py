"""Any TFLite classifier or face finder behind one class each, in whichever runtime is installed.

The one place where a picture becomes a tensor: devices, conversion and benchmarks all come through here.
"""

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.card import TFLITE_MAGIC, TensorSpec
from mien.face_maps import GEOMETRY, Map

RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite.python.interpreter",  # tensorflow.lite itself has no Interpreter in 2.21
}
"""Package -> module with `Interpreter`, in the order in which they are tried."""


class _Interpreter:
    """A TFLite file with one input, in a runtime; `allocate` makes it ready for a size of picture."""

    def __init__(self, content: bytes, num_threads: int, runtime: str | None) -> None:
        if num_threads < 1:
            raise ValueError(f"num_threads is {num_threads}: allowed is 1 or more")
        if content[4:8] != TFLITE_MAGIC:
            raise ValueError("not a TFLite model: give a .tflite file that `python -m convert` wrote")
        self.runtime, interpreter_class = load_runtime(runtime)
        try:
            self._interpreter = interpreter_class(model_content=content, num_threads=num_threads)
        except RuntimeError as error:
            raise self._refused(error) from error
        inputs = self._interpreter.get_input_details()
        if len(inputs) != 1:
            raise ValueError(f"a model with {len(inputs)} inputs: allowed is one")
        self._input_index = inputs[0]["index"]

    def _allocate(self, shape: tuple[int, int] | None = None) -> list[dict[str, Any]]:
        """Make ready for pictures of (height, width), or of the file's own size; return what it says of its outputs."""
        try:
            if shape is not None:
                self._interpreter.resize_tensor_input(self._input_index, [1, *shape, 1])
            self._interpreter.allocate_tensors()
        except RuntimeError as error:
            raise self._refused(error) from error
        self.input = _spec(self._interpreter.get_input_details()[0])
        # Gray level minus 128: a flip of the top bit instead of arithmetic.
        self._is_exact = (self.input.dtype, self.input.scale, self.input.zero_point) == ("int8", 1.0, -128)
        return list(self._interpreter.get_output_details())

    def _refused(self, error: RuntimeError) -> ValueError:
        return ValueError(f"{self.runtime} cannot run it: {' '.join(str(error).split())[:300]}")

    def _invoke(self, image: npt.NDArray[np.uint8]) -> None:
        self._interpreter.set_tensor(self._input_index, self._to_tensor(image)[np.newaxis])
        self._interpreter.invoke()

    def _to_tensor(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        if self._is_exact:
            return (image ^ 0x80).view(np.int8)
        if self.input.scale is None or self.input.zero_point is None:
            return image.astype(self.input.dtype)
        limits = np.iinfo(self.input.dtype)
        levels = np.round(image / np.float32(self.input.scale)) + self.input.zero_point
        return levels.clip(limits.min, limits.max).astype(self.input.dtype)

    def _read(self, index: int, spec: TensorSpec) -> npt.NDArray[np.float32]:
        """Return an output's real values, without the batch."""
        output: npt.NDArray[Any] = self._interpreter.get_tensor(index)[0]
        if spec.scale is None or spec.zero_point is None:
            return output.astype(np.float32, copy=False)
        return (output.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)


class TFLiteModel(_Interpreter):
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
        super().__init__(content, num_threads, runtime)
        outputs = self._allocate()
        if len(outputs) != 1:
            raise ValueError(f"a model with {len(outputs)} outputs: allowed is one")
        self.output, self._output_index = _spec(outputs[0]), outputs[0]["index"]

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return what the model answers.

        Args:
            images: (N, height, width, channels) uint8, 0-255, as the input's shape says.

        Returns:
            (N, classes) float32.
        """
        answers = np.empty((len(images), self.output.shape[-1]), np.float32)
        for image, row in zip(images, answers, strict=True):
            self._invoke(image)
            row[:] = self._read(self._output_index, self.output)
        return answers


class TFLiteMaps(_Interpreter):
    """A TFLite face finder for pictures of one size: a pair of maps for each stride.

    Args:
        content: the file's bytes; `mien.finder_card.read_finder` reads them and compares them with the card.
        shape: (height, width) of the pictures, multiples of the last stride.
        num_threads, runtime: as for `TFLiteModel`.

    Attributes:
        runtime: the package that runs it.
        input: what the file says of its input, for these pictures.
        strides: of its maps, in pixels, ascending.

    Raises:
        ValueError, ImportError: as `TFLiteModel`.
    """

    def __init__(
        self, content: bytes, shape: tuple[int, int], num_threads: int = 1, runtime: str | None = None
    ) -> None:
        super().__init__(content, num_threads, runtime)
        pairs: dict[int, dict[int, tuple[int, TensorSpec]]] = {}
        for details in self._allocate(shape):
            spec = _spec(details)
            if len(spec.shape) != 4 or not 0 < spec.shape[1] <= shape[0]:
                raise ValueError(f"not a face finder: it answers with an array of {spec.shape}, not with a map")
            pairs.setdefault(shape[0] // spec.shape[1], {})[spec.shape[3]] = details["index"], spec
        if not pairs or any(set(pair) != {1, GEOMETRY} for pair in pairs.values()):
            raise ValueError("not a face finder: it needs a map of scores and one of geometry for each stride")
        self._pairs = dict(sorted(pairs.items()))
        self.strides = tuple(self._pairs)

    def run(self, picture: npt.NDArray[np.uint8]) -> list[Map]:
        """Return the maps of a (height, width) uint8 picture, the smallest stride first."""
        self._invoke(picture[..., np.newaxis])
        return [
            Map(stride, self._read(*pair[1])[..., 0], self._read(*pair[GEOMETRY]))
            for stride, pair in self._pairs.items()
        ]


def load_runtime(name: str | None = None) -> tuple[str, Any]:
    """Return (package, Interpreter class) of a TFLite runtime; None takes the first installed of `RUNTIMES`.

    Raises:
        ImportError: it is not installed, lacks what it needs, or cannot work with the installed numpy.
        ValueError: the name is not in `RUNTIMES`.
    """
    if name is not None and name not in RUNTIMES:
        raise ValueError(f"unknown runtime {name!r}: allowed are {', '.join(RUNTIMES)}")
    broken = []
    for package in [name] if name else RUNTIMES:
        try:
            interpreter = import_module(RUNTIMES[package]).Interpreter
        except ImportError as error:
            own = RUNTIMES[package].split(".")[0]
            if isinstance(error, ModuleNotFoundError):
                if error.name and error.name.split(".")[0] != own:
                    broken.append(f"{package} lacks {error.name}: pip install --force-reinstall {package} brings it")
            else:  # its library wants another system
                reason = " ".join(str(error).split())
                broken.append(f"{package} cannot be loaded ({reason}): pip install another version, or tflite-runtime")
            continue
        if package == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
            # The import works and Interpreter(...) crashes: it was built against numpy 1.
            broken.append(
                f"tflite-runtime cannot work with numpy {np.__version__}: "
                "pip install 'numpy<2', or pip install ai-edge-litert instead"
            )
            break
        return package, interpreter
    if broken:
        raise ImportError(broken[0])
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
