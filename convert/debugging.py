"""Where int8 loses most: the error of each layer's output, layer by layer."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.flatbuffer import read_graph
from convert.quantization import activations, layers_of
from mien.files import write_whole

COMPARED_IMAGES = 50


@dataclass(frozen=True)
class LayerError:
    """What quantization does to one operator's output.

    Attributes:
        number: of the operator, from the input on.
        operator: its kind.
        layers: the Keras layers that are fused in it; none for the last step.
        error: root of the mean square of the difference from float32, as a share of that of the values:
            what all layers up to this one lost together.
    """

    number: int
    operator: str
    layers: tuple[str, ...]
    error: float


def measure_layer_errors(float32: bytes, int8: bytes, images: npt.NDArray[np.uint8]) -> list[LayerError]:
    """Compare the activations of the two files on images, (N, height, width, channels) uint8; the worst first."""
    numbers = {tensor.name: number for number, tensor in enumerate(read_graph(float32).tensors)}
    graph = read_graph(int8)
    operators = {graph.tensors[operator.outputs[0]].name: number for number, operator in enumerate(graph.operators)}
    operators = {name: number for name, number in operators.items() if name in numbers}
    names = [{numbers[name]: name for name in operators}]
    names.append({graph.operators[number].outputs[0]: name for name, number in operators.items()})
    images = images[:COMPARED_IMAGES]
    power, noise = dict.fromkeys(operators, 0.0), dict.fromkeys(operators, 0.0)
    original, rounded = activations(float32, images, names[0]), activations(int8, images, names[1])
    for (name, values), (_, found) in zip(original, rounded, strict=True):
        power[name] += float(np.square(values).sum())
        noise[name] += float(np.square(values - found).sum())
    errors = [
        LayerError(number, graph.operators[number].name, tuple(layers_of(name)), math.sqrt(noise[name] / power[name]))
        for name, number in operators.items()
        if power[name]
    ]
    return sorted(errors, key=lambda entry: -entry.error)


def table(errors: list[LayerError]) -> str:
    """Return the ranking as text."""
    lines = [f"{'error':>7}  {'':>3}  {'operator':16} layers"]
    for entry in errors:
        layers = " + ".join(entry.layers) or "the output"
        lines.append(f"{entry.error:7.2%}  {entry.number:3}  {entry.operator:16} {layers}")
    return "\n".join(lines)


def plot(errors: list[LayerError], path: Path) -> None:
    """Draw the errors in the order of the graph, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    ordered = sorted(errors, key=lambda entry: entry.number)
    names = [" + ".join(entry.layers[:2]) or "output" for entry in ordered]
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.24 * len(ordered)), layout="constrained")
    axes.barh(range(len(ordered)), [100 * entry.error for entry in ordered], color="#4477aa")
    axes.set_yticks(range(len(ordered)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("difference from float32, % of the values (root mean square)")
    axes.set_title("What int8 has lost after each layer")
    axes.spines[["top", "right"]].set_visible(False)
    write_whole(path, lambda unfinished: figure.savefig(unfinished, dpi=120))
    plt.close(figure)
