"""What someone can ask of a conversion; without TensorFlow, so that `--help` is quick."""

from dataclasses import dataclass

VARIANTS = ("float32", "float16", "dynamic", "int8", "int16x8")
STATIC = ("int8", "int16x8")
"""Those whose activations have fixed ranges, which calibration measures."""

METHODS = ("min-max", "percentile")


@dataclass(frozen=True)
class Settings:
    """What someone asked for.

    Attributes:
        variants: of `VARIANTS`.
        method: of calibration, of `METHODS`.
        keep_float: layers that int8 and int16x8 leave in floating point.
        max_drop: points of accuracy that a variant may lose in a runtime.
        seed: of the draw of validation images.
        licence: SPDX identifier for the cards.
    """

    variants: tuple[str, ...] = VARIANTS[:4]
    method: str = METHODS[0]
    keep_float: tuple[str, ...] = ()
    max_drop: float = 0.5
    seed: int = 0
    licence: str = ""
