"""Random views of the training faces, as Keras layers that run on any backend."""

import math
from typing import Any

import keras
from keras import layers, ops

from train.config import TrainingConfig


def build_augmentation(config: TrainingConfig, size: int) -> list[keras.layers.Layer]:
    """Return the layers that turn (N, 48, 48, 1) images into random views of (N, size, size, 1).

    Each draws from a stream of its own, and only those are there that a setting asks for. All of
    them compute in float32: bfloat16 has too few digits for pixel coordinates.
    """
    seed, value_range = config.seed, (0, 255)
    chosen = [RandomAffine(config.rotation_degrees, config.zoom, config.shift, size=size, seed=seed, dtype="float32")]
    if config.contrast:
        both_ways = (config.contrast, config.contrast)  # a single number would only raise it
        chosen += [layers.RandomContrast(both_ways, value_range, seed=seed, dtype="float32")]
    if config.brightness:
        chosen += [layers.RandomBrightness(config.brightness, value_range, seed=seed, dtype="float32")]
    if config.erasing:
        share = (config.erasing, config.erasing)
        chosen += [layers.RandomErasing(share, scale=(0.02, 0.25), value_range=value_range, seed=seed, dtype="float32")]
    return chosen


@keras.saving.register_keras_serializable("mien")
class RandomAffine(keras.layers.Layer):
    """Flip, rotate, zoom and shift every image, resampled once, with the nearest edge as fill.

    The parameters are drawn per image and uniformly, as Keras' ImageDataGenerator did, which the
    paper used; Keras' own random layers would resample once for each of the four.

    Args:
        rotation_degrees: rotation by up to this angle to either side.
        zoom: scale factor from 1 - zoom to 1 + zoom.
        shift: shift by up to this fraction of the image's side, in x and in y.
        size: side of the views in pixels, at most that of the images, which are square.
        seed: start of the random stream.
    """

    def __init__(
        self,
        rotation_degrees: float = 10,
        zoom: float = 0.1,
        shift: float = 0.1,
        size: int = 48,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rotation_degrees, self.zoom, self.shift, self.size = rotation_degrees, zoom, shift, size
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Map (N, side, side, C) images to random views of (N, size, size, C).

        Without `training`, return the images as they are, resized if they have another size.
        """
        side = images.shape[1]
        if not training:
            return images if side == self.size else ops.image.resize(images, (self.size, self.size), antialias=True)
        draw = keras.random.uniform((5, ops.shape(images)[0]), -1.0, 1.0, seed=self.seed_generator)
        angle = draw[0] * (self.rotation_degrees * math.pi / 180)
        scale = (side / self.size) / (1 + draw[1] * self.zoom)
        mirror = ops.where(draw[2] < 0, -1.0, 1.0)
        shift_x, shift_y = draw[3] * (self.shift * side), draw[4] * (self.shift * side)
        # Output pixel -> input pixel, about the centre: x' = a x + b y + c, y' = d x + e y + f
        cos, sin = ops.cos(angle) * scale, ops.sin(angle) * scale
        a, b, d, e = cos * mirror, -sin * mirror, sin, cos
        centre, view_centre = (side - 1) / 2, (self.size - 1) / 2
        c = centre + shift_x - a * view_centre - b * view_centre
        f = centre + shift_y - d * view_centre - e * view_centre
        zero = ops.zeros_like(a)
        transform = ops.stack([a, b, c, d, e, f, zero, zero], axis=1)
        views = ops.image.affine_transform(
            images, transform, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
        )
        return views[:, : self.size, : self.size]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The views have the images' number and channels."""
        return (input_shape[0], self.size, self.size, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, for Keras' saving."""
        own = {"rotation_degrees": self.rotation_degrees, "zoom": self.zoom, "shift": self.shift}
        return {**super().get_config(), **own, "size": self.size, "seed": self.seed}
