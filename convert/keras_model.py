"""Reading a Keras image classifier, ours or somebody else's, and saying what is wrong with it."""

import re
from pathlib import Path
from zipfile import BadZipFile

import keras
import numpy as np


def load(keras_file: Path) -> keras.Model:
    """Load an image classifier.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no Keras model, or none that can be converted.
    """
    model = read_keras(keras_file)
    inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"{keras_file} has {len(inputs)} inputs and {len(outputs)} outputs: allowed is one of each, an image and "
            "the probabilities of its classes"
        )
    shape, answers = inputs[0].shape[1:], outputs[0].shape[1:]
    if len(shape) != 3 or None in shape or shape[2] not in (1, 3) or len(answers) != 1 or (answers[0] or 0) < 2:
        raise ValueError(
            f"{keras_file} maps {shape} to {answers}: allowed is (height, width, 1 or 3) to the probabilities of 2 "
            "classes or more"
        )
    if any(isinstance(getattr(model, end, None), dict) for end in ("input", "output")):  # one that has a name
        model = keras.Model(inputs[0], outputs[0], name=model.name)
    return model


def read_keras(keras_file: Path) -> keras.Model:
    """Read a Keras model of any kind.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no Keras model, or holds weights that are no numbers.
    """
    if not keras_file.is_file():
        raise FileNotFoundError(f"no model at {keras_file}: give a run of `python -m train` or a .keras file")
    try:
        model = keras.saving.load_model(keras_file, compile=False)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, BadZipFile) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{keras_file} is not a Keras model ({reason}): give a .keras or .h5 file") from error
    for variable in getattr(model, "variables", ()):
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise ValueError(f"{keras_file}: {variable.path} holds values that are no numbers (NaN): train it again")
    return model


def file_stem(model: keras.Model, variant: str) -> str:
    """Return the name of a variant's file, without the suffix."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', model.name)}_{variant}"
