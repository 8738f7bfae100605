"""`conversion.md`: the variants side by side, for people."""

import shlex
from datetime import UTC, datetime
from pathlib import Path

from convert.conversion import Conversion
from convert.proof import Proof, Variant
from mien.device import processor_name
from mien.files import write_text_whole

HEADER = (
    "variant",
    "size",
    "runtime",
    "images",
    "accuracy",
    "macro F1",
    "points lost",
    "same first class",
    "largest difference",
    "1 thread",
)


def write_report(conversion: Conversion, command: list[str], out: Path) -> Path:
    """Write the report of a conversion into a folder; return its path.

    Args:
        conversion: what came of it, files or none.
        command: the words of the command, to repeat it.
        out: the folder.
    """
    path = out / "conversion.md"
    write_text_whole(path, _text(conversion, command))
    return path


def table(conversion: Conversion) -> str:
    """Return the comparison as a Markdown table."""
    rows = [HEADER, ("---",) * len(HEADER)]
    base = len(conversion.float32)
    for variant in conversion.variants:
        for proof in variant.proofs:
            rows.append(_row(variant, proof, base))
        for runtime, reason in variant.failures.items():
            rows.append((variant.name, _size(variant, base), runtime, f"fails: {reason}", *[""] * 6))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(variant: Variant, proof: Proof, base: int) -> tuple[str, ...]:
    return (
        variant.name,
        _size(variant, base),
        f"{proof.runtime} {proof.version}",
        f"{proof.metrics.images:,}",
        f"{proof.metrics.accuracy:.1%} ± {100 * proof.metrics.interval:.1f}",
        f"{proof.metrics.macro_f1:.1%}",
        f"{proof.drop:+.2f} ± {proof.drop_interval:.2f}",
        f"{proof.agreement:.1%}",
        f"{proof.difference:.4f}",
        f"{proof.latency_ms:.2f} ms",
    )


def _size(variant: Variant, base: int) -> str:
    if not variant.content:
        return ""
    return f"{len(variant.content) / 1e3:,.0f} kB ({len(variant.content) / base:.0%})"


def _text(conversion: Conversion, command: list[str]) -> str:
    calibration, settings = conversion.calibration, conversion.settings
    stem, name = conversion.variants[0].stem, conversion.variants[0].name
    validated = (
        "the run's own validation images, without twins of test images"
        if conversion.is_own_validation
        else "images the network may have learnt from"
    )
    origin = (
        "from Training alone, without those that the run validated on and those with a byte-identical twin in the test "
        "sets"
        if conversion.has_tests
        else "from the folder of images"
    )
    verdict = (
        f"**Refused**: {conversion.refused}. No file was written; what an earlier conversion left is as it was."
        if conversion.refused
        else f"Passed: no file loses more than {settings.max_drop} points (`--max-drop`) in any runtime; where one "
        "answered a part of the images, no more than that and chance."
    )
    parts = [
        f"# {stem.removesuffix(f'_{name}')}, converted",
        f"    {shlex.join(command)}",
        f"{datetime.now(UTC).date().isoformat()}, {conversion.converter}, on {processor_name()}.",
        verdict,
        table(conversion),
        "Accuracy is on validation data: "
        + validated
        + ". The first so many of them in a random order, where a runtime "
        "is slow; the test images are for `python -m benchmarks accuracy`. ± is the 95 % interval. Points lost: "
        "accuracy less than Keras' on the same images. Same first class, and the largest difference of one "
        "probability, are against Keras, too. 1 thread: median of one image, here.",
        "## Operators with floating-point activations",
        "\n".join(_operators(variant) for variant in conversion.variants),
        "## Calibration",
        f"{len(calibration.rows)} images, equally many of each class, {origin}; seed {calibration.seed}, method "
        f"{settings.method}. "
        f"The hash of their row numbers is `{calibration.sha256}`.",
    ]
    if settings.keep_float:
        parts.append(f"Kept in floating point: {', '.join(settings.keep_float)}.")
    if confident := [variant for variant in conversion.variants if variant.confidence]:
        parts += ["## Confidence", "\n".join(_confidence(variant) for variant in confident)]
    return "\n\n".join(parts) + "\n"


def _operators(variant: Variant) -> str:
    if not variant.content:
        return f"- {variant.name}: not made"
    if not variant.float_operators:
        return f"- {variant.name}: none"
    return f"- {variant.name}: {', '.join(f'{count} {name}' for name, count in variant.float_operators.items())}"


def _confidence(variant: Variant) -> str:
    chosen = variant.confidence
    assert chosen is not None
    return (
        f"- {variant.name}: temperature {chosen.temperature}, expected calibration error {chosen.error:.3f}, without "
        f"it {chosen.error_before:.3f}"
    )
