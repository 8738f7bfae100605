"""Raspberry Pi boards, and what others have published of their speed: each figure with its source.

What nobody has published is derived by a stated ratio. `benchmarks/expectation.py` computes with it.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple


class Range(NamedTuple):
    """From the least to the most that is to be expected, both above 0.

    Ranges multiply as uncertainties do that know nothing of each other: the middles (geometric means) multiply, the
    squares of the logarithms' half widths add. Taking each one's worst end at once would make any of them useless.
    """

    low: float
    high: float

    def times(self, other: "Range") -> "Range":
        """Return the product with a range of factors."""
        middle = math.sqrt(self.low * self.high * other.low * other.high)
        width = math.exp(math.hypot(math.log(self.high / self.low), math.log(other.high / other.low)) / 2)
        return Range(middle / width, middle * width)

    def per(self, other: "Range") -> "Range":
        """Return the quotient."""
        return self.times(Range(1 / other.high, 1 / other.low))


@dataclass(frozen=True)
class Board:
    """A board, with its four cores at work.

    Attributes:
        name: of the board.
        processor: cores and clock.
        memory: that there is, in words.
        gmacs_per_s: G multiply-adds/s in int8.
        pass_ms: a Haar cascade over 320x320 pixels, scale factor 1.1, every size of face.
    """

    name: str
    processor: str
    memory: str
    gmacs_per_s: Range
    pass_ms: Range


MOBILENET_GMACS = 0.569
"""Multiply-adds of MobileNet V1 at 224x224. Source: Howard et al. 2017, arXiv:1704.04861, table 8."""

NCNN_MS = {"Zero 2 W": 91.0, "3 B+": 67.4, "4 B": 40.3}
"""MobileNet V1 in int8 on 4 threads, mean of 8 runs.

Source: https://github.com/Tencent/ncnn/issues/3485 (Zero 2 W; 4 B at 1.5 GHz), .../3451 (3 B+)."""

XNNPACK_MS = {"3 B+": 46.0, "4 B": 24.0}
"""The same in XNNPACK, which ai-edge-litert runs; all cores. 3 B+ in 32 bit, 4 B in 64.

Source: https://github.com/google/XNNPACK/blob/master/README.md, "Raspberry Pi"."""

ZERO_2_W_SLOWER = Range(91.0 / 67.4, 1.4)
"""Than a 3 B+: as ncnn measured it, and by the clocks (1.0 and 1.4 GHz of the same Cortex-A53)."""

PI_3_SLOWER = Range(67.4 / 40.3, 3.0)
"""Than a 4 B: as ncnn measured it, and "~3x performance" in the 4 B's announcement.

Source: https://www.raspberrypi.com/news/raspberry-pi-4-on-sale-now-from-35/"""

PI_5_FASTER = Range(2.0, 3.0)
"""Than a 4 B. Source: https://www.raspberrypi.com/news/introducing-raspberry-pi-5/ ("two to three times")."""

DOT_PRODUCT = Range(1.0, 2.0)
"""Derived: the Pi 5's SDOT does 16 multiply-adds of int8 in one instruction, the others' SMLAL 8."""

PI_4_PASS_MS = Range(95.0, 122.0)
"""`frontalface_default` over 320x320 on 4 threads at 1.5 GHz, five photographs; `alt2`, mien's, took 101-105 on three.

Source: https://github.com/TonyCongqianWang/cv_facedetection_eval/blob/main/time_comparison_pi.md"""

PASS_SPEEDUP = 3.1
"""The least that 4 threads gained over one there, on three photographs; the most was 3.3."""

PASS_SIDE = 320
"""Width and height of the picture of such a pass, in pixels."""


def _throughput(slow_ms: float, fast_ms: float) -> Range:
    return Range(1000 * MOBILENET_GMACS / slow_ms, 1000 * MOBILENET_GMACS / fast_ms)


_PI_4_GMACS = _throughput(NCNN_MS["4 B"], XNNPACK_MS["4 B"])
_PI_3_PASS_MS = PI_4_PASS_MS.times(PI_3_SLOWER)
BOARDS = (
    Board(
        "Raspberry Pi Zero 2 W",
        "4 Cortex-A53, 1.0 GHz",
        "512 MB",
        _throughput(NCNN_MS["Zero 2 W"], XNNPACK_MS["3 B+"] * ZERO_2_W_SLOWER.high),
        _PI_3_PASS_MS.times(ZERO_2_W_SLOWER),
    ),
    Board(
        "Raspberry Pi 3 B+",
        "4 Cortex-A53, 1.4 GHz",
        "1 GB",
        _throughput(NCNN_MS["3 B+"], XNNPACK_MS["3 B+"]),
        _PI_3_PASS_MS,
    ),
    Board("Raspberry Pi 4 B", "4 Cortex-A72, 1.5 GHz", "1 GB and more", _PI_4_GMACS, PI_4_PASS_MS),
    Board(
        "Raspberry Pi 5",
        "4 Cortex-A76, 2.4 GHz",
        "1 GB and more",
        _PI_4_GMACS.times(PI_5_FASTER).times(DOT_PRODUCT),
        PI_4_PASS_MS.per(PI_5_FASTER),
    ),
)
