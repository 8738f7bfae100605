"""A convolution with branches while it learns, which is a plain 3x3 convolution when it answers.

Ding et al. 2021, *RepVGG: Making VGG-style ConvNets Great Again*, arXiv:2101.03697.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("mien")
class FoldingConv2D(keras.layers.Layer):
    """3x3 and 1x1 convolutions and, where the form stays, the identity, each normalized, added up.

    Without `training`, the three are one convolution with what `fold` returns. A model that is kept
    holds that one alone (`fold_into`).

    Args:
        filters: number of output channels.
        strides: 1 or 2; with 2, the sides of the images are even.
    """

    def __init__(self, filters: int, strides: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.strides = filters, strides
        self.large = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)
        self.small = layers.Conv2D(filters, 1, strides, padding="same", use_bias=False)
        self.large_norm, self.small_norm = layers.BatchNormalization(), layers.BatchNormalization()
        self.identity_norm: Any = None

    @property
    def normalizations(self) -> list[keras.layers.BatchNormalization]:
        """The branches' batch normalizations."""
        return [norm for norm in (self.large_norm, self.small_norm, self.identity_norm) if norm is not None]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the branches' weights for inputs of (N, height, width, channels)."""
        if self.strides == 1 and input_shape[-1] == self.filters:
            self.identity_norm = layers.BatchNormalization(dtype=self.dtype_policy)
            self.identity_norm.build(input_shape)
        output_shape = self.compute_output_shape(input_shape)
        for convolution, norm in ((self.large, self.large_norm), (self.small, self.small_norm)):
            convolution.build(input_shape)
            norm.build(output_shape)
        super().build(input_shape)

    def call(self, x: Any, training: bool = False) -> Any:
        """Map (N, height, width, channels) to (N, height / strides, width / strides, filters)."""
        if not training:
            kernel, bias = self.fold()
            return ops.conv(x, ops.cast(kernel, x.dtype), self.strides, padding="same") + ops.cast(bias, x.dtype)
        sum_ = self.large_norm(self.large(x), training=True) + self.small_norm(self.small(x), training=True)
        return sum_ if self.identity_norm is None else sum_ + self.identity_norm(x, training=True)

    def fold(self) -> tuple[Any, Any]:
        """Return kernel (3, 3, channels, filters) and bias (filters,) of the one convolution."""
        # Where a 3x3 window with "same" padding sees the pixel that a 1x1 window sees: with stride 2
        # and even sides, padding comes behind the image only.
        before, behind = (1, 1) if self.strides == 1 else (0, 2)
        pad = ((before, behind), (before, behind), (0, 0), (0, 0))
        branches = [(self.large.kernel, self.large_norm), (ops.pad(self.small.kernel, pad), self.small_norm)]
        if self.identity_norm is not None:
            identity = ops.reshape(ops.eye(self.filters), (1, 1, self.filters, self.filters))
            branches.append((ops.pad(identity, pad), self.identity_norm))
        kernel = bias = 0.0
        for branch, norm in branches:
            scale = norm.gamma / ops.sqrt(norm.moving_variance + norm.epsilon)
            kernel += branch * scale
            bias += norm.beta - norm.moving_mean * scale
        return kernel, bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Divide the sides by the strides."""
        sides = [side and -(-side // self.strides) for side in input_shape[1:3]]
        return (input_shape[0], *sides, self.filters)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, for Keras' saving."""
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}


def fold_into(network: keras.Model, plain: keras.Model) -> None:
    """Give a network with plain convolutions the weights of one with branches; layers go by their names.

    Args:
        network: with a `FoldingConv2D` NAME wherever `plain` has a convolution NAME without bias
            followed by the batch normalization NAME_norm, and otherwise the same.
        plain: gets the weights, and then gives the same answers.
    """
    for layer in network.layers:
        if not isinstance(layer, FoldingConv2D):
            plain.get_layer(layer.name).set_weights(layer.get_weights())
            continue
        kernel, bias = (ops.convert_to_numpy(weight) for weight in layer.fold())
        plain.get_layer(layer.name).set_weights([kernel])
        norm = plain.get_layer(f"{layer.name}_norm")
        ones = np.ones_like(bias)
        norm.set_weights([ones, bias, 0 * bias, ones - norm.epsilon])  # gamma, beta, mean, variance: adds the bias
