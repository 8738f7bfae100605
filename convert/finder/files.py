"""From the face finder's Keras model to its two files: float32, and int8 with no floating point left."""

from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import keras
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from convert.finder.pictures import HEIGHT, MULTIPLE, WIDTH
from convert.flatbuffer import read_graph
from convert.keras_model import read_keras
from convert.quantization import check_int8, layers_of, measure_ranges, quantize, to_float32
from mien.card import TFLITE_MAGIC, TensorSpec
from mien.face_maps import GEOMETRY
from mien.native_log import quiet_native_log

MAX_BYTES = 250_000
"""Of int8: it is in the wheel."""


@dataclass(frozen=True)
class FinderFiles:
    """What the conversion of a face finder makes.

    Attributes:
        contents: "float32" and "int8" -> the file.
        strides: of the maps, in pixels.
        parameters: weights, biases and the statistics of batch normalization.
        multiply_adds: of a whole picture.
    """

    contents: dict[str, bytes]
    strides: tuple[int, ...]
    parameters: int
    multiply_adds: int


def load_finder(keras_file: Path) -> keras.Model:
    """Load a face finder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no Keras model, or no face finder.
    """
    model = read_keras(keras_file)
    strides_of(model, keras_file)
    return model


def strides_of(model: keras.Model, keras_file: Path) -> tuple[int, ...]:
    """Return the strides that a finder answers at, ascending.

    Raises:
        ValueError: it is no face finder.
    """
    allowed = f"allowed are maps scores8, geometry8 ({GEOMETRY} channels) and so on of a gray picture of any size"
    inputs, answers = getattr(model, "inputs", None) or [], getattr(model, "output", None)
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[3] != 1 or not isinstance(answers, dict):
        raise ValueError(f"{keras_file} is not a face finder: {allowed}")
    fixed = [side for side in inputs[0].shape[1:3] if side is not None]
    channels = {name: answer.shape[-1] for name, answer in answers.items()}
    strides = sorted(int(name.removeprefix("scores")) for name in channels if name.removeprefix("scores").isdigit())
    wanted = {f"{name}{stride}": size for stride in strides for name, size in (("scores", 1), ("geometry", GEOMETRY))}
    if not strides or channels != wanted or any(MULTIPLE % stride for stride in strides) or fixed:
        raise ValueError(f"{keras_file} answers {', '.join(channels)} to {tuple(inputs[0].shape[1:])}: {allowed}")
    return tuple(strides)


def make_files(model: keras.Model, keras_file: Path, calibration: npt.NDArray[np.uint8]) -> FinderFiles:
    """Convert a face finder.

    Args:
        model: from `load_finder`.
        keras_file: where it came from.
        calibration: (N, HEIGHT, WIDTH, 1) uint8, the representative dataset.

    Raises:
        ValueError: it cannot be converted, or int8 is too large.
    """
    with quiet_native_log():
        float32 = shorten_names(to_float32(model, (HEIGHT, WIDTH, 1)))
        try:
            int8 = quantize(float32, "int8", measure_ranges(float32, calibration))
        except (RuntimeError, KeyError, NotImplementedError) as error:  # the quantizer's own
            raise ValueError(f"{keras_file} cannot be quantized ({' '.join(str(error).split())[:200]})") from error
    check_int8(int8)
    if len(int8) > MAX_BYTES:
        raise ValueError(f"int8 has {len(int8):,} bytes, allowed are {MAX_BYTES:,}: train it with fewer filters")
    contents = {"float32": float32, "int8": int8}
    multiply_adds = read_graph(float32).multiply_adds
    return FinderFiles(contents, strides_of(model, keras_file), model.count_params(), multiply_adds)


def shorten_names(content: bytes) -> bytes:
    """Return the file with short names of tensors: the converter's make up a tenth of a file as small as this.

    A tensor is called like the last layer that had a part in it; numbers keep names apart.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        layers = layers_of(tensor.name.decode())
        tensor.name = f"{layers[-1] if layers else 'tensor'}:{number}"
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=TFLITE_MAGIC)
    return bytes(builder.Output())


def input_spec(content: bytes) -> TensorSpec:
    """Return what a file says of its input."""
    graph = read_graph(content)
    source = graph.tensors[graph.inputs[0]]
    if not len(source.scales):
        return TensorSpec(source.shape, source.type.lower())
    return TensorSpec(source.shape, source.type.lower(), float(source.scales[0]), source.zero_point)
