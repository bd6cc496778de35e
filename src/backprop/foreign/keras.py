"""Models of Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import _validate, activations, layers
from ..activations import ActivationFunction
from ..network import Sequential
from .assembly import Assembly, refused

__all__ = ["from_keras"]

Array = _validate.Array
Config = dict[str, Any]

#: Its names of activations without numbers.
_ACTIVATIONS: dict[str, ActivationFunction] = {
    name: getattr(activations, name)
    for name in (
        "relu", "sigmoid", "tanh", "softmax", "log_softmax", "elu", "selu", "silu", "mish", "softplus", "softsign",
        "hard_sigmoid", "hard_tanh", "gelu",
    )
} | {
    "linear": activations.identity, "swish": activations.silu, "exponential": activations.exp,
    "leaky_relu": activations.leaky_relu.with_slope(0.2),
}  # fmt: skip


def from_keras(model: Any) -> Sequential:
    """A model of Keras.

    Parameters
    ----------
    model : keras.Model
        Built: a ``Sequential``, or a functional model that is a chain, of ``Dense``, ``Activation``, ``ReLU``,
        ``LeakyReLU``, ``ELU``, ``PReLU``, ``Softmax``, ``Dropout``, ``BatchNormalization``, ``LayerNormalization``,
        ``Normalization``, ``Rescaling``, ``Embedding``, ``Flatten`` and ``Identity``, nested or not. A ``.keras`` file
        is opened by Keras itself, ``keras.saving.load_model(path)``.

    Returns
    -------
    Sequential
        With copies of the weights. Epsilons are the model's; a momentum of a batch norm is here the weight of the
        batch, 1 less Keras's. ``Normalization`` and ``Rescaling`` become a `BatchNorm` that training leaves alone.

    Raises
    ------
    TypeError
        If there is a layer that has no counterpart here, such as a ``Conv2D``: it is named with its place.
    ValueError
        If it is not built, is not a chain, or a layer is used in a way that has no counterpart.

    Examples
    --------
    >>> net = bp.from_keras(keras.saving.load_model("model.keras"))
    """
    if not hasattr(model, "layers") or not hasattr(model, "get_config"):
        raise refused("from_keras", type(model).__name__, "the top", "a Sequential or a functional model of Keras")
    assembly = Assembly()
    for place, layer in _chain(model, ""):
        kind = type(layer).__name__
        if type(layer).__module__.split(".")[0] not in ("keras", "tf_keras") or kind not in _READERS:
            can = f"layers of Keras: {', '.join(_READERS)}"
            raise refused("from_keras", kind, place, can)
        with _validate.within(f"from_keras: {kind} at {place}"):
            _READERS[kind](assembly, layer.get_config(), _weights(layer), layer, place)
    if not assembly.layers:
        raise ValueError("from_keras: expected layers with weights, got none")
    return assembly.network()


def _chain(model: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The layers of a model and of those within it, one after the other, with their names."""
    call = getattr(type(model), "call", None)
    if call is not None and call.__module__.split(".")[0] not in ("keras", "tf_keras"):
        where = place.rstrip("/") or "the top"
        raise refused("from_keras", f"{type(model).__name__}, with a call of its own,", where, "models of Keras")
    _check_chain(model, place or "the top")
    for layer in model.layers:
        where = f"{place}{layer.name}"
        if hasattr(layer, "layers") and type(layer).__name__ in ("Sequential", "Functional", "Model"):
            yield from _chain(layer, f"{where}/")
        else:
            yield where, layer


def _check_chain(model: Any, place: str) -> None:
    """Refuse a functional model of which a layer takes something else than the output of the one before it."""
    before = None
    for layer in model.get_config().get("layers", ()):
        sources = [*_sources(layer.get("inbound_nodes", []))]
        name = layer.get("name") or layer["config"]["name"]
        if sources and sources != [before]:
            raise ValueError(
                f"from_keras: expected each layer to take the one before it, once, got {name} of {place}, which takes "
                f"{', '.join(sources)}"
            )
        if not sources and before is not None and layer["class_name"] == "InputLayer":
            raise ValueError(f"from_keras: expected one input, got {before} and {name} of {place}")
        before = name


def _sources(nodes: Any) -> Iterator[str]:
    """The names of the layers whose outputs stand in the description of how a layer is called."""
    if isinstance(nodes, dict):
        if "keras_history" in nodes:
            yield nodes["keras_history"][0]
        else:
            for value in nodes.values():
                yield from _sources(value)
    elif isinstance(nodes, (list, tuple)):
        if len(nodes) >= 3 and isinstance(nodes[0], str):  # as Keras 2 wrote it
            yield nodes[0]
        else:
            for value in nodes:
                yield from _sources(value)


def _weights(layer: Any) -> list[Array]:
    return [np.asarray(weight) for weight in layer.get_weights()]


def _activation(given: Any) -> ActivationFunction:
    """The activation that a configuration names."""
    if isinstance(given, dict):
        return _of_layer(given.get("class_name"), given.get("config"))
    if given not in _ACTIVATIONS:
        raise ValueError(f"expected an activation of {', '.join(_ACTIVATIONS)}, got {_validate.shown(given)}")
    return _ACTIVATIONS[given]


def _of_layer(kind: Any, config: Any) -> ActivationFunction:
    """What a layer that is an activation does."""
    if kind == "ReLU":
        return _relu(config)
    if kind == "LeakyReLU":
        return activations.leaky_relu.with_slope(float(config.get("negative_slope", config.get("alpha"))))
    if kind == "ELU":
        return activations.elu.with_alpha(float(config["alpha"]))
    if kind == "Softmax" and config["axis"] in (-1, 1, [-1], [1]):
        return activations.softmax
    if kind == "Softmax":
        raise ValueError(f"expected axis=-1, the numbers of a row, got {config['axis']}")
    raise ValueError(f"expected an activation of {', '.join(_ACTIVATIONS)}, got {_validate.shown(kind or config)}")


def _relu(config: Config) -> ActivationFunction:
    for name in ("max_value", "threshold"):
        if config.get(name):
            raise ValueError(f"expected a ReLU without {name}, got {config[name]}")
    if config.get("max_value") == 0:
        raise ValueError("expected a ReLU without max_value, got 0")
    slope = float(config.get("negative_slope") or 0)
    return activations.leaky_relu.with_slope(slope) if slope else activations.relu


def _dense(assembly: Assembly, config: Config, weights: list[Array], layer: Any, place: str) -> None:
    if not weights:
        raise ValueError("expected a layer that is built, got none of its weights: call the model once, or give it "
                         "an Input")  # fmt: skip
    if len(weights) > 2 or weights[0].ndim != 2:
        raise ValueError(f"expected a kernel and a bias, got arrays {[weight.shape for weight in weights]}")
    assembly.dense(weights[0], weights[1] if config["use_bias"] else None, place)
    assembly.activate(_activation(config["activation"]), place)


def _activate(assembly: Assembly, config: Config, weights: list[Array], layer: Any, place: str) -> None:
    kind = type(layer).__name__
    assembly.activate(_activation(config["activation"]) if kind == "Activation" else _of_layer(kind, config), place)


def _prelu(assembly: Assembly, config: Config, weights: list[Array], layer: Any, place: str) -> None:
    assembly.add(layers.PReLU(), place, weight=weights[0])


def _dropout(assembly: Assembly, config: Config, weights: list[Array], layer: Any, place: str) -> None:
    assembly.add(layers.Dropout(config["rate"]), place)


def _check_axis(config: Config) -> None:
    if config.get("axis", -1) not in (-1, 1, [-1], [1], (-1,), (1,)):
        raise ValueError(f"expected axis=-1, the features of a row, got {config['axis']}")


def _affine(config: Config, weights: list[Array]) -> tuple[dict[str, Array], list[Array]]:
    """Weight and bias, where it has them, and the arrays after them."""
    given = iter(weights)
    wanted = [ours for ours, theirs in (("weight", "scale"), ("bias", "center")) if config[theirs]]
    return {name: next(given) for name in wanted}, [*given]


def _batch_norm(assembly: Assembly, config: Config, weights: list[Array], layer: Any, place: str) -> None:
    _check_axis(config)
    if config.get("renorm"):
        raise ValueError("expected renorm=False, got True")
    affine, (mean, variance) = _affine(config, weights)
    norm = layers.BatchNorm(momentum=1 - config["momentum"], epsilon=config["epsilon"])
    assembly.add(norm, place, **affine, running_mean=mean, running_variance=variance)


def _layer_norm(assembly: Assembly, config: Config, weights: list[Array], layer: Any, place: str) -> None:
    _check_axis(config)
    if config.get("rms_scaling"):
        raise ValueError("expected rms_scaling=False, got True")
    assembly.add(layers.LayerNorm(epsilon=config["epsilon"]), place, **_affine(config, weights)[0])


def _normalization(assembly: Assembly, config: Config, weights: list[Array], layer: Any, place: str) -> None:
    """(x - mean) / max(sqrt(variance), 1e-7); or back."""
    _check_axis(config)
    if len(weights) >= 2:
        mean, variance = weights[0], weights[1]
    elif config["mean"] is not None and config["variance"] is not None:
        mean, variance = (np.ravel(np.asarray(config[name], np.float32)) for name in ("mean", "variance"))
    else:
        raise ValueError("expected a mean and a variance, got none: call its adapt first")
    mean, variance = np.ravel(mean), np.maximum(np.ravel(variance), np.float32(1e-14))
    one, zero = np.ones_like(mean), np.zeros_like(mean)
    if config.get("invert"):
        assembly.normalize(place, zero, one, np.sqrt(variance), mean)
    else:
        assembly.normalize(place, mean, variance, one, zero)


def _rescaling(assembly: Assembly, config: Config, weights: list[Array], layer: Any, place: str) -> None:
    scale, offset = (np.asarray(config[name], np.float32) for name in ("scale", "offset"))
    assembly.normalize(place, np.zeros(1, np.float32), np.ones(1, np.float32), scale, offset)


def _embedding(assembly: Assembly, config: Config, weights: list[Array], layer: Any, place: str) -> None:
    if config.get("mask_zero"):
        raise ValueError("expected mask_zero=False, got True")
    columns = layer.input.shape[1] if len(layer.input.shape) > 1 else 1
    assembly.add(layers.Embedding(*weights[0].shape, columns=columns), place, weight=weights[0])


def _nothing(assembly: Assembly, config: Config, weights: list[Array], layer: Any, place: str) -> None:
    """What hands on a row as it is."""


_READERS: dict[str, Callable[[Assembly, Config, list[Array], Any, str], None]] = {
    "Dense": _dense, "Activation": _activate, "ReLU": _activate, "LeakyReLU": _activate, "ELU": _activate,
    "Softmax": _activate, "PReLU": _prelu, "Dropout": _dropout, "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm, "Normalization": _normalization, "Rescaling": _rescaling,
    "Embedding": _embedding, "Flatten": _nothing, "Identity": _nothing, "InputLayer": _nothing,
}  # fmt: skip
