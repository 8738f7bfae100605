"""What a TFLite model consists of, and how long each operator takes.

The runtimes tell Python the operators and their tensors, but no operator's time (ai-edge-litert 2.3, tflite-runtime
2.14). So it is measured: a model cut off after k operators, minus the one cut off after k - 1.
"""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.interpreter import load_runtime
from mien.native_log import quiet_native_log

MIN_ROUNDS, RUNS_A_ROUND = 5, 3
ROWS = 12


@dataclass(frozen=True)
class Operator:
    """An operator of a model.

    Attributes:
        name: TFLite's, as CONV_2D.
        output_shape: with the batch first.
        multiply_adds: of one run; operators without weights count as 0.
        weights_dtype: "int8" or "float32"; "" without weights.
    """

    name: str
    output_shape: tuple[int, ...]
    multiply_adds: int
    weights_dtype: str


def read_operators(content: bytes, runtime: str | None = None) -> list[Operator]:
    """Return a model's operators in the order in which they run.

    Args:
        content: of the `.tflite` file.
        runtime: as `load_runtime` takes it.
    """
    with quiet_native_log():
        interpreter = load_runtime(runtime)[1](model_content=content)
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    # Private, but the same in all runtimes since 2021; the tests would tell of its end.
    details = [entry for entry in interpreter._get_ops_details() if entry["op_name"] != "DELEGATE"]
    return [_operator(entry, tensors) for entry in details]


def _operator(entry: dict[str, Any], tensors: dict[int, dict[str, Any]]) -> Operator:
    inputs = [tensors.get(int(index)) for index in entry["inputs"]]
    output = tuple(int(side) for side in tensors[int(entry["outputs"][0])]["shape"])
    weights = inputs[1] if len(inputs) > 1 else None
    shape = [int(side) for side in weights["shape"]] if weights else []
    positions = inputs[2]["shape"] if entry["op_name"] == "TRANSPOSE_CONV" and inputs[2] else output
    multiply_adds = int(np.prod(positions)) * _multiply_adds_a_value(entry["op_name"], shape)
    return Operator(
        name=entry["op_name"],
        output_shape=output,
        multiply_adds=multiply_adds,
        weights_dtype=np.dtype(weights["dtype"]).name if weights and multiply_adds else "",
    )


def _multiply_adds_a_value(name: str, weights: list[int]) -> int:
    """Return the multiply-adds for each value of the output; of the input, for TRANSPOSE_CONV.

    The shapes of the weights are those of TFLite's kernels: CONV_2D and TRANSPOSE_CONV (out, height, width, in),
    DEPTHWISE_CONV_2D (1, height, width, out), FULLY_CONNECTED (out, in).
    """
    if name == "CONV_2D":
        return int(np.prod(weights[1:]))
    if name == "DEPTHWISE_CONV_2D":
        return int(np.prod(weights[1:3]))
    if name == "TRANSPOSE_CONV":
        return int(np.prod(weights[:3]))
    return weights[-1] if name == "FULLY_CONNECTED" else 0


def arithmetic(operators: list[Operator]) -> str:
    """Return "int8" or "float32": in which most multiply-adds are done.

    int8 weights with float32 inputs (dynamic quantization) count as int8, since the kernels quantize the inputs;
    float16 weights are made float32 before, and count as such.
    """
    counts: Counter[str] = Counter()
    for operator in operators:
        counts["int8" if operator.weights_dtype == "int8" else "float32"] += operator.multiply_adds
    return counts.most_common(1)[0][0] if counts else "float32"


def write_prefixes(model: Path, folder: Path) -> list[Path]:
    """Write the model cut off after its first operator, after its second, and so on.

    Whatever a later operator needs is an output of a cut model, so that nothing is left out as unused.

    Raises:
        ImportError: ai-edge-litert, which knows the files' schema, is not installed.
    """
    try:
        from ai_edge_litert.tools import flatbuffer_utils
    except ImportError as error:
        raise ImportError("--profile needs ai-edge-litert, which writes models: pip install ai-edge-litert") from error
    content = bytearray(model.read_bytes())
    count = len(flatbuffer_utils.read_model_from_bytearray(content).subgraphs[0].operators)
    files = []
    for length in range(1, count + 1):
        cut = _cut(flatbuffer_utils.read_model_from_bytearray(content), length)
        files.append(folder / f"{length}.tflite")
        files[-1].write_bytes(flatbuffer_utils.convert_object_to_bytearray(cut))
    return files


def _cut(model: Any, length: int) -> Any:
    """Cut off a schema's `ModelT` after so many operators."""
    graph = model.subgraphs[0]
    kept, later = graph.operators[:length], graph.operators[length:]
    wanted = {int(index) for operator in later for index in operator.inputs} | {int(index) for index in graph.outputs}
    graph.outputs = [int(index) for operator in kept for index in operator.outputs if int(index) in wanted]
    graph.operators = kept
    model.signatureDefs = None  # they name the old output
    used = {int(index) for operator in kept for index in operator.inputs}
    buffers = {graph.tensors[index].buffer for index in used if index >= 0}
    for index, buffer in enumerate(model.buffers):
        if index not in buffers:
            buffer.data = None  # weights of the operators that were cut off
        elif buffer.data is not None:
            buffer.data = np.frombuffer(buffer.data, np.uint8)  # an array is written at once, bytes one by one
    return model


def time_prefixes(files: list[Path], runtime: str, threads: int, seconds: float) -> list[dict[str, float]]:
    """Time cut models in turns; return what each takes more than the one before.

    Args:
        seconds: after which no further round is begun.

    Returns:
        For each operator {"median_ms", "error_ms"}: the median of the rounds' differences, and half its 95 % interval
        (McGill et al. 1978, doi:10.2307/2683468: 1.57 x interquartile range / root of the rounds). The first has the
        call's own cost in it. Differences of measurements: one near 0 may come out negative.
    """
    interpreters = [_build(file, runtime, threads) for file in files]
    end_s = time.perf_counter() + seconds
    rounds: list[list[float]] = []
    while len(rounds) < MIN_ROUNDS or time.perf_counter() < end_s:
        rounds.append([_median_ms(interpreter) for interpreter in interpreters])
    differences = np.diff(np.array(rounds), axis=1, prepend=0)
    low, middle, high = np.percentile(differences, [25, 50, 75], axis=0)
    errors = 1.57 * (high - low) / len(rounds) ** 0.5
    return [
        {"median_ms": round(float(median), 5), "error_ms": round(float(error), 5)}
        for median, error in zip(middle, errors, strict=True)
    ]


def _build(file: Path, runtime: str, threads: int) -> Any:
    with quiet_native_log():
        interpreter = load_runtime(runtime)[1](model_path=str(file), num_threads=threads)
        interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    values: npt.NDArray[np.int64] = np.random.default_rng(0).integers(-128, 128, details["shape"])
    interpreter.set_tensor(details["index"], values.astype(details["dtype"]))
    return interpreter


def _median_ms(interpreter: Any) -> float:
    interpreter.invoke()  # brings its weights into the caches
    times_ms = []
    for _ in range(RUNS_A_ROUND):
        start_s = time.perf_counter()
        interpreter.invoke()
        times_ms.append((time.perf_counter() - start_s) * 1000)
    return float(np.median(times_ms))


def profile_table(profile: list[dict[str, Any]]) -> str:
    """Return the profiles as Markdown: each model's slowest operators in the order in which they run."""
    lines = [
        "By operator: the time of the model cut off after it minus that of the model cut off before it, "
        f"medians ± 95 %; the {ROWS} slowest of each model, in the order in which they run."
    ]
    for entry in profile:
        lines += ["", f"{entry['model']}, {entry['runtime']}, {_threads(entry['threads'])}:", ""]
        lines += [
            "| operator | output | M multiply-adds | ms | share | G multiply-adds/s |",
            "|---|---|---|---|---|---|",
        ]
        slowest = sorted(entry["operators"], key=lambda operator: -operator["median_ms"])
        lines += [_row(operator) for operator in entry["operators"] if operator in slowest[:ROWS]]
        rest = slowest[ROWS:]
        if rest:
            rest_ms = sum(operator["median_ms"] for operator in rest)
            lines.append(f"| {len(rest)} others | | | {rest_ms:.3f} | | |")
    return "\n".join(lines)


def _row(operator: dict[str, Any]) -> str:
    multiply_adds, median_ms = operator["multiply_adds"], operator["median_ms"]
    rate = f"{multiply_adds / median_ms / 1e6:.1f}" if multiply_adds and median_ms > operator["error_ms"] else "–"
    shape = "x".join(map(str, operator["output_shape"][1:]))
    return (
        f"| {operator['index'] + 1} {operator['operator']} | {shape} | {multiply_adds / 1e6:.2f} "
        f"| {median_ms:.3f} ± {operator['error_ms']:.3f} | {operator['share']:.1%} | {rate} |"
    )


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
