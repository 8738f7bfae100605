"""A report says what the model does, beside what the paper reached, and how to repeat it."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.fer2013 import Fer2013
from mien.metrics import measure
from tests.conftest import make_data, require_module

keras = require_module("keras")

from train import training
from train.__main__ import command_of
from train.batches import as_input, divide
from train.config import RECIPES, TrainingConfig
from train.report import write_report

pytestmark = pytest.mark.tensorflow

OPTIONS: dict[str, Any] = {"start": None, "fer_plus_votes": None, "teacher": []}
CONFIG = replace(RECIPES["strong"], model="resemotenet", width=0.06, epochs=2, batch_size=16, mixed_precision=True)


@pytest.fixture(scope="module")
def data() -> Fer2013:
    made = make_data(per_class=20)
    images = made.images.copy()
    images[-5:] = images[:5]  # twins: test images that stand in Training
    return Fer2013(images, made.labels, made.usages)


@pytest.fixture(scope="module")
def run(data: Fer2013, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    sides = divide(data, CONFIG)
    model = training.train(sides, CONFIG, out, {"data_sha256": data.sha256})
    line = write_report(model, data, sides, CONFIG, command_of(CONFIG, OPTIONS))
    assert line.startswith(f"{out / 'report.md'}: ")
    return out


def test_the_figures_are_those_of_the_model_that_was_kept(run: Path, data: Fer2013) -> None:
    network = keras.saving.load_model(run / "model.keras")
    probabilities = network.predict(as_input(data.test.images), verbose=0)
    found = json.loads((run / "evaluation.json").read_text())
    assert found["test"] == measure(data.test.labels, probabilities).to_dict()
    assert found["test_without_twins"]["images"] == len(data.test) - 5
    assert found["test_public"]["images"] + found["test_private"]["images"] == len(data.test)
    best = max(training.read_history(run / "history.csv"), key=lambda row: row["val_accuracy"])
    assert found["validation"]["accuracy"] == pytest.approx(best["val_accuracy"], abs=1e-4)  # as rounded


def test_the_report_puts_the_paper_beside_ours(run: Path) -> None:
    report, found = (run / "report.md").read_text(), json.loads((run / "evaluation.json").read_text())
    for name, accuracy, loss in (("training", "71.1%", ""), ("validation", "59.4%", ""), ("test", "61.9%", "1.0984")):
        ours = found[name]
        assert f"| {name} | {accuracy} | {loss} | {ours['accuracy']:.1%} | {ours['log_loss']:.4f} |" in report
    assert report.startswith(f"# resemotenet at width 0.06, recipe strong: {found['test']['accuracy']:.2%} on 140 test")


def test_the_command_in_the_report_repeats_the_run(run: Path) -> None:
    from train.__main__ import SETTINGS, build_parser

    (line,) = [line for line in (run / "report.md").read_text().splitlines() if line.startswith("    python -m train")]
    arguments = vars(build_parser().parse_args(line.split()[3:]))
    given = {name: value for name, value in arguments.items() if name in SETTINGS}
    assert replace(RECIPES[given["recipe"]], **given) == CONFIG


def test_every_picture_of_the_report_is_there_and_shows_something(run: Path) -> None:
    names = re.findall(r"!\[[^\]]+\]\((\S+)\)", (run / "report.md").read_text())
    assert len(names) == 7
    for name in names:
        picture = cv2.imread(str(run / name))
        assert picture is not None, name
        assert min(picture.shape[:2]) >= 300
        assert picture.std() > 10


def test_the_papers_own_settings_need_no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert command_of(TrainingConfig(), OPTIONS) == "python -m train cnn --recipe paper --data PATH"


def test_what_a_run_was_given_is_in_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    options = {"start": Path("my models/a.keras"), "fer_plus_votes": Path("v.csv"), "teacher": [Path("a"), Path("b c")]}
    assert command_of(TrainingConfig(fer_plus="soft", measured_statistics=False), options) == (
        "KERAS_BACKEND=jax python -m train cnn --recipe paper --data PATH --no-measured-statistics --fer-plus soft "
        "--fer-plus-votes v.csv --start 'my models/a.keras' --teacher a 'b c'"
    )


def test_a_run_that_made_its_start_no_better_says_so(run: Path, data: Fer2013) -> None:
    model = run / "model.keras"
    line = write_report(model, data, divide(data, CONFIG), CONFIG, command_of(CONFIG, OPTIONS), start=model)
    assert re.search(rf"after epoch \d, [\d.]+% before: no better than {model}, which is the one to use$", line)
    assert "## What training changed" in (run / "report.md").read_text()


def test_files_that_a_run_was_given_are_told_by_their_hashes(run: Path, data: Fer2013, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(run, out)
    facts = json.loads((out / "run.json").read_text())
    facts |= {"start": "a.keras", "start_sha256": "12" * 32, "teacher": ["b", "c"]}
    facts |= {"teachers_sha256": ["34" * 32, "56" * 32]}
    (out / "run.json").write_text(json.dumps(facts))
    write_report(out / "model.keras", data, divide(data, CONFIG), CONFIG, command_of(CONFIG, OPTIONS))
    told = "start a.keras `121212121212`, teacher b `343434343434`, teacher c `565656565656`."
    assert told in (out / "report.md").read_text()
    assert "Given were" not in (run / "report.md").read_text()


def test_one_epoch_and_absent_classes_can_be_seen(tmp_path: Path) -> None:
    from train.figures import BLUE, ORANGE, plot_history, plot_recall

    row = {"epoch": 1.0, "loss": 1.5, "accuracy": 0.4, "val_loss": 1.25, "val_accuracy": 0.5, "val_macro_f1": 0.25}
    plot_history([row], row, "one epoch", tmp_path / "history.png")
    picture = cv2.imread(str(tmp_path / "history.png"))[60:, :480]  # accuracy alone
    for colour in (BLUE, ORANGE):
        blue_green_red = [int(colour[i : i + 2], 16) for i in (5, 3, 1)]
        dots = (np.abs(picture.astype(int) - blue_green_red).max(axis=2) < 40).astype(np.uint8)
        assert cv2.erode(dots, np.ones((3, 3))).any()  # more than a line, such as the legend's

    metrics = measure(np.array([0, 3], np.uint8), np.eye(7, dtype=np.float32)[[0, 3]])
    said = []
    with pytest.MonkeyPatch.context() as patch:
        from matplotlib.axes import Axes

        patch.setattr(Axes, "bar_label", lambda self, bars, labels, **options: said.append(labels))
        plot_recall(metrics, "two classes", tmp_path / "recall.png")
    assert said == [["100%", "–", "–", "100%", "–", "–", "–"]] * 2


def test_more_images_than_mistakes_are_no_problem(tmp_path: Path) -> None:
    from train.figures import plot_mistakes

    data = make_data(per_class=2)
    probabilities = np.eye(7, dtype=np.float32)[data.labels]
    plot_mistakes(data, probabilities, tmp_path / "mistakes.png")
    assert cv2.imread(str(tmp_path / "mistakes.png")) is not None
