"""Modules and state dicts of PyTorch, and safetensors files that hold one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _validate, activations, layers
from ..activations import ActivationFunction
from ..io import safetensors
from ..layers import Layer
from ..network import Sequential
from ..state_dict import KEYS, ours, theirs
from .assembly import Assembly, put, refused

__all__ = ["from_torch"]

Array = _validate.Array


def from_torch(source: Any, layers: Sequence[Layer] | Sequential | None = None) -> Sequential:
    """A network of PyTorch, from a module, or from its weights and the layers that they belong to.

    Parameters
    ----------
    source : torch.nn.Module, mapping of str to tensors, or path
        An ``nn.Sequential``, nested or not, of ``Linear``, ``BatchNorm1d``, ``LayerNorm``, ``Dropout``, ``PReLU``,
        ``Embedding``, ``Flatten``, ``Identity`` and activations, or one of these; or what ``module.state_dict()``
        gives, of tensors or arrays; or a safetensors file of one.
    layers : sequence of Layer or Sequential, optional
        With a state dict or a file: the architecture. Its layers take the tensors of the keys that
        `Sequential.to_torch_state_dict` would give; if those are others, they take them module by module, in the order
        of the state dict. In a file, which has no order, that of the numbers in their names.

    Returns
    -------
    Sequential
        With copies of the weights, in float64 if any of them is, else in float32. `Sequential.to_torch_state_dict`
        gives the keys that they came with.

    Raises
    ------
    TypeError
        If there is a module that has no counterpart here, such as a ``Conv2d``: it is named with its place.
    ValueError
        If shapes do not fit, or it is not clear which tensors belong where.

    Examples
    --------
    >>> net = bp.from_torch(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10), nn.Softmax(-1)))
    >>> net = bp.from_torch("model.safetensors", [bp.Dense(20, 64, "relu"), bp.Dense(64, 10, "softmax")])
    """
    if isinstance(source, (str, os.PathLike)):
        arrays, _ = safetensors.read(source, signed=False)
        return _filled(arrays, _architecture(layers, "a file"), ordered=False)
    if isinstance(source, Mapping):
        return _filled(_arrays(source), _architecture(layers, "a state dict"), ordered=True)
    if layers is not None:
        raise TypeError("from_torch: expected no layers beside a module, which knows its own, got both")
    return _of_module(source)


# From a module.


def _of_module(module: Any) -> Sequential:
    assembly, keys = Assembly(), dict[str, list[Any]]()
    for place, one in _flat(module, ""):
        kind = type(one).__name__
        if not _is_torchs(one) or kind not in _READERS:
            inside = getattr(one, "_modules", None)
            cure = ": hand over the nn.Sequential inside it, or its state_dict() with the layers" if inside else ""
            can = f"nn.Sequential of {', '.join(_READERS)}"
            raise refused("from_torch", kind, _where(place), can, cure)
        with _validate.within(f"from_torch: {kind} at {_where(place)}"):
            before = len(assembly.layers)
            _READERS[kind](assembly, one, place)
        if len(assembly.layers) > before:
            for name, shape in _own(one).items():
                keys[f"{assembly.at}.{ours(name)}"] = [f"{place}.{name}" if place else name, shape]
    if not assembly.layers:
        raise ValueError("from_torch: expected modules with weights, got none")
    net = assembly.network()
    net.metadata = {KEYS: keys}
    return net


def _flat(module: Any, place: str) -> Iterable[tuple[str, Any]]:
    """The modules of nested containers, with where they are; one that is used twice comes twice."""
    if getattr(module, "_forward_hooks", None) or getattr(module, "_forward_pre_hooks", None):
        raise ValueError(
            "from_torch: expected modules without forward hooks, which may compute anything, got "
            f"{type(module).__name__} at {_where(place)} with some: remove them (as "
            "torch.nn.utils.remove_weight_norm does)"
        )
    compiled = type(module).__name__ == "OptimizedModule"  # which has the module that it was made of
    if (compiled or type(module).__name__ == "Sequential") and _is_torchs(module):
        for name, child in module._modules.items():
            yield from _flat(child, f"{place}.{name}" if place else name)
    else:
        yield place, module


def _is_torchs(module: Any) -> bool:
    return type(module).__module__.split(".")[0] == "torch"


def _where(place: str) -> str:
    return place or "the top"


def _own(module: Any) -> dict[str, list[int]]:
    """The shapes of its arrays, as its state dict names them."""
    return {
        name: list(tensor.shape)
        for name, tensor in {**module._parameters, **module._buffers}.items()
        if tensor is not None and name != "num_batches_tracked"
    }


def _array(tensor: Any) -> Array:
    """A tensor of any floating-point type, as float32 or, where it is one, float64."""
    if isinstance(tensor, np.ndarray):
        return tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor
    if not hasattr(tensor, "detach"):
        return _validate.array(tensor, "a tensor")
    if getattr(tensor, "is_meta", False):
        raise ValueError("expected weights, got tensors of the device meta, which have none")
    wide = str(tensor.dtype) == "torch.float64"
    own = tensor.detach().cpu()
    result: Array = (own.double() if wide else own.float()).numpy()
    return result


def _optional(tensor: Any) -> Array | None:
    return None if tensor is None else _array(tensor)


def _linear(assembly: Assembly, module: Any, place: str) -> None:
    assembly.dense(_array(module.weight).T, _optional(module.bias), place)


def _batch_norm(assembly: Assembly, module: Any, place: str) -> None:
    if module.running_mean is None:
        raise ValueError("expected running statistics, got track_running_stats=False")
    if module.momentum is None:
        raise ValueError("expected a momentum, got None, a mean over all batches: set one, module.momentum = 0.1")
    affine = {} if module.weight is None else {"weight": _array(module.weight), "bias": _array(module.bias)}
    norm = layers.BatchNorm(momentum=module.momentum, epsilon=module.eps)
    statistics = {"running_mean": _array(module.running_mean), "running_variance": _array(module.running_var)}
    assembly.add(norm, place, **affine, **statistics)


def _layer_norm(assembly: Assembly, module: Any, place: str) -> None:
    if len(module.normalized_shape) != 1:
        raise ValueError(f"expected one dimension, got normalized_shape={tuple(module.normalized_shape)}")
    given = {"weight": _optional(module.weight), "bias": _optional(module.bias)}
    arrays = {name: array for name, array in given.items() if array is not None}
    assembly.add(layers.LayerNorm(epsilon=module.eps), place, **arrays)


def _dropout(assembly: Assembly, module: Any, place: str) -> None:
    assembly.add(layers.Dropout(module.p), place)


def _prelu(assembly: Assembly, module: Any, place: str) -> None:
    assembly.add(layers.PReLU(), place, weight=_array(module.weight))


def _embedding(assembly: Assembly, module: Any, place: str) -> None:
    if module.max_norm is not None:
        raise ValueError(f"expected max_norm=None, got {module.max_norm}")
    table = _array(module.weight)
    assembly.add(layers.Embedding(*table.shape), place, weight=table)


def _flatten(assembly: Assembly, module: Any, place: str) -> None:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise ValueError(f"expected start_dim=1, end_dim=-1, got {module.start_dim}, {module.end_dim}")


def _softmax_of(function: ActivationFunction) -> Callable[[Assembly, Any, str], None]:
    def read(assembly: Assembly, module: Any, place: str) -> None:
        if module.dim not in (None, 1, -1):
            raise ValueError(f"expected dim=-1, the numbers of a row, got {module.dim}")
        assembly.activate(function, place)

    return read


def _plain(function: ActivationFunction, **must: Any) -> Callable[[Assembly, Any, str], None]:
    """An activation whose numbers, where it has some, must be these."""

    def read(assembly: Assembly, module: Any, place: str) -> None:
        for name, value in must.items():
            if getattr(module, name) != value:
                raise ValueError(f"expected {name}={value}, got {getattr(module, name)}")
        assembly.activate(function, place)

    return read


def _leaky_relu(assembly: Assembly, module: Any, place: str) -> None:
    assembly.activate(activations.leaky_relu.with_slope(module.negative_slope), place)


def _elu(assembly: Assembly, module: Any, place: str) -> None:
    assembly.activate(activations.elu.with_alpha(module.alpha), place)


def _gelu(assembly: Assembly, module: Any, place: str) -> None:
    assembly.activate(activations.gelu if module.approximate == "none" else activations.gelu_tanh, place)


_READERS: dict[str, Callable[[Assembly, Any, str], None]] = {
    "Linear": _linear, "BatchNorm1d": _batch_norm, "LayerNorm": _layer_norm, "Dropout": _dropout, "PReLU": _prelu,
    "Embedding": _embedding, "Flatten": _flatten, "Identity": _plain(activations.identity),
    "Sigmoid": _plain(activations.sigmoid), "Tanh": _plain(activations.tanh), "ReLU": _plain(activations.relu),
    "LeakyReLU": _leaky_relu, "ELU": _elu, "SELU": _plain(activations.selu), "GELU": _gelu,
    "SiLU": _plain(activations.silu), "Mish": _plain(activations.mish),
    "Softplus": _plain(activations.softplus, beta=1), "Softsign": _plain(activations.softsign),
    "Hardsigmoid": _plain(activations.hard_sigmoid), "Hardtanh": _plain(activations.hard_tanh, min_val=-1, max_val=1),
    "Softmax": _softmax_of(activations.softmax), "LogSoftmax": _softmax_of(activations.log_softmax),
}  # fmt: skip


# From weights, and the layers that they belong to.


def _architecture(given: Any, source: str) -> Sequential:
    if given is None:
        raise TypeError(f"from_torch: expected the layers of the network beside {source}, which has weights alone")
    if isinstance(given, Sequential):
        return given.copy()
    return Sequential(given, rng=0)


def _arrays(state: Mapping[Any, Any]) -> dict[str, Array]:
    found = {}
    for key, tensor in state.items():
        if not isinstance(key, str):
            raise TypeError(f"from_torch: expected names of tensors, got {_validate.shown(key)}")
        with _validate.within(f"from_torch: {key}"):
            found[key] = _array(tensor)
    return found


def _filled(arrays: dict[str, Array], net: Sequential, ordered: bool) -> Sequential:
    """The network with these tensors, wherever they belong."""
    arrays = {key: array for key, array in arrays.items() if key.rpartition(".")[2] != "num_batches_tracked"}
    if any(array.dtype == np.float64 for array in arrays.values()) and net.dtype == np.float32:
        net = _of_double(net)
    keys = _direct(net, arrays) or _in_turn(net, arrays, ordered)
    own, kinds = net.arrays(), {operation.name: operation.kind for operation in net.graph}
    for name, key in keys.items():
        dense = kinds.get(name.rpartition(".")[0]) == "dense"
        put(own[name], arrays[key].T if dense else arrays[key], f"from_torch: {key}")
    net.metadata = {**net.metadata, KEYS: {name: [key, list(arrays[key].shape)] for name, key in keys.items()}}
    return net


def _of_double(net: Sequential) -> Sequential:
    return Sequential([type(layer).from_config(layer.config()) for layer in net.layers], rng=0, dtype="float64")


def _direct(net: Sequential, arrays: Mapping[str, Array]) -> dict[str, str]:
    """The keys that the network would give its arrays itself, if they are those."""
    try:
        keys = {name: key for name, key, _ in theirs(net.graph)}
    except TypeError:  # it has layers that PyTorch has not
        return {}
    return keys if {*keys.values()} == arrays.keys() else {}


def _in_turn(net: Sequential, arrays: Mapping[str, Array], ordered: bool) -> dict[str, str]:
    """Module by module, the arrays of layer by layer."""
    modules: dict[str, list[str]] = {}
    for key in arrays:
        modules.setdefault(key.rpartition(".")[0], []).append(key)
    wanted: dict[str, list[str]] = {}
    for name in net.arrays():
        wanted.setdefault(name.rpartition(".")[0], []).append(name)
    places = [*modules] if ordered else _by_number(modules)
    if len(places) != len(wanted):
        got = f"those of {len(places)}: {_validate.shown(places)}"
        raise ValueError(f"from_torch: expected tensors of {len(wanted)} modules, one for each layer, got {got}")
    keys = {}
    for place, (layer, names) in zip(places, wanted.items(), strict=True):
        found = {ours(key.rpartition(".")[2]): key for key in modules[place]}
        expected = {name.rpartition(".")[2] for name in names}
        if found.keys() != expected:
            raise ValueError(
                f"from_torch: expected {', '.join(sorted(expected))} for layer {layer}, got {', '.join(modules[place])}"
            )
        keys.update({f"{layer}.{name}": key for name, key in found.items()})
    return keys


def _by_number(modules: Mapping[str, Any]) -> list[str]:
    """Modules in the order of the numbers in their names, which must be alike but for those."""
    if len({re.sub(r"\d+", "#", place) for place in modules}) > 1:
        got = _validate.shown([*modules])
        raise ValueError(
            f"from_torch: expected modules whose names differ in their numbers, got {got}, whose order a file does not "
            "hold: hand over a dict of them in their order"
        )
    return sorted(modules, key=lambda place: [int(number) for number in re.findall(r"\d+", place)])
