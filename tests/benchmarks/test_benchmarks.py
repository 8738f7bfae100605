"""Benchmarks measure what they say, on the machine that they name."""

import numpy as np
import pytest

from benchmarks.__main__ import main


def test_crop_margin_measures_a_face_of_known_size(portrait: np.ndarray) -> None:
    from benchmarks.crop_margin import measure_crop_margin
    from mien.detectors import HaarDetector
    from mien.fer2013 import Fer2013
    from mien.preprocess import crop_face, to_gray

    gray = to_gray(portrait)
    (box,) = HaarDetector().detect(gray)
    image = crop_face(gray, box, margin=0.1)[np.newaxis]
    data = Fer2013(image, np.zeros(1, np.uint8), np.zeros(1, np.uint8))
    figures = measure_crop_margin(data, 1)
    assert figures["margin"] == pytest.approx(0.1, abs=0.05)
    assert figures["centre_x"] == pytest.approx(24, abs=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latency", "--models", "resnet"], "error: unknown model 'resnet'"),
        (["latency", "--models", "no.keras"], "error: no model at no.keras"),
        (["latency", "--json", "no/where.json"], "error: cannot write no/where.json"),
    ],
)
def test_a_mistake_gets_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    output = capsys.readouterr().err
    assert output.startswith(message)
    assert len(output.splitlines()) == 1
