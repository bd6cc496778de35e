"""Models of tables: networks, with what stands around them in the metadata of the first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import backprop as bp

from .. import _validate, tables
from ..ensemble import Ensemble
from ..preprocessing import TableEncoder
from ..tables.features import entry, from_entry
from ..tables.recipe import read_as
from ..tabular import TableModel
from ..tabular.building import Layout
from ..tabular.encoding import UNSCALED, Encoding
from ..tabular.model import Target, ascending

__all__ = ["Model", "loaded", "network_of", "target_of"]

Array = _validate.Array

#: What a target has learned, which is with the networks.
LEARNED = ("mean", "deviation", "categories")


@dataclass
class Model:
    """What `train` writes and `predict` reads.

    Attributes
    ----------
    table : TableModel
    target : Number or Text
        The column that it predicts; `Text` where it is classes.
    columns : int
        How many there were in a file without a header; 0 of one with a header.
    id : list of str
        Columns that are passed through to the predictions.
    """

    table: TableModel
    target: tables.Number | tables.Text
    columns: int = 0
    id: list[str] = field(default_factory=list)

    def read(self, path: str) -> tables.Table:
        """Read a file with the columns of the training; the target may be absent."""
        return read_as(path, self.columns, self.target.name)

    def remarks(self, table: tables.Table) -> list[str]:
        """What differs from training, a line for each column."""
        return self.table.encoding.encoder.remarks(table)

    def save(self, path: str) -> None:
        """Write it, wholly or not at all: a file of a network, or of an ensemble."""
        first, *others = self.table.ensemble.members
        target = {key: value for key, value in entry(self.target).items() if key not in LEARNED}
        of_file = {"target": target, "columns": self.columns, "id": self.id}
        first.metadata |= {"table": self.table.to_dict(), "file": of_file}
        (self.table.ensemble if others else first).save(path)


def loaded(path: str) -> Model:
    """The model in a file, refused where it is none of a table."""
    network = network_of(path)
    ensemble = Ensemble([network]) if isinstance(network, bp.Sequential) else network
    metadata = ensemble[0].metadata
    if not {"recipe", "table"} & metadata.keys():
        raise ValueError(f"{path}: expected a model trained on a CSV file, got one without a recipe for its columns")
    try:
        return _of_recipe(ensemble, metadata) if "recipe" in metadata else _of_table(ensemble, metadata)
    except KeyError as error:
        raise ValueError(f"{path}: expected {error} in its metadata, got none") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _of_table(ensemble: Ensemble, metadata: Mapping[str, Any]) -> Model:
    """The model that `Model.save` wrote."""
    table, of_file = TableModel.from_dict(ensemble, metadata["table"]), metadata["file"]
    columns = _validate.integer(of_file["columns"], "columns", 0, 2**20)
    return Model(table, target_of(table, of_file["target"]), columns, _names(of_file["id"]))


def target_of(table: TableModel, said: Mapping[str, Any]) -> tables.Number | tables.Text:
    """The column that a model predicts, of which this is known beside."""
    if table.target is None:
        target = from_entry({**said, "categories": table.classes})
    else:
        target = from_entry({**said, **{name: getattr(table.target, name)[0].item() for name in LEARNED[:2]}})
    assert not isinstance(target, tables.Date)
    return target


def _of_recipe(ensemble: Ensemble, metadata: Mapping[str, Any]) -> Model:
    """A model of the first version: its columns are scaled one by one, and stay in their order."""
    recipe = tables.Recipe.from_dict(metadata["recipe"])
    if (recipe.n_in, recipe.target.width) != (ensemble.n_in, ensemble.n_out):
        raise ValueError(
            f"the recipe makes {recipe.n_in} numbers of a row and expects {recipe.target.width} back, "
            f"the network takes {ensemble.n_in} and gives {ensemble.n_out}"
        )
    encoder = TableEncoder()
    encoder.columns_, encoder.readings_ = [feature.name for feature in recipe.inputs], {}
    encoder.features_ = [*recipe.inputs]
    encoding = Encoding(encoder, np.arange(recipe.n_in), UNSCALED, Layout(0, recipe.n_in, (), []))
    classes = recipe.target.categories if isinstance(recipe.target, tables.Text) else None
    target = None if isinstance(recipe.target, tables.Text) else Target.of(recipe.target.mean, recipe.target.deviation)
    table = TableModel(encoding, ensemble, classes, target)
    if residuals := metadata.get("residuals", []):
        table.residuals = ascending(np.array([[_validate.number(one, "residuals")] for one in residuals]))
    return Model(table, recipe.target, recipe.columns, _names(metadata.get("id", [])))


def _names(given: Any) -> list[str]:
    for name in _validate.items(given, "id"):
        if not isinstance(name, str):
            raise TypeError(f"id: expected names of columns, got {_validate.shown(name)}")
    return [*given]


def network_of(path: str) -> bp.Sequential | Ensemble:
    """The network, or the several, in a file."""
    try:
        return bp.load(path)
    except bp.FormatError as error:
        try:
            return Ensemble.load(path)
        except bp.FormatError:
            raise error from None
