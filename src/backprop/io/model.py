"""A model file: the architecture as JSON in the metadata of a safetensors file, beside the arrays of the layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from .. import _core, _validate, callbacks, layers, optimizers, schedules
from .._version import __version__
from ..errors import FormatError
from . import checkpoint, safetensors, strict_json

__all__ = [
    "COUNTERS", "check_room", "checked_metadata", "pack", "pack_estimator", "pack_members", "read", "read_estimator",
    "read_members", "sensible",
]  # fmt: skip

Array = _validate.Array

#: Of a network, and of an ensemble and of an estimator, which version 0.1 does not know.
FORMAT_VERSION, MEMBERS_VERSION, ESTIMATOR_VERSION = "1", "2", "3"
#: Layers and branches, and the lists they stand in, that a file may have.
MOST_LISTS = 1 << 15
#: The counters of a network. Those of a file are at most half of what they hold, so that there is room to go on.
COUNTERS = ("seed", "epochs", "steps")


def checked_metadata(value: Any, name: str) -> dict[str, Any]:
    """What a file gives back as it is."""
    if type(value) is not dict:
        raise TypeError(f"{name}: expected a dict, got {_validate.shown(value)}")
    strict_json.check_json(value, name)
    if (size := len(json.dumps(value))) > strict_json.MAX_HEADER:
        raise ValueError(
            f"{name}: expected at most {strict_json.MAX_HEADER} bytes as JSON, got {size}: keep it in its own file"
        )
    return value


def pack(net: Any, more: Mapping[str, Array] | None = None, training: str | None = None) -> bytes:
    """The bytes of the file of a network; of a checkpoint, with more tensors and the training."""
    architecture = _architecture(net)
    return safetensors.pack({**net.arrays(), **(more or {})}, {
        "format": "backprop", "format_version": FORMAT_VERSION, "backprop_version": __version__,
        "architecture": json.dumps(architecture), "metadata": json.dumps(net.metadata, allow_nan=False),
    } | ({} if training is None else {"training": training}))  # fmt: skip


def pack_members(
    nets: Sequence[Any], more: Mapping[str, Array] | None = None, told: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of the file of an ensemble: each network by its architecture, its tensors by its number."""
    members = [{"architecture": _architecture(net), "metadata": net.metadata} for net in nets]
    arrays = {f"{i}/{name}": array for i, net in enumerate(nets) for name, array in net.arrays().items()}
    return safetensors.pack({**arrays, **(more or {})}, {
        "format": "backprop", "format_version": MEMBERS_VERSION, "backprop_version": __version__,
        "members": json.dumps(members, allow_nan=False), **(told or {}),
    })  # fmt: skip


def pack_estimator(nets: Sequence[Any], told: Mapping[str, Any], more: Mapping[str, Array]) -> bytes:
    """The bytes of the file of an estimator: its networks, what is told of it, and the tensors of that."""
    text = json.dumps(told, allow_nan=False)
    return pack_members(nets, more, {"format_version": ESTIMATOR_VERSION, "estimator": text})


def _architecture(net: Any) -> dict[str, Any]:
    """What builds a network again, as JSON can hold it; what no file can hold is refused."""
    for name, array in net.arrays().items():
        check_array(name, array)
    check_room(net)
    checked_metadata(net.metadata, "metadata")
    custom = next((layer for layer in net.layers if not layer.compiled), None)
    if custom is not None:
        cure = "a file holds no code, nor does a copy or a pickle: build the network again and assign its arrays()"
        raise TypeError(f"save: expected built-in layers, got {custom!r}: {cure}")
    described = [layer.described() for layer in net.layers]
    if layers.chain_inputs(tuple(layers.from_description(*layer) for layer in described)) is None:
        got = _validate.shown(list(net.layers))
        cure = "save the network that it is a slice of"
        raise ValueError(f"save: expected at least one layer with sizes, such as Dense, got only {got}: {cure}")
    return {
        "layers": described,
        "dtype": net.dtype.name, "seed": net.seed, "epochs": net.epochs, "steps": net.steps,
    } | ({} if net.feature_names is None else {"feature_names": net.feature_names})  # fmt: skip


def read(
    declare: Callable[[Any, Any], Any], source: safetensors.Readable, name: str | None = None
) -> tuple[Any, checkpoint.Checkpoint | None]:
    """The network that a file describes, and its training; every word of it is checked against a closed list.

    A network of these layers and this dtype is declared, without memory, by `declare`.
    What the architecture asks for is compared with what there is before memory is taken for it.
    """
    name = safetensors.name_of(source) if name is None else name
    arrays, metadata = safetensors.read(source, name)
    with safetensors.named(name):
        _ours(metadata, FORMAT_VERSION, {"architecture", "metadata", "training"})
        with sensible("an architecture"):
            _expect_few_lists(metadata["architecture"])
            described = [strict_json.decode(metadata[part], part) for part in ("architecture", "metadata")]
            net = _declared(declare, *described)
        wanted = net._shapes()
        more = {name: arrays.pop(name) for name in [*arrays] if name not in wanted and "training" in metadata}
        _fill(net, arrays)
        training = None
        if "training" in metadata:
            with sensible("a checkpoint"):
                training = checkpoint.unpack(more, strict_json.decode(metadata["training"], "training"))
                _check_training(net, training)
    return net, training


def read_members(
    declare: Callable[[Any, Any], Any], source: safetensors.Readable, name: str | None = None
) -> list[Any]:
    """The networks of an ensemble that a file describes, read as strictly."""
    name = safetensors.name_of(source) if name is None else name
    arrays, metadata = safetensors.read(source, name)
    with safetensors.named(name):
        _ours(metadata, MEMBERS_VERSION, {"members"})
        return _members(declare, arrays, metadata)


def read_estimator(
    declare: Callable[[Any, Any], Any], source: safetensors.Readable, name: str
) -> tuple[list[Any], Any, dict[str, Array]]:
    """The networks of an estimator, what is told of it, and the tensors of that."""
    arrays, metadata = safetensors.read(source, name)
    with safetensors.named(name):
        _ours(metadata, ESTIMATOR_VERSION, {"members", "estimator"})
        with sensible("an estimator"):
            told = strict_json.decode(metadata["estimator"], "estimator")
        more = {key: arrays.pop(key) for key in [*arrays] if key.startswith("value/")}
        return _members(declare, arrays, metadata), told, more


def _members(declare: Callable[[Any, Any], Any], arrays: dict[str, Array], metadata: Mapping[str, str]) -> list[Any]:
    with sensible("the members of an ensemble"):
        _expect_few_lists(metadata["members"])
        members = strict_json.decode(metadata["members"], "members")
        if not isinstance(members, list) or not members:
            raise ValueError(f"expected a list of them, got {_validate.shown(members)}")
        if any(not isinstance(member, dict) or member.keys() != {"architecture", "metadata"} for member in members):
            raise ValueError("expected an architecture and metadata of each, and nothing else")
        nets = [_declared(declare, member["architecture"], member["metadata"]) for member in members]
    wanted = {f"{i}/{name}": shape for i, net in enumerate(nets) for name, shape in net._shapes().items()}
    with _damaged():
        _expect_tensors(wanted, arrays)
    for i, net in enumerate(nets):
        _fill(net, {name: arrays.pop(f"{i}/{name}") for name in net._shapes()})
    return nets


def _expect_few_lists(architecture: str) -> None:
    if architecture.count("[") > MOST_LISTS:
        raise ValueError(f"more than {MOST_LISTS} layers and branches")


def _fill(net: Any, arrays: dict[str, Array]) -> None:
    """Memory for a network that is declared, with these arrays, which are given up, once they are what it needs."""
    with _damaged():
        _compare(net._shapes(), arrays, net.dtype)
    with sensible("an architecture"):
        net._allocate(arrays)


@contextmanager
def _damaged() -> Iterator[None]:
    """What was refused inside is a fault of the file."""
    try:
        yield
    except ValueError as error:
        raise FormatError(str(error)) from error


@contextmanager
def sensible(what: str) -> Iterator[None]:
    """What was refused inside is refused as part of a file."""
    try:
        yield
    except FormatError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else error
        raise FormatError(f"expected {what}, got one that does not make sense: {said}") from error


#: What files hold, by their version, and what reads them.
_READERS = {
    FORMAT_VERSION: "a single network, which backprop.load reads",
    MEMBERS_VERSION: "an ensemble, which backprop.Ensemble.load reads",
    ESTIMATOR_VERSION: "an estimator, which backprop.sklearn.load reads",
}


def _ours(metadata: Mapping[str, str], version: str, own: set[str]) -> None:
    """Refuse the files of other programs, of later versions, and what another function reads."""
    if metadata.get("format") != "backprop":
        raise FormatError("expected a model of backprop, got a safetensors file of something else")
    given = metadata.get("format_version")
    if given != version and given in _READERS:
        raise FormatError(f"expected {_READERS[version].partition(',')[0]}, got {_READERS[given]}")
    if given != version:
        got = _validate.shown(given)
        raise FormatError(f"expected format version {version}, got {got}: a later version of backprop may read it")
    unknown = metadata.keys() - own - {"format", "format_version", "backprop_version"}
    if unknown:
        raise FormatError(f"unknown metadata {_validate.shown(sorted(unknown))}")


def _declared(declare: Callable[[Any, Any], Any], architecture: Any, metadata: Any) -> Any:
    """The network of an architecture, with its metadata, without memory."""
    if not isinstance(architecture, dict):
        raise TypeError(f"expected a dict, got {_validate.shown(architecture)}")
    given = {name: architecture.pop(name) for name in ("layers", "dtype", *COUNTERS)}
    columns = architecture.pop("feature_names", None)
    if architecture:
        raise ValueError(f"unknown entries {_validate.shown(sorted(architecture))}")
    if given["dtype"] not in ("float32", "float64"):
        raise ValueError(f'dtype: expected "float32" or "float64", got {_validate.shown(given["dtype"])}')
    net = declare([layers.from_description(*layer) for layer in given["layers"]], given["dtype"])
    for name in COUNTERS:
        setattr(net, name, given[name])
    check_room(net)
    net.feature_names, net.metadata = columns, metadata
    return net


def check_room(net: Any) -> None:
    """Refuse counters that training could not go on from."""
    for name in "epochs", "steps":
        _validate.integer(getattr(net, name), name, 0, 2**61)


def _compare(wanted: Mapping[str, tuple[int, ...]], arrays: Mapping[str, Array], dtype: np.dtype[Any]) -> None:
    """Refuse arrays that are not, name by name, what the layers ask for."""
    for name, shape in wanted.items():
        if name not in arrays:
            raise ValueError(f"expected the tensor {name}, {dtype} {shape}, got none of this name")
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{name}: expected {dtype} {shape}, got {array.dtype} {_validate.shown(array.shape)}")
        check_array(name, array)
    _expect_tensors(wanted, arrays)


def _expect_tensors(wanted: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Refuse tensors that nothing asks for, and, once each that is there was asked for, those that are missing."""
    other = next((name for name in arrays if name not in wanted), None)
    if other is not None:
        raise ValueError(f"expected the tensors of the layers, got {_validate.shown(other)}, which none of them has")
    missing = next((name for name in wanted if name not in arrays), None)
    if missing is not None:
        raise ValueError(f"expected the tensor {missing}, got none of this name")


def check_array(name: str, array: Array) -> None:
    """Refuse numbers that no network can have."""
    if not _core.all_finite(array.reshape(-1)):
        raise ValueError(f"{name}: expected finite numbers")
    if name.endswith(".running_variance") and array.min(initial=0) < 0:
        raise ValueError(f"{name}: expected variances, got {array.min()}")


def _check_training(net: Any, training: checkpoint.Checkpoint) -> None:
    """Refuse what no run of this network could have left behind."""
    if training.optimizer["name"] in optimizers.KINDS and training.optimizer.get("learning_rate", 0.0) is not None:
        optimizer = optimizers.from_config(training.optimizer, schedules.from_config)
        training.check_state(optimizer, net.parameters)
    weights = partial(_compare, net._shapes(), dtype=net.dtype)
    for kind, state in zip(training.asked["callbacks"], training.callbacks, strict=True):
        callbacks.check_state(kind, state, training.epoch, weights)
