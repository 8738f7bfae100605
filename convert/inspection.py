"""A `.tflite` file as a table: operators, shapes, quantization, multiply-adds, memory."""

from convert.flatbuffer import Graph, Tensor, read_graph


def inspect(content: bytes) -> str:
    """Return the table of a file's bytes.

    Raises:
        ValueError: they are no TFLite model.
    """
    graph = read_graph(content)
    header = ("", "operator", "output", "type", "scale", "zero point", "weights", "scales", "multiply-adds")
    rows = [header, *(_row(number, graph) for number in range(len(graph.operators)))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    # Names to the left, figures to the right.
    lines = [
        "  ".join(
            cell.ljust(width) if column in (1, 2, 3, 6) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    weights = sum(tensor.size_bytes for tensor in graph.tensors if tensor.is_constant)
    floats = graph.float_operators()
    return "\n".join(
        [
            *(f"input   {_describe(graph.tensors[number])}" for number in graph.inputs),
            *(f"output  {_describe(graph.tensors[number])}" for number in graph.outputs),
            "",
            *lines,
            "",
            f"{len(graph.operators)} operators, {len(floats)} of them in floating point",
            f"{graph.multiply_adds / 1e6:.2f} M multiply-adds",
            f"{len(content) / 1e3:,.1f} kB of file, {weights / 1e3:,.1f} kB of weights",
            f"{graph.peak_memory_bytes() / 1e3:,.1f} kB of activations at once, at the least",
        ]
    )


def _row(number: int, graph: Graph) -> tuple[str, ...]:
    operator = graph.operators[number]
    output = graph.tensors[operator.outputs[0]]
    constants = [graph.tensors[index] for index in operator.inputs if graph.tensors[index].is_constant]
    weights = constants[0] if operator.multiply_adds and constants else None
    return (
        str(number),
        operator.name,
        _shape(output),
        output.type,
        f"{output.scales[0]:.6g}" if len(output.scales) else "",
        str(output.zero_point) if len(output.scales) else "",
        f"{_shape(weights)} {weights.type}" if weights else "",
        f"{len(weights.scales)}" if weights and len(weights.scales) else "",
        f"{operator.multiply_adds:,}" if operator.multiply_adds else "",
    )


def _describe(tensor: Tensor) -> str:
    scale = f", scale {tensor.scales[0]:.6g}, zero point {tensor.zero_point}" if len(tensor.scales) else ""
    return f"{tensor.name}: {_shape(tensor)} {tensor.type}{scale}"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
