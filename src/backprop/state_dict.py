"""A network's arrays under the names that PyTorch gives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import _validate, activations
from .program.graph import Graph

__all__ = ["KEYS", "StateArray", "of", "ours", "theirs"]

Array = _validate.Array

#: Where a network's metadata says which keys, and which shapes, its arrays had in PyTorch.
KEYS = "torch_keys"
_NAMES = {"running_variance": "running_var"}
#: What an ``nn.Sequential`` has a module for.
_KINDS = ("dense", "activation", "dropout", "prelu", "batch_norm", "layer_norm", "embedding")


def ours(name: str) -> str:
    """What an array that PyTorch calls so is called here."""
    return next((ours for ours, theirs in _NAMES.items() if theirs == name), name)


def theirs(graph: Graph) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Each array's name, its key in an ``nn.Sequential`` with a module for each layer and activation, and shape."""
    at, before = 0, "input"
    for operation in graph:
        if operation.kind not in _KINDS or operation.inputs != (before,):
            kinds = ", ".join(_KINDS)
            raise TypeError(
                f"to_torch_state_dict: expected a chain of {kinds}, got {operation.kind} at {operation.name}, for "
                "which nn.Sequential has no module"
            )
        for name, array in {**operation.parameters, **operation.buffers}.items():
            shape = array.shape[::-1] if operation.kind == "dense" else array.shape
            yield f"{operation.name}.{name}", f"{at}.{_NAMES.get(name, name)}", shape
        at += 1 + (operation.kind != "activation" and operation.activation != activations.identity)
        before = operation.name


class StateArray(np.ndarray[Any, np.dtype[Any]]):
    """An array that PyTorch copies into a tensor as it would another tensor."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What PyTorch calls: with a tensor of its own in the place of each array."""
        tensor = next(one for one in args if not isinstance(one, StateArray))
        given = [tensor.new_tensor(np.asarray(one)) if isinstance(one, StateArray) else one for one in args]
        return function(*given, **(kwargs or {}))


def of(graph: Graph, metadata: dict[str, Any], steps: int) -> dict[str, Array]:
    """Copies of the arrays, by the keys that the metadata knows, or by those of an ``nn.Sequential``."""
    arrays = {f"{o.name}.{name}": array for o in graph for name, array in {**o.parameters, **o.buffers}.items()}
    kinds = {o.name: o.kind for o in graph}
    kept = metadata.get(KEYS)
    keys = [*theirs(graph)] if kept is None else [(name, key, tuple(shape)) for name, (key, shape) in kept.items()]
    state: dict[str, Array] = {}
    for name, key, shape in keys:
        if name not in arrays:
            raise ValueError(f"to_torch_state_dict: expected metadata of this network, got an array {name} in {KEYS}")
        array = arrays[name].T if kinds[name.rpartition(".")[0]] == "dense" else arrays[name]
        state[key] = np.array(_as_it_was(array, shape, key)).view(StateArray)
        if name.endswith(".running_variance"):
            counter = f"{key.rpartition('.')[0]}.num_batches_tracked".removeprefix(".")
            state[counter] = np.array(steps, np.int64).view(StateArray)
    return state


def _as_it_was(array: Array, shape: tuple[int, ...], key: str) -> Array:
    """In the shape that it came in: one number for all columns must still be one."""
    if shape == (1,) and array.ndim == 1 and len(array) != 1:
        if (array != array[0]).any():
            raise ValueError(
                f"to_torch_state_dict: expected one number for all columns at {key}, as it came, got others since "
                "training: take a module with one for each"
            )
        return array[:1]
    return array
