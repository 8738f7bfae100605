"""The shapes of MienNet that were tried; without Keras, so that naming them is quick."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Shape:
    """One form of the network.

    Attributes:
        stages: (filters, blocks) of each; every stage halves the side, but for the first one after
            a stem that does.
        stem: filters of the first convolution.
        stem_stride: its stride.
        block: "residual", "folding", "inverted" or "separable".
        squeeze: whether squeeze-and-excitation ends each block.
    """

    stages: tuple[tuple[int, int], ...]
    stem: int = 16
    stem_stride: int = 1
    block: str = "residual"
    squeeze: bool = False


SHAPES = {
    "base": Shape(((32, 1), (64, 2), (128, 2))),
    "late": Shape(((32, 1), (64, 1), (128, 3))),
    "early": Shape(((32, 3), (64, 2), (96, 1))),
    "wide": Shape(((48, 1), (96, 1), (144, 1))),
    "deep": Shape(((24, 2), (48, 3), (96, 4))),
    "four": Shape(((32, 1), (64, 1), (128, 2), (128, 1))),
    "half": Shape(((24, 1), (56, 2), (128, 2)), stem=24, stem_stride=2),
    "big": Shape(((32, 2), (64, 2), (128, 2))),
    "small": Shape(((24, 1), (48, 2), (112, 2))),
    "medium": Shape(((32, 1), (64, 2), (112, 2))),
    "small-early": Shape(((24, 2), (48, 2), (112, 2))),
    "small-late": Shape(((24, 1), (48, 2), (112, 3))),
    "inverted": Shape(((24, 2), (48, 3), (96, 3)), block="inverted"),
    "separable": Shape(((64, 2), (128, 3), (256, 3)), block="separable"),
    "squeeze": Shape(((32, 1), (64, 2), (128, 2)), squeeze=True),
    "folding": Shape(((32, 1), (64, 2), (128, 2)), block="folding"),
}
"""By name."""


def plain_shape(name: str) -> str:
    """Return the shape that a network of this one is kept in: branches are folded when it is written."""
    plain = replace(SHAPES[name], block="residual") if SHAPES[name].block == "folding" else SHAPES[name]
    return next(other for other, shape in SHAPES.items() if shape == plain)
