"""Learning from networks of our own: their answers for the training images become soft labels.

Hinton et al. 2015, *Distilling the Knowledge in a Neural Network*, arXiv:1503.02531. The answers are
means over several networks and several random views of each image, taken once before training, and
of probabilities as they are: no temperature softens them.
"""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from rich.progress import track

from mien.fer2013 import Fer2013
from mien.files import write_whole
from train.augmentation import build_augmentation
from train.batches import Array, Sides, as_input, class_shares
from train.config import RECIPES, TrainingConfig, check_split, config_of, read_run
from train.learner import FULL_SIZE, load_network, seed_random_streams

VIEWS = 4
"""Random views of each image that a teacher is asked about, drawn with the paper's augmentation."""

SOFT_LABELS = "soft_labels.npy"
BATCH = 256


def distil(
    sides: Sides, teachers: list[Path], config: TrainingConfig, out: Path, data_sha256: str, resume: bool = False
) -> Sides:
    """Mix the teachers' answers into the labels of the training images.

    Args:
        sides: the data; validation images are not looked at.
        teachers: folders of finished runs.
        config: says how much the answers count, and how the data were divided.
        out: the run's folder, where the answers are kept.
        data_sha256: of the data set.
        resume: take the answers that are kept there.

    Raises:
        FileNotFoundError: a folder holds no finished run.
        ValueError: a teacher learnt from other images than those that this run learns from.
    """
    for teacher in teachers:
        _check_teacher(teacher, config, data_sha256)
    kept = out / SOFT_LABELS
    if resume and kept.exists():
        answers = _read_answers(kept)
    else:
        answers = np.mean([ask(teacher, sides.training, config.seed) for teacher in teachers], axis=0)
        out.mkdir(parents=True, exist_ok=True)
        write_whole(kept, lambda path: np.save(path, answers))
    share = config.teacher_share
    return replace(sides, targets=((1 - share) * sides.targets + share * answers).astype(np.float32))


def _read_answers(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read ({error}): remove it, and the teachers are asked again") from error


def ask(run: Path, training: Fer2013, seed: int) -> Array:
    """Return a teacher's mean answer over random views of each image, (N, 7) float32.

    A teacher that was trained to make up for class imbalance, in whichever way, answers as if each class's share
    were divided by its `imbalance_power`-th power. What it was taught were labels with their real shares; so are
    its answers here, for its pupil may adjust, too.
    """
    network = load_network(run / "model.keras")
    layers = build_augmentation(replace(RECIPES["paper"], seed=seed), FULL_SIZE)
    augment = keras.Sequential([keras.Input((FULL_SIZE, FULL_SIZE, 1)), *layers])
    answers = np.zeros((len(training), network.output_shape[-1]), np.float32)
    starts = range(0, len(training), BATCH)
    for step in track(range(VIEWS * len(starts)), description=f"asking {run.name}", transient=True):
        view, start = step // len(starts), starts[step % len(starts)]
        if start == 0:
            seed_random_streams(augment, seed, view)
        faces = augment(as_input(training.images[start : start + BATCH]), training=True)
        answers[start : start + BATCH] += network.predict_on_batch(faces) / VIEWS
    teacher = config_of(read_run(run))
    if teacher.imbalance != "none":
        answers *= class_shares(training.labels) ** teacher.imbalance_power
        answers /= answers.sum(axis=1, keepdims=True)
    return answers.astype(np.float32)


def _check_teacher(run: Path, config: TrainingConfig, data_sha256: str) -> None:
    """Raise unless `run` is finished and learnt from the images that a run with these settings learns from.

    A teacher that had seen validation images would tell its pupil about them, and the figure that
    the best epoch is chosen by would be flattered.
    """
    if missing := [name for name in ("run.json", "model.keras", "evaluation.json") if not (run / name).exists()]:
        raise FileNotFoundError(f"the teacher {run} has no {missing[0]}: give the folder of a finished run")
    if read_run(run).get("data_sha256") != data_sha256:
        raise ValueError(f"the teacher {run} learnt from other data: give a run on the same --data")
    check_split(run, config, data_sha256)
