"""What learns: augmentation and network as one compiled model, and its random streams."""

from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from train.augmentation import build_augmentation
from train.config import TrainingConfig
from train.models import build
from train.models.folding import FoldingConv2D

FULL_SIZE = 48
SMALL_SIZE = 32


class LogitAdjustedCrossentropy(keras.losses.Loss):
    """Cross-entropy after adding the logarithm of each class's share to the logits.

    A network trained so answers as if the classes were equally frequent (Menon et al. 2021, *Long-tail
    learning via logit adjustment*, arXiv:2007.07314, equation 10). Works on probabilities: adding to
    logits is multiplying before normalising.

    Args:
        shares: (7,) share of each class, to the power that says how strongly to adjust.
        label_smoothing: share of the label spread over all classes.
    """

    def __init__(self, shares: npt.NDArray[np.float64], label_smoothing: float = 0.0) -> None:
        super().__init__(name="logit_adjusted_crossentropy")
        self.shares, self.label_smoothing = np.asarray(shares, np.float32), label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image, (N,)."""
        adjusted = ops.multiply(y_pred, self.shares)
        adjusted = adjusted / ops.sum(adjusted, axis=-1, keepdims=True)
        return keras.losses.categorical_crossentropy(y_true, adjusted, label_smoothing=self.label_smoothing)


def image_size(config: TrainingConfig, epoch: int) -> int:
    """Return the side of the images, in pixels, that the network learns from in an epoch (from 0)."""
    return SMALL_SIZE if epoch < round(config.small_share * config.epochs) else FULL_SIZE


def build_learner(
    config: TrainingConfig, size: int, steps: int, shares: npt.NDArray[np.float64]
) -> tuple[keras.Model, keras.Model]:
    """Build what trains and the network in it, compiled, with fresh weights that follow from the seed.

    Args:
        config: the run's settings.
        size: side of the images that the network sees, in pixels.
        steps: all steps of the run, for the schedule.
        shares: (7,) share of each class in the training images, for logit adjustment.

    Returns:
        (learner, network): the learner maps (N, 48, 48, 1) gray levels to (N, 7) probabilities, and
        is augmentation and network in one.
    """
    keras.utils.set_random_seed(config.seed)
    network = build_network(config, size)
    thin_before_pointwise(network)
    augmentation = build_augmentation(config, size)
    learner = keras.Sequential([keras.Input((FULL_SIZE, FULL_SIZE, 1)), *augmentation, network], name="learner")
    loss: Any = keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing)
    if config.imbalance == "logit-adjustment":
        loss = LogitAdjustedCrossentropy(shares**config.imbalance_power, config.label_smoothing)
    # TensorFlow's XLA knows no affine transform, and makes training on a CPU several times slower.
    is_compiled = keras.backend.backend() == "jax"
    learner.compile(_build_optimizer(config, steps), loss=loss, metrics=["accuracy"], jit_compile=is_compiled)
    learner.optimizer.build(learner.trainable_variables)
    return learner, network


def thin_before_pointwise(network: keras.Model) -> None:
    """Let 1x1 convolutions with strides take every second pixel first, then go without: the same, but safe.

    On an AMD EPYC with AVX-512, oneDNN in TensorFlow 2.21 ends the process in the gradient of one with few channels
    (4 and 8, most times; not 16 and more). Only what learns is changed; the model that is kept is built anew.
    """
    for layer in [layer.small if isinstance(layer, FoldingConv2D) else layer for layer in network.layers]:
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1) and layer.strides != (1, 1):
            layer.convolution_op = partial(_thinned_convolution, layer.strides)


def _thinned_convolution(strides: tuple[int, int], x: Any, kernel: Any) -> Any:
    return ops.conv(x[:, :: strides[0], :: strides[1]], kernel, padding="valid")


def build_network(config: TrainingConfig, size: int = FULL_SIZE) -> keras.Model:
    """Build the network in the run's precision; its weights are float32 in either."""
    keras.config.set_dtype_policy("mixed_bfloat16" if config.mixed_precision else "float32")
    try:
        return build(config.model, size, config.width, config.dropout, config.shape)
    finally:
        keras.config.set_dtype_policy("float32")


def load_network(path: Path) -> keras.Model:
    """Load a `.keras` file, uncompiled.

    Raises:
        ValueError: it is none, is damaged, or holds layers that are not known here.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, BadZipFile) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{path} cannot be loaded as a Keras model ({reason}): give a model.keras that python -m train wrote"
        ) from error


def seed_random_streams(learner: keras.Model, seed: int, epoch: int) -> None:
    """Start the streams of augmentation and dropout from (seed, epoch): Keras does not save where they are."""
    streams = [variable for variable in learner.variables if variable.path.endswith("seed_generator_state")]
    for number, stream in enumerate(streams):
        stream.assign(np.random.default_rng([seed, epoch, number]).integers(0, 2**31, stream.shape))


def measure_batch_statistics(network: keras.Model, images: npt.NDArray[np.float32], batch_size: int = 256) -> None:
    """Replace batch normalization's moving statistics by the mean over these images.

    Averaged weights need it, because the moving statistics belong to the plain ones (Izmailov et
    al. 2018, *Averaging Weights Leads to Wider Optima and Better Generalization*, arXiv:1803.05407).
    """
    normalizations = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    normalizations += [norm for layer in network.layers for norm in getattr(layer, "normalizations", ())]
    momenta = [layer.momentum for layer in normalizations]
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        for layer in normalizations:
            layer.momentum = start / (start + len(batch))  # makes the moving mean a plain mean over the images
        network(batch, training=True)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum


def save_state(learner: keras.Model, path: Path) -> None:
    """Write weights, averaged weights and the optimizer's state, in a form that fails cleanly on a full disk.

    HDF5, which Keras writes, ends the process there.
    """
    with open(path, "wb") as file:
        np.savez(file, *(keras.ops.convert_to_numpy(variable) for variable in _state(learner)))


def load_state(learner: keras.Model, path: Path) -> None:
    """Read what `save_state` wrote.

    Raises:
        ValueError: the file is damaged or belongs to another network.
    """
    variables = _state(learner)
    try:
        with np.load(path, allow_pickle=False) as state:
            values = [state[f"arr_{number}"] for number in range(len(variables))]
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} cannot be read ({error}): restore it, or start anew in another --out") from error


def _state(learner: keras.Model) -> list[Any]:
    return [*learner.weights, *learner.optimizer.variables]


def _build_optimizer(config: TrainingConfig, steps: int) -> keras.optimizers.Optimizer:
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        warmup = min(round(config.warmup_share * steps), steps - 1)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate, steps - warmup, warmup_target=rate if warmup else None, warmup_steps=warmup
        )
    options: dict[str, Any] = {"weight_decay": config.weight_decay or None}
    if config.ema:
        # In a short run a long average would still remember the random weights of the start.
        options |= {"use_ema": True, "ema_momentum": min(config.ema, max(0.0, 1 - 10 / steps))}
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **options)
    else:
        optimizer = keras.optimizers.Adam(rate, **options)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
