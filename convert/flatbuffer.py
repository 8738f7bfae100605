"""What a `.tflite` file holds, read from the file itself and not from the runtime that would run it."""

import struct
from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from mien.card import TFLITE_MAGIC

TYPE_BYTES = {
    "FLOAT32": 4,
    "FLOAT16": 2,
    "INT8": 1,
    "UINT8": 1,
    "BOOL": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FLOAT64": 8,
}
FLOAT_TYPES = ("FLOAT32", "FLOAT16", "FLOAT64")
CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
"""Operators between float and integer: they follow from a float operator, and are none themselves."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph.

    Attributes:
        type: as the schema calls it, "INT8", "FLOAT32", ...
        scales: one a tensor or one a channel; empty without quantization.
        zero_point: of the first channel.
        is_constant: whether the file holds its values (weights), rather than the runtime.
        content: these values' bytes; empty if it is not constant.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    scales: npt.NDArray[np.float32]
    zero_point: int
    is_constant: bool
    content: bytes = field(default=b"", repr=False)

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes."""
        return prod(self.shape) * TYPE_BYTES.get(self.type, 4)


@dataclass(frozen=True)
class Operator:
    """An operator: the tensors that it reads and writes, by number, and what it costs."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    multiply_adds: int


@dataclass(frozen=True)
class Graph:
    """A model's main graph."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one inference."""
        return sum(operator.multiply_adds for operator in self.operators)

    def float_operators(self) -> list[Operator]:
        """Return the operators that compute with floating point numbers, conversions left out."""
        return [
            operator
            for operator in self.operators
            if operator.name not in CONVERSIONS
            and any(
                self.tensors[number].type in FLOAT_TYPES
                for number in (*operator.inputs, *operator.outputs)
                if not self.tensors[number].is_constant
            )
        ]

    def peak_memory_bytes(self) -> int:
        """Return the most that activations take at once: what a runtime's arena cannot be smaller than."""
        last = len(self.operators)
        begins = dict.fromkeys(self.inputs, 0)
        ends = dict.fromkeys(self.outputs, last)
        for time, operator in enumerate(self.operators):
            for number in operator.outputs:
                begins.setdefault(number, time)
            for number in (*operator.inputs, *operator.outputs):
                ends[number] = max(ends.get(number, 0), time)
        return max(
            sum(self.tensors[number].size_bytes for number, begin in begins.items() if begin <= time <= ends[number])
            for time in range(last)
        )


def read_graph(content: bytes) -> Graph:
    """Read the main graph of a `.tflite` file.

    Raises:
        ValueError: it is none, or damaged.
    """
    if content[4:8] != TFLITE_MAGIC:
        raise ValueError("not a TFLite model: give a .tflite file")
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        graph = model.subgraphs[0]
        contents = [_read_buffer(buffer, content) for buffer in model.buffers]
        tensors = tuple(_read_tensor(tensor, contents[tensor.buffer]) for tensor in graph.tensors)
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
        operators = tuple(_read_operator(operator, codes, tensors) for operator in graph.operators)
        inputs, outputs = _numbers(graph.inputs), _numbers(graph.outputs)
        used = [*inputs, *outputs, *(number for op in operators for number in (*op.inputs, *op.outputs))]
        if not operators or not inputs or not outputs or not all(0 <= number < len(tensors) for number in used):
            raise ValueError("its graph does not hold together")
        if not all(operator.outputs for operator in operators):
            raise ValueError("an operator has no output")
    except (struct.error, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"a damaged TFLite model ({error}): copy or convert it again") from error
    return Graph(tensors, operators, inputs, outputs)


def _read_buffer(buffer: schema.BufferT, file: bytes) -> bytes:
    """Return a tensor's values; large ones stand behind the flatbuffer, at an offset of the file."""
    if buffer.data is not None:
        return bytes(buffer.data)
    return file[buffer.offset : buffer.offset + buffer.size] if buffer.offset > 1 else b""


def _read_tensor(tensor: schema.TensorT, content: bytes) -> Tensor:
    quantization = tensor.quantization
    is_quantized = quantization is not None and quantization.scale is not None
    return Tensor(
        name=tensor.name.decode(),
        shape=_numbers(tensor.shape),
        type=_name_of(schema.TensorType, tensor.type),
        scales=np.asarray(quantization.scale if is_quantized else [], np.float32),
        zero_point=int(quantization.zeroPoint[0]) if is_quantized else 0,
        is_constant=len(content) > 0,
        content=content,
    )


def _read_operator(operator: schema.OperatorT, codes: list[int], tensors: tuple[Tensor, ...]) -> Operator:
    name = _name_of(schema.BuiltinOperator, codes[operator.opcodeIndex])
    inputs = tuple(number for number in _numbers(operator.inputs) if number >= 0)  # -1: an optional one left out
    outputs = _numbers(operator.outputs)
    shapes = [tensors[number].shape for number in inputs]
    return Operator(name, inputs, outputs, _multiply_adds(name, shapes, tensors[outputs[0]].shape if outputs else ()))


def _multiply_adds(name: str, inputs: list[tuple[int, ...]], output: tuple[int, ...]) -> int:
    """Weights are (filters, height, width, channels), of dense layers (outputs, inputs)."""
    if name == "CONV_2D":
        return prod(output) * prod(inputs[1][1:])
    if name == "DEPTHWISE_CONV_2D":
        return prod(output) * prod(inputs[1][1:3])
    if name == "TRANSPOSE_CONV":
        return prod(inputs[2]) * inputs[1][0] * prod(inputs[1][1:3])
    if name == "FULLY_CONNECTED":
        return prod(output) * inputs[1][-1]
    if name == "BATCH_MATMUL":
        return prod(output) * inputs[0][-1]
    return 0


def _name_of(enumeration: type, value: int) -> str:
    return next((name for name, number in vars(enumeration).items() if number == value), f"operator {value}")


def _numbers(values: npt.ArrayLike | None) -> tuple[int, ...]:
    return () if values is None else tuple(int(value) for value in np.asarray(values).ravel())
