"""A start for a larger network from a smaller one: it answers the same, and has room to learn more.

Chen et al. 2015, *Net2Net: Accelerating Learning via Knowledge Transfer*, arXiv:1511.05641. Wider: some
channels appear twice or more often, and what reads them shares its weight out among the copies, unevenly,
so that they part as they learn. Deeper: a residual block that the smaller network lacks adds nothing at first.
"""

import keras
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

UNEVEN = 0.5
"""How unevenly weights are shared out: between 1 - UNEVEN and 1 + UNEVEN to one, before they are normalised."""


def grow(trained: keras.Model, network: keras.Model, seed: int) -> None:
    """Give `network` the weights of `trained`, a MienNet of residual blocks with fewer of them or narrower ones.

    Args:
        trained: the smaller network.
        network: the larger one.
        seed: of how weights are shared out.

    Raises:
        ValueError: it is no such pair.
    """
    if not trained.name == network.name == "mien_net":
        raise ValueError(f"a {trained.name} cannot grow into a {network.name}, only mien_net can")
    rng = np.random.default_rng(seed)
    known = {layer.name: layer for layer in trained.layers}
    if lost := [layer.name for layer in trained.layers if layer.weights and layer.name not in _names(network)]:
        raise ValueError(f"the larger network has no {lost[0]}")
    for layer in network.layers:
        if not layer.weights:
            continue
        if layer.name in known:
            pairs = zip(known[layer.name].get_weights(), layer.get_weights(), strict=True)
            layer.set_weights([_widen(old, new.shape, rng) for old, new in pairs])
        elif f"{layer.name.rpartition('_block')[0]}_block1_first" not in known or layer.name.endswith("_shortcut"):
            raise ValueError(f"the smaller network has no {layer.name}")
        elif layer.name.endswith("_second_norm"):
            layer.gamma.assign(np.zeros(layer.gamma.shape))  # the new block adds nothing


def _names(network: keras.Model) -> set[str]:
    return {layer.name for layer in network.layers}


def _widen(weight: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return a weight as what reads and writes copies of channels has it; the last axis is written."""
    channels = 1 if weight.ndim == 1 else 2
    if weight.shape[:-channels] != shape[:-channels] or any(np.less(shape, weight.shape)):
        raise ValueError(f"a weight of {weight.shape} cannot become one of {shape}")
    written = np.arange(shape[-1]) % weight.shape[-1]
    if weight.ndim == 1:
        return weight[written]
    read = np.arange(shape[-2]) % weight.shape[-2]
    parts = rng.uniform(1 - UNEVEN, 1 + UNEVEN, shape)
    wholes = np.zeros((*shape[:-2], weight.shape[-2], shape[-1]))
    np.add.at(wholes, (..., read, slice(None)), parts)
    shares = parts / wholes[..., read, :]
    return np.asarray(weight[..., read, :][..., written] * shares, np.float32)
