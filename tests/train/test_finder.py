"""The face finder: what it is shown, what it shall answer, and how a run goes."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mien.detection_metrics import Truth, average_precision
from mien.face_maps import Map, decode, overlaps, suppress
from mien.photographs import Photograph, read_photographs
from tests.faces_folder import draw_face, write_photographs
from train.__main__ import main
from train.finder.damage import blur, cover_face, disturb, light, shade_face, wear_spectacles
from train.finder.views import MAX_LEAN_DEGREES, Source, View, draw_view

SIDE = 160


def source(x: int = 100, y: int = 80, width: int = 40, height: int = 54) -> Source:
    image = np.full((160, 200), 90, np.uint8)
    landmarks = draw_face(image, x, y, width, height)
    box = np.array([[x - width / 2, y - height / 2, width, height]], np.float32)
    return Source(Photograph(Path("drawn.jpg"), box, landmarks[None], np.zeros((0, 4), np.float32)), image)


def empty_source() -> Source:
    nothing = np.zeros((0, 4), np.float32)
    return Source(
        Photograph(Path("empty.jpg"), nothing, np.zeros((0, 5, 2), np.float32), nothing),
        np.full((90, 120), 70, np.uint8),
    )


def views(count: int = 60) -> list[View]:
    sources = [source(), empty_source()]
    return [draw_view(sources, 0, SIDE, np.random.default_rng(seed)) for seed in range(count)]


def test_a_views_landmarks_lie_in_its_boxes() -> None:
    seen = [(box, marks) for view in views() for box, marks in zip(view.boxes, view.landmarks, strict=True)]
    assert len(seen) > 30
    for (left, top, width, height), marks in seen:
        assert (marks >= (left - 1, top - 1)).all() and (marks <= (left + width + 1, top + height + 1)).all()


def test_no_face_of_a_view_leans_by_more_than_allowed_and_none_stands_on_its_head() -> None:
    leans = []
    for view in views(120):
        for right_eye, left_eye, _, _, _ in view.landmarks:
            across = left_eye - right_eye
            leans.append(np.degrees(np.arctan2(across[1], across[0])))
    # A view may be a little narrower than the picture, which turns an oblique line by some degrees more.
    assert np.abs(leans).max() <= MAX_LEAN_DEGREES + 5
    assert np.abs(leans).max() > 15


def test_faces_of_views_have_all_sizes() -> None:
    heights = np.concatenate([view.boxes[:, 3] for view in views(200)])
    assert heights.min() < 0.08 * SIDE
    assert heights.max() > 0.7 * SIDE


def test_the_same_seed_gives_the_same_view() -> None:
    first, second = (draw_view([source(), empty_source()], 0, SIDE, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.boxes, second.boxes)


def test_a_face_that_is_hardly_in_the_view_is_neither_face_nor_background() -> None:
    cut_off = [view for view in views(200) if len(view.ignored)]
    assert cut_off
    for view in cut_off:
        for box in view.ignored:
            start, end = np.clip(box[:2], 0, SIDE), np.clip(box[:2] + box[2:], 0, SIDE)
            assert (end - start).prod() < 0.52 * box[2:].prod() or box[2] < 7.5


def test_spectacles_change_the_eyes_and_leave_the_mouth_alone() -> None:
    drawn = source(width=80, height=100, y=70)
    landmarks, before = drawn.photograph.landmarks[0], drawn.image
    after = before.copy()
    wear_spectacles(after, landmarks, np.random.default_rng(1))
    changed = np.argwhere(after != before)
    eyes_y, mouth_y = landmarks[0, 1], landmarks[3, 1]
    assert len(changed) > 100
    assert changed[:, 0].max() < (eyes_y + mouth_y) / 2 + 5


def test_what_covers_a_face_leaves_most_of_the_picture_alone() -> None:
    drawn = source()
    for seed in range(20):
        after = drawn.image.copy()
        cover_face(after, drawn.photograph.boxes[0], empty_source().image, np.random.default_rng(seed))
        face_share = 40 * 54 / drawn.image.size
        assert 0 < (after != drawn.image).mean() < face_share


def test_a_shaded_face_is_darker_and_the_rest_of_the_picture_is_not() -> None:
    drawn = source(x=150)
    for seed in range(20):
        after = drawn.image.copy()
        shade_face(after, drawn.photograph.boxes[0], np.random.default_rng(seed))
        assert after[80, 150] < 0.75 * drawn.image[80, 150] + 1
        assert np.array_equal(after[:, :30], drawn.image[:, :30])


def test_a_large_face_may_be_blurred_more_than_a_small_one() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (160, 160), np.uint8)
    small, large = (
        min(float(blur(noise, np.random.default_rng(seed), face)[20:-20, 20:-20].std()) for seed in range(20))
        for face in (20.0, 150.0)
    )
    assert large < small / 2


def profile_source() -> Source:
    """Return a photograph of two faces: one from the front, one whose nose is beyond its eyes."""
    front = source().photograph
    landmarks = np.concatenate([front.landmarks, front.landmarks + np.array([-50, 0], np.float32)])
    landmarks[1, 2, 0] = landmarks[1, 0, 0] - 2
    boxes = np.concatenate([front.boxes, front.boxes - np.array([50, 0, 0, 0], np.float32)])
    return Source(Photograph(front.file, boxes, landmarks, front.ignored), source().image)


def test_profiles_and_faces_without_landmarks_are_hard_and_looked_at_more_often() -> None:
    both, nothing = profile_source(), np.zeros((0, 4), np.float32)
    assert both.is_hard.tolist() == [False, True]
    assert both.shares.tolist() == [0.25, 0.75]
    unmarked = Photograph(Path("voc.jpg"), both.photograph.boxes[:1], np.full((1, 5, 2), np.nan, np.float32), nothing)
    assert Source(unmarked, both.image).is_hard.tolist() == [True]
    assert empty_source().is_hard.tolist() == []


@pytest.mark.tensorflow
def test_an_epoch_has_each_photograph_once_and_hard_ones_twice() -> None:
    from train.finder.training import Batches, FinderConfig

    sources = [source(), profile_source(), empty_source()] * 4
    batches = Batches(sources, FinderConfig(batch_size=2), epoch=3)
    assert len(batches) == 8
    seen = np.bincount(batches._order, minlength=12)
    assert seen.tolist() == [1, 2, 1] * 4
    images, targets = batches.make(0)
    assert images.shape[0] == len(targets["target8"]) == 2


@pytest.mark.tensorflow
def test_scores_of_large_faces_are_raised_where_they_lose_against_small_things() -> None:
    from train.finder.judge import Judge, balance_scores, choose_shifts, find_all
    from train.models.finder import build

    answers = {name: array.repeat(2, axis=0) for name, array in _answers(-9.0).items()}
    answers["scores8"][:, 3, 4] = 0.2  # a thing
    answers["scores32"][:, 2, 2] = 0.0  # a face
    (face,) = [found.take(found.scores == 0.5).boxes for found in find_all(answers)[:1]]
    truths = [Truth(SIDE, face, face[:0])] * 2
    assert average_precision(find_all(answers), truths) < 0.6
    shifts = choose_shifts(answers, truths)
    assert shifts == {8: 0.0, 16: 0.0, 32: 0.3}
    assert average_precision(find_all(answers, shifts), truths) == 1

    class Judged(Judge):
        def __init__(self) -> None:
            self.truths = truths

        def answer(self, network: object) -> dict[str, npt.NDArray[np.float32]]:
            return answers

    network = build()
    before = {stride: float(network.get_layer(f"scores{stride}").bias[0]) for stride in shifts}
    assert balance_scores(network, Judged()) == shifts
    for stride, shift in shifts.items():
        assert float(network.get_layer(f"scores{stride}").bias[0]) == pytest.approx(before[stride] + shift)


@pytest.mark.tensorflow
def test_photographs_without_a_face_to_judge_by_are_refused_before_training(tmp_path: Path) -> None:
    from train.finder.training import FinderConfig, train_finder

    data = write_photographs(tmp_path / "faces")
    seen = read_photographs(data, "training")
    empty = [photograph for photograph in read_photographs(data, "validation") if not len(photograph.boxes)]
    with pytest.raises(ValueError, match=r"none of the \d+ validation photographs has a face wider than 3%"):
        train_finder(seen, empty, FinderConfig(epochs=1), tmp_path / "run", {})
    assert not (tmp_path / "run").exists()


@pytest.mark.tensorflow
def test_the_loss_of_an_epoch_is_the_mean_of_its_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from train.finder import training
    from train.finder.training import FinderConfig, Learner, train_finder

    losses: list[float] = []
    train_on_batch = Learner.train_on_batch

    def noted(*arguments: Any, **named: Any) -> Any:
        logs = train_on_batch(*arguments, **named)
        losses.append(float(logs["loss"]))
        return logs

    monkeypatch.setattr(Learner, "train_on_batch", noted)
    data = write_photographs(tmp_path / "faces")
    seen, held_back = (read_photographs(data, part) for part in ("training", "validation"))
    train_finder(seen, held_back, FinderConfig(epochs=1, batch_size=4), tmp_path / "run", {})
    (row,) = training.read_history(tmp_path / "run" / "history.csv")
    assert len(losses) > 1
    assert row["loss"] == pytest.approx(np.mean(losses), abs=1e-4)


@pytest.mark.parametrize("damage", [light, disturb, blur])
def test_damage_keeps_the_form_of_a_picture(damage: object) -> None:
    assert callable(damage)
    for seed in range(10):
        image = draw_view([source()], 0, 64, np.random.default_rng(seed)).image
        damaged = damage(image, np.random.default_rng(seed))
        assert damaged.shape == image.shape
        assert damaged.dtype == np.uint8


@pytest.mark.tensorflow
def test_targets_mean_the_boxes_that_they_were_made_from() -> None:
    from train.finder.targets import FACE, make_targets

    for view in views(40):
        targets = make_targets(view.boxes, view.landmarks, view.ignored, SIDE)
        maps = [
            Map(
                int(name.removeprefix("target")),
                np.where(target[..., FACE] > 0, 9, -9).astype(np.float32),
                target[..., :14],
            )
            for name, target in targets.items()
        ]
        found = suppress(decode(maps, 0.5), 0.5)
        same = overlaps(view.boxes, found.boxes)
        for number, row in enumerate(same):
            others = np.delete(overlaps(view.boxes[number : number + 1], view.boxes)[0], number)
            if len(others) == 0 or others.max() < 0.01:  # two faces in one place are one answer
                assert row.max() > 0.999
                assert np.allclose(found.landmarks[row.argmax()], view.landmarks[number], atol=0.01)


@pytest.mark.tensorflow
def test_nothing_is_demanded_of_an_ignored_place() -> None:
    from train.finder.targets import COUNTS, finder_loss, make_targets

    nothing, landmarks = np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32)
    ignored = np.array([[0, 0, SIDE, SIDE]], np.float32)
    targets = {name: target[None] for name, target in make_targets(nothing, landmarks, ignored, SIDE).items()}
    assert all(target[..., COUNTS].max() == 0 for target in targets.values())
    assert float(finder_loss(targets, _answers(9.0))) == 0
    demanding = {name: target[None] for name, target in make_targets(nothing, landmarks, nothing, SIDE).items()}
    assert float(finder_loss(demanding, _answers(9.0))) > 100


def _answers(score: float) -> dict[str, npt.NDArray[np.float32]]:
    """Return what a network answers that gives one score to every cell."""
    answers = {}
    for stride in (8, 16, 32):
        count = SIDE // stride
        answers[f"scores{stride}"] = np.full((1, count, count, 1), score, np.float32)
        answers[f"geometry{stride}"] = np.zeros((1, count, count, 14), np.float32)
    return answers


@pytest.mark.tensorflow
def test_the_right_answer_costs_least() -> None:
    from train.finder.targets import FACE, finder_loss, make_targets

    boxes = np.array([[30, 40, 36, 46]], np.float32)
    landmarks = draw_face(np.zeros((SIDE, SIDE), np.uint8), 48, 63, 36, 46)[None]
    targets = {
        name: target[None]
        for name, target in make_targets(boxes, landmarks, np.zeros((0, 4), np.float32), SIDE).items()
    }
    right: dict[str, npt.NDArray[np.float32]] = {}
    for name, target in targets.items():
        stride = name.removeprefix("target")
        right[f"scores{stride}"] = np.where(target[..., FACE : FACE + 1] > 0, 9, -9).astype(np.float32)
        right[f"geometry{stride}"] = target[..., :14]
    least = float(finder_loss(targets, right))
    assert least < 0.01
    shifted = {name: value + 0.3 if name.startswith("geometry") else value for name, value in right.items()}
    unsure = {name: value * 0 if name.startswith("scores") else value for name, value in right.items()}
    assert float(finder_loss(targets, shifted)) > least + 0.1
    assert float(finder_loss(targets, unsure)) > least + 0.1


@pytest.mark.tensorflow
def test_the_network_answers_at_each_stride_for_any_multiple_of_32() -> None:
    from train.complexity import measure_complexity
    from train.models.finder import STRIDES, build

    network = build()
    for height, width in ((128, 160), (256, 320), (96, 96)):
        answers = network.predict_on_batch(np.zeros((1, height, width, 1), np.float32))
        for stride in STRIDES:
            assert answers[f"scores{stride}"].shape == (1, height // stride, width // stride, 1)
            assert answers[f"geometry{stride}"].shape == (1, height // stride, width // stride, 14)
    cost = measure_complexity(build(120, 160))
    assert cost.multiply_adds <= 30e6
    assert cost.int8_bytes <= 250e3


@pytest.mark.tensorflow
def test_a_run_trains_stops_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = write_photographs(tmp_path / "faces"), tmp_path / "run"
    command = ["finder", "--data", str(data), "--out", str(out), "--epochs", "2", "--batch-size", "16"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "epoch 2/2" in printed and "report.md" in printed
    history = (out / "history.csv").read_text().splitlines()
    assert history[0] == "epoch,loss,val_average_precision" and len(history) == 3
    report = (out / "report.md").read_text()
    assert "python -m train finder --data PATH --epochs 2 --batch-size 16" in report
    assert {"history.png", "views.png", "model.keras"} <= {path.name for path in out.iterdir()}
    assert json.loads((out / "run.json").read_text())["model"] == "finder"

    assert main(command) == 1  # a run is not overwritten
    assert "--resume" in capsys.readouterr().err
    assert main([*command, "--resume", "--learning-rate", "0.1"]) == 1
    assert re.search(r"learning_rate was 0\.002, now 0\.1", capsys.readouterr().err)
    assert main([*command, "--resume"]) == 0  # nothing is left to do
    assert (out / "history.csv").read_text().splitlines() == history


@pytest.mark.tensorflow
def test_wrong_data_are_named_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finder", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.strip().startswith("error: no faces.csv in")
    data = write_photographs(tmp_path / "faces", 8)
    next((data / "images").iterdir()).unlink()
    assert main(["finder", "--data", str(data), "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: no picture at") and "\n" not in error
    assert not (tmp_path / "run").exists()
