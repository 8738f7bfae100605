"""What a person reads of a face finder's conversion: a table, and conversion.md."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from convert.finder.pictures import HEIGHT, WIDTH
from convert.finder.results import FinderConversion
from mien.detection_metrics import MIN_WIDTH
from mien.files import write_text_whole


def table(conversion: FinderConversion) -> str:
    """Return the files side by side, as Markdown."""
    titles = ("file", "bytes", "runtime", "average precision", "precision", "recall", "false boxes", "ms a picture")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for proof in conversion.proofs:
        size = len(conversion.files.contents[proof.variant])
        lines.append(
            f"| finder_{proof.variant} | {size:,} | {proof.runtime} {proof.version} | {proof.average_precision:.4f} | "
            f"{proof.precision:.1%} | {proof.recall:.1%} | {proof.false_boxes} | {proof.latency_ms:.2f} |"
        )
    return "\n".join(lines)


def write_report(conversion: FinderConversion, words: Sequence[str], out: Path) -> Path:
    """Write conversion.md into `out`; return its path."""
    chosen, files, fit = conversion.thresholds, conversion.files, conversion.framing
    int8 = next(proof for proof in conversion.proofs if proof.variant == "int8")
    framing = conversion.card_framing
    lines = [
        "# Conversion of the face finder",
        "",
        f"    {shlex.join(words)}",
        "",
        f"{files.parameters:,} parameters, {files.multiply_adds / 1e6:.0f} M multiply-adds for a picture of "
        f"{WIDTH}x{HEIGHT}. {conversion.converter}.",
        "",
        table(conversion),
        "",
        f"On {conversion.photographs} test photographs, shrunk to {WIDTH} pixels, with {conversion.faces} faces wider "
        f"than {MIN_WIDTH:.0%} of them; {conversion.empty} show no face. Average precision counts all scores; the rest "
        f"are those from {chosen.score} on, false boxes on the photographs without a face. Likely places were looked "
        "at twice, as a device does. Times are of one look at a whole picture on one thread.",
        "",
    ]
    if not conversion.same_data:
        lines += ["The run learnt from other photographs than these: it may have seen those that it is tested on.", ""]
    if conversion.refused:
        lines += [f"Nothing was written: {conversion.refused}.", ""]
    for one, most in conversion.differences.items():
        lines.append(f"- {one}: scores differ by {most} at most between the runtimes.")
    lines += ["", "| width of the face, of the picture's | faces | found by int8 |", "|---|---|---|"]
    for band, (found, faces) in int8.found_by_width.items():
        lines.append(f"| {band} | {faces} | {found / max(faces, 1):.1%} |")
    lines += [
        "",
        f"Thresholds were chosen on {chosen.photographs} validation photographs, {chosen.empty} of them without a "
        f"face: {chosen.score} leaves {chosen.false_boxes} false boxes on those (recall {chosen.rates.recall:.1%}); "
        f"{chosen.known}, half the odds that one look would need, is for known faces.",
        "",
        f"The square for a classifier has {framing.side} roots of the box's area as its side, its centre "
        f"{framing.rise} roots above the middle of eyes and mouth.",
    ]
    if fit:
        lines[-1] += (
            f" Fitted on {fit.images:,} Training images of FER2013 in larger pictures; a face was found in "
            f"{fit.found:.1%}. The centre is off by {fit.centre_errors[0]:.1%} of the side in the median, "
            f"{fit.centre_errors[1]:.1%} at the 90th percentile, the size by {fit.size_errors[0]:.1%} and "
            f"{fit.size_errors[1]:.1%}."
        )
    write_text_whole(out / "conversion.md", "\n".join(lines) + "\n")
    return out / "conversion.md"
