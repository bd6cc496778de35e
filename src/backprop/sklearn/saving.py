"""Files of estimators, without pickle: a safetensors file with networks, parameters and what fits have left.

A value is written as JSON, where JSON has it; else as a list of a tag and what the tag says, from a closed table.
Arrays of numbers are tensors beside the weights.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import _described, _validate, losses, network, optimizers, schedules
from .. import io as files
from ..activations import ActivationFunction
from . import realmlp
from .labels import Labels

__all__ = ["read", "save"]

Array = _validate.Array

#: What fits leave behind that a file holds; networks, members and the encoder are apart.
FITTED = (
    "classes_", "n_features_in_", "feature_names_in_", "n_outputs_", "n_layers_", "out_activation_", "n_iter_", "t_",
    "loss_", "best_loss_", "loss_curve_", "validation_loss_curve_", "validation_scores_", "best_validation_score_",
    "stopped_", "_shape", "_described", "_labels", "_loss", "_categorical", "_categories",
)  # fmt: skip
#: Parameters of a run, which no file holds.
OF_A_RUN = {"callbacks": (), "progress": False, "threads": None}
_LOSSES = {
    name: kind
    for name, kind in vars(losses).items()
    if isinstance(kind, type) and issubclass(kind, losses.Loss) and kind is not losses.Loss
}
_LABELS = ("classes", "several", "sparse", "multiclass")


def save(mlp: Any, path: str | os.PathLike[str]) -> None:
    """See `MLP.save`."""
    check_is_fitted(mlp)
    members = vars(mlp).get("members_", [mlp])
    tensors: dict[str, Array] = {}
    given = {name: value for name, value in mlp.get_params(deep=False).items() if name not in OF_A_RUN}
    if not isinstance(given["random_state"], (int, np.integer, type(None))):
        given["random_state"] = None  # a generator has gone on since
    told = {
        "class": type(mlp).__name__,
        "parameters": {name: _written(value, name, tensors) for name, value in given.items()},
        "members": [_fitted(member, tensors) for member in members],
        "seeds": [_written(member.random_state, "random_state", tensors) for member in members[1:] and members],
        "encoder": None if mlp._encoder is None else _encoder(mlp._encoder, tensors),
    }
    nets = [member.network_ for member in members]
    files.atomic.write(path, files.model.pack_estimator(nets, told, tensors))


def _fitted(mlp: Any, tensors: dict[str, Array]) -> dict[str, Any]:
    own = vars(mlp)
    return {name: _written(own[name], name, tensors) for name in FITTED if name in own}


def _encoder(encoder: Any, tensors: dict[str, Array]) -> dict[str, Any]:
    (_, codes, categorical), (_, scaler, others) = encoder.transformers_[:2]
    means, scales = (getattr(scaler, name, np.zeros(0)) for name in ("mean_", "scale_"))
    given = {
        "categories": list(codes.categories_), "categorical": list(categorical), "others": list(others),
        "mean": means, "scale": scales,
    }  # fmt: skip
    return {name: _written(value, name, tensors) for name, value in given.items()}


def read(path: str | os.PathLike[str], kinds: Mapping[str, Callable[..., Any]]) -> Any:
    """The estimator in a file, of one of these classes."""
    name = os.fsdecode(path)
    nets, told, tensors = files.model.read_estimator(network.declared, path, name)
    with files.safetensors.named(name), files.model.sensible("an estimator"):
        if isinstance(told, dict) and "table" in told:
            return realmlp.of_file(nets, told)
        if not isinstance(told, dict) or told.keys() != {"class", "parameters", "members", "seeds", "encoder"}:
            raise ValueError(f"expected class, parameters, members and encoder, got {_validate.shown(told)}")
        parameters = {name: _value(value, tensors) for name, value in told["parameters"].items()}
        kind = kinds[_validate.choice(told["class"], "class", kinds)]
        whole = kind(**parameters, **OF_A_RUN)
        whole._validate_params()
        if len(told["members"]) != len(nets) or len(nets) != whole.n_members:
            raise ValueError(f"expected {whole.n_members} members, got {len(nets)} networks")
        encoder = None if told["encoder"] is None else Encoder(**_values(told["encoder"], tensors))
        members = [whole]
        if len(nets) > 1:
            seeds = _validate.items(told["seeds"], "seeds")
            single = {**parameters, **OF_A_RUN, "n_members": 1, "threads": 1}
            members = [kind(**{**single, "random_state": _value(seed, tensors)}) for seed in seeds]
        for member, net, own in zip(members, nets, told["members"], strict=True):
            _restore(member, net, _values(own, tensors), encoder)
        if len(nets) > 1:
            _restore(whole, nets[0], _values(told["members"][0], tensors), encoder)
            whole.members_ = members
    return whole


def _restore(mlp: Any, net: Any, own: dict[str, Any], encoder: Any) -> None:
    """Have an estimator be as a fit left it."""
    unknown = own.keys() - {*FITTED}
    if unknown or not {"n_features_in_", "_loss"} <= own.keys():
        raise ValueError(f"expected {', '.join(FITTED)}, got {_validate.shown(sorted(own))}")
    _validate.integer(own["n_features_in_"], "n_features_in_")
    if encoder is None and own["n_features_in_"] != net.n_in:
        raise ValueError(f"n_features_in_: expected the {net.n_in} inputs of the network, got {own['n_features_in_']}")
    if "classes_" in own and not isinstance(own.get("_labels"), Labels):
        raise ValueError("expected labels beside the classes, got none")
    vars(mlp).update(own)
    mlp.network_, mlp._encoder = net, encoder


# Values.


def _written(value: Any, name: str, tensors: dict[str, Array]) -> Any:
    """A value as JSON can hold it."""
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, np.generic):
        return _written(value.item(), name, tensors)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else ["float", repr(value)]
    if isinstance(value, np.ndarray):
        return _array(value, name, tensors)
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return [kind, [_written(one, name, tensors) for one in value]]
    if isinstance(value, Mapping):
        return ["dict", [[_written(part, name, tensors) for part in pair] for pair in value.items()]]
    if isinstance(value, Labels):
        return ["labels", [_written(getattr(value, part), name, tensors) for part in _LABELS]]
    return _object(value, name)


def _object(value: Any, name: str) -> list[Any]:
    """An object of this package, by its configuration."""
    if isinstance(value, ActivationFunction):
        return ["activation", [value.name, value.slope]]
    if isinstance(value, losses.Loss) and type(value).__name__ in _LOSSES:
        return ["loss", value.config()]
    if isinstance(value, optimizers.Optimizer):
        return ["optimizer", value.config()]
    if isinstance(value, schedules.Schedule):
        return ["schedule", value.config()]
    if isinstance(value, (np.dtype, type)):
        return ["dtype", np.dtype(value).name]
    raise TypeError(f"save: expected values that a file can hold, got {name}={value!r}: a file holds no code")


def _array(array: Array, name: str, tensors: dict[str, Array]) -> list[Any]:
    """Numbers are a tensor; words are in the header."""
    if array.dtype.kind in "fiub":
        kept = array.astype({"f": np.float64, "b": np.uint8}.get(array.dtype.kind, np.int64))
        tensors[place := f"value/{len(tensors)}"] = kept
        return ["array", [place, array.dtype.name]]
    words = [_written(one, name, tensors) for one in array.ravel().tolist()]
    return ["words", [words, list(array.shape), array.dtype.str if array.dtype.kind == "U" else "object"]]


def _values(given: Any, tensors: Mapping[str, Array]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise TypeError(f"expected values by name, got {_validate.shown(given)}")
    return {name: _value(value, tensors) for name, value in given.items()}


def _value(given: Any, tensors: Mapping[str, Array]) -> Any:
    """What `_written` wrote."""
    if not isinstance(given, list):
        return given
    tag, what = given
    if tag in ("list", "tuple"):
        found = [_value(one, tensors) for one in what]
        return tuple(found) if tag == "tuple" else found
    if tag == "dict":
        return {_value(key, tensors): _value(value, tensors) for key, value in what}
    if tag == "array":
        return tensors[what[0]].astype(_dtype(what[1]))
    if tag == "words":
        words = np.empty(len(what[0]), object)
        words[:] = [_value(one, tensors) for one in what[0]]
        return words.reshape(what[1]).astype(what[2] if str(what[2]).startswith("<U") else object)
    if tag == "labels":
        labels = Labels.__new__(Labels)
        vars(labels).update(zip(_LABELS, (_value(one, tensors) for one in what), strict=True))
        return labels
    return _OBJECTS[tag](what)


def _dtype(name: Any) -> np.dtype[Any]:
    found = np.dtype(str(name))
    if found.kind not in "fiub":
        raise ValueError(f"expected a type of numbers, got {_validate.shown(name)}")
    return found


_OBJECTS: dict[str, Callable[[Any], Any]] = {
    "float": float, "activation": lambda given: ActivationFunction(*given),
    "loss": lambda given: _described.from_config(given, _LOSSES),
    "optimizer": lambda given: optimizers.from_config(given, schedules.from_config),
    "schedule": schedules.from_config, "dtype": _dtype,
}  # fmt: skip


class Encoder:
    """What a fitted encoder of categorical features does, without the object of scikit-learn."""

    def __init__(
        self, categories: list[Array], categorical: list[int], others: list[int], mean: Array, scale: Array
    ) -> None:
        codes, scaler = SimpleNamespace(categories_=categories), SimpleNamespace(mean_=mean, scale_=scale)
        self.transformers_ = [("categories", codes, categorical), ("numbers", scaler, others), None]
        self._places = [
            {one: i for i, one in enumerate(names.tolist()) if one is not None and one == one} for names in categories
        ]

    def transform(self, X: Any) -> Array:
        """Codes from -1, and scaled numbers."""
        (_, _, categorical), (_, scaler, others) = self.transformers_[0], self.transformers_[1]  # type: ignore[misc]
        names = getattr(X, "columns", None)
        columns = [np.asarray(X[name]) for name in names] if names is not None else [*np.asarray(X).T]
        codes = [
            [places.get(one, -1) for one in columns[i].tolist()]
            for places, i in zip(self._places, categorical, strict=True)
        ]
        numbers = [(columns[i].astype(np.float64) - scaler.mean_[k]) / scaler.scale_[k] for k, i in enumerate(others)]
        return np.column_stack([np.array(part, np.float64) for part in [*codes, *numbers]])
