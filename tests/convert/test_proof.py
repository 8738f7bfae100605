"""The gate, on answers that are made up."""

from dataclasses import replace

import numpy as np
import pytest

from convert.proof import Variant, compare, refusal
from convert.runtimes import Answers
from mien.emotions import EMOTIONS

COUNT = 1000


def answers_of(classes: np.ndarray) -> np.ndarray:
    """Return answers that name these classes, all about equally sure."""
    answers = np.full((len(classes), 7), 0.1, np.float32)
    answers[np.arange(len(classes)), classes] = 0.4
    return answers


def make_variant(lost: int, gained: int, answered: int = COUNT) -> Variant:
    """Return a variant that errs on `lost` images that Keras has right, and the other way round on `gained`."""
    labels = np.zeros(COUNT, np.uint8)
    keras, file = np.zeros(COUNT, int), np.zeros(COUNT, int)
    file[:lost] = 1
    keras[lost : lost + gained] = 2
    found = Answers("1.0", answers_of(file)[:answered])
    return Variant("int8", "net_int8", proofs=(compare("new", found, answers_of(keras), labels, EMOTIONS, 1.0),))


def test_points_lost_are_counted_on_the_same_images() -> None:
    (proof,) = make_variant(lost=20, gained=12).proofs
    assert proof.drop == pytest.approx(0.8)
    assert proof.agreement == pytest.approx(1 - 32 / COUNT)
    assert proof.difference == pytest.approx(0.3)
    # A paired difference varies with the images that changed: 1.96 * sqrt(32 - 8**2 / 1000) / 1000, in points.
    assert proof.drop_interval == pytest.approx(1.1076, abs=0.0001)
    assert not proof.is_partial


@pytest.mark.parametrize(("lost", "is_refused"), [(5, False), (6, True)])
def test_the_gate_is_where_it_is_said_to_be(lost: int, is_refused: bool) -> None:
    text = refusal([make_variant(lost, gained=0)], max_drop=0.5)
    assert bool(text) == is_refused
    if is_refused:
        assert text.startswith("net_int8 loses 0.60 points of accuracy in new, allowed is 0.5: --debug shows")


@pytest.mark.parametrize(("lost", "is_refused"), [(6, False), (20, True)])
def test_a_part_of_the_images_refuses_only_what_is_no_chance(lost: int, is_refused: bool) -> None:
    variant = make_variant(lost, gained=0, answered=COUNT // 2)
    assert variant.proofs[0].is_partial
    assert bool(refusal([variant], max_drop=0.5)) == is_refused


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_answers_that_are_no_numbers_never_pass() -> None:
    labels = np.zeros(4, np.uint8)
    nothing = Answers("1.0", np.full((4, 7), np.nan, np.float32))
    proof = compare("new", nothing, answers_of(np.zeros(4, int)), labels, EMOTIONS, 1.0)
    assert "differs from Keras by nan" in refusal([Variant("int8", "net_int8", proofs=(proof,))], 0.5)


def test_a_variant_that_fails_somewhere_decides_nothing_for_the_others() -> None:
    broken = replace(make_variant(100, gained=0), failures={"old": "it crashed"})
    assert refusal([broken, make_variant(0, gained=0)], 0.5) == ""
    assert refusal([broken], 0.5) == "no variant passes its proof, net_int8 not in old: it crashed"
