"""Which images train, which validate, and in which order: all of it follows from one seed."""

import keras
import numpy as np
import numpy.typing as npt

from mien.emotions import EMOTIONS
from mien.fer2013 import Fer2013


def split_training(data: Fer2013, validation_share: float, seed: int) -> tuple[Fer2013, Fer2013]:
    """Divide Training into a part to learn from and a part to validate on.

    FER2013 holds many images twice. Copies of one image stay on one side, else validation would
    ask for what was learnt by heart.

    Returns:
        (training, validation); the second has `validation_share` of the distinct images.
    """
    training = data.training
    _, distinct = np.unique(training.image_keys(), return_inverse=True)
    count = distinct.max() + 1
    order = np.random.default_rng(seed).permutation(count)
    is_validation = np.zeros(count, bool)
    is_validation[order[: round(count * validation_share)]] = True
    chosen = is_validation[distinct]
    return training.rows(~chosen), training.rows(chosen)


def as_arrays(data: Fer2013) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return images (N, 48, 48, 1) float32 0-255 and one-hot labels (N, 7) float32."""
    images = data.images[..., np.newaxis].astype(np.float32)
    return images, np.eye(len(EMOTIONS), dtype=np.float32)[data.labels]


class EpochBatches(keras.utils.PyDataset):
    """One epoch's batches, in an order drawn from (seed, epoch): a resumed run sees the same ones."""

    def __init__(self, data: Fer2013, batch_size: int, seed: int, epoch: int) -> None:
        super().__init__()
        self._data, self._batch_size = data, batch_size
        self._order = np.random.default_rng([seed, epoch]).permutation(len(data))

    def __len__(self) -> int:
        return -(-len(self._data) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return as_arrays(self._data.rows(rows))
