"""Models of tables: a network, or several, with the recipe for the columns in the metadata."""

import math
from dataclasses import dataclass, field
from typing import Any

import backprop as bp

from .. import _validate, tables
from ..ensemble import Ensemble

__all__ = ["Model", "loaded", "network_of", "recipe_of"]

Array = _validate.Array


@dataclass
class Model:
    """What `train` writes and `predict` reads.

    Attributes
    ----------
    network : Sequential or Ensemble
    recipe : Recipe
    id : list of str
        Columns that are passed through to the predictions.
    residuals : list of float
        Of a number: how far it was from the predictions of rows that were not trained on, in ascending order.
    """

    network: bp.Sequential | Ensemble
    recipe: tables.Recipe
    id: list[str] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)

    def save(self, path: str) -> None:
        """Write it, wholly or not at all."""
        more = {"id": self.id, "residuals": self.residuals}
        metadata = {"recipe": self.recipe.to_dict()} | {name: value for name, value in more.items() if value}
        net = self.network if isinstance(self.network, bp.Sequential) else self.network[0]
        net.metadata |= metadata
        self.network.save(path)

    def half_width(self, share: float) -> float:
        """How far an interval reaches to both sides of a prediction, that is to hold such a share of the values.

        References
        ----------
        Lei et al.: "Distribution-free predictive inference for regression", Journal of the American Statistical
        Association 113, 2018, algorithm 2.
        """
        share = _validate.number(share, "--interval", above=0, below=1)
        n = len(self.residuals)
        place = math.ceil(round((n + 1) * share, 9))
        if place > n:
            least = math.ceil(round(share / (1 - share), 9))
            raise ValueError(
                f"--interval {share:g}: expected at least {least} rows that were tested on, got {n}: ask for less, or "
                "train on more rows"
            )
        return self.residuals[place - 1]


def loaded(path: str) -> Model:
    """The model in a file, refused where it is none of a table."""
    network = network_of(path)
    metadata = (network if isinstance(network, bp.Sequential) else network[0]).metadata
    recipe = recipe_of(metadata, path)
    if (recipe.n_in, recipe.target.width) != (network.n_in, network.n_out):
        raise ValueError(
            f"{path}: the recipe makes {recipe.n_in} numbers of a row and expects {recipe.target.width} back, "
            f"the network takes {network.n_in} and gives {network.n_out}"
        )
    try:
        names = [_text(name) for name in _validate.items(metadata.get("id", []), "id")]
        residuals = [_validate.number(value, "residuals", least=0) for value in metadata.get("residuals", [])]
        if residuals != sorted(residuals):
            raise ValueError("residuals: expected them in ascending order, got others")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return Model(network, recipe, names, residuals)


def network_of(path: str) -> bp.Sequential | Ensemble:
    """The network, or the several, in a file."""
    try:
        return bp.load(path)
    except bp.FormatError as error:
        try:
            return Ensemble.load(path)
        except bp.FormatError:
            raise error from None


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"id: expected names of columns, got {_validate.shown(name)}")
    return name


def recipe_of(metadata: dict[str, Any], path: str) -> tables.Recipe:
    """The recipe that a model carries."""
    if "recipe" not in metadata:
        raise ValueError(f"{path}: expected a model trained on a CSV file, got one without a recipe for its columns")
    try:
        return tables.Recipe.from_dict(metadata["recipe"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
