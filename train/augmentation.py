"""Random views of the training faces, as a Keras layer that runs on any backend."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("mien")
class RandomAffine(keras.layers.Layer):
    """Flip, rotate, zoom and shift every image, resampled once, with the nearest edge as fill.

    The parameters are drawn per image and uniformly, as Keras' ImageDataGenerator did, which the
    paper used; Keras' own random layers would resample once for each of the four.

    Args:
        rotation_degrees: rotation by up to this angle to either side.
        zoom: scale factor from 1 - zoom to 1 + zoom.
        shift: shift by up to this fraction of the image's side, in x and in y.
        seed: start of the random stream.
    """

    def __init__(
        self, rotation_degrees: float = 10, zoom: float = 0.1, shift: float = 0.1, seed: int = 0, **kwargs: Any
    ) -> None:
        # float32 even in mixed precision: bfloat16 would round the gray levels between the pixels
        super().__init__(**{"dtype": "float32", **kwargs})
        self.rotation_degrees, self.zoom, self.shift, self.seed = rotation_degrees, zoom, shift, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Map (N, H, W, C) images to random views of them; without `training`, return them as they are."""
        if not training:
            return images
        height, width = images.shape[1:3]
        draw = keras.random.uniform((5, ops.shape(images)[0]), -1.0, 1.0, seed=self.seed_generator)
        angle = draw[0] * (self.rotation_degrees * math.pi / 180)
        scale = 1 / (1 + draw[1] * self.zoom)
        mirror = ops.where(draw[2] < 0, -1.0, 1.0)
        shift_x, shift_y = draw[3] * (self.shift * width), draw[4] * (self.shift * height)
        # Output pixel -> input pixel, about the centre: x' = a x + b y + c, y' = d x + e y + f
        cos, sin = ops.cos(angle) * scale, ops.sin(angle) * scale
        a, b, d, e = cos * mirror, -sin * mirror, sin, cos
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        c = centre_x + shift_x - a * centre_x - b * centre_y
        f = centre_y + shift_y - d * centre_x - e * centre_y
        zero = ops.zeros_like(a)
        transform = ops.stack([a, b, c, d, e, f, zero, zero], axis=1)
        return ops.image.affine_transform(
            images, transform, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The views have the shape of the images."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, for Keras' saving."""
        own = {"rotation_degrees": self.rotation_degrees, "zoom": self.zoom, "shift": self.shift}
        return {**super().get_config(), **own, "seed": self.seed}
