"""How often the intervals of a network hold, on a table of your own: see docs/tables/intervals.md.

    python benchmarks/intervals.py FILE.csv TARGET

Seven tenths of the rows are fitted, of which a quarter is held out for widening, three tenths are judged; the means of
five divisions. Widths are in standard deviations of the target, and medians.
"""

import sys
from collections.abc import Iterator

import numpy as np
from sklearn.model_selection import train_test_split

import backprop as bp
from backprop import tables
from backprop.sklearn import MLPRegressor

Array = np.ndarray
LEVEL, Z = 0.9, 1.6449
SIDES = np.array([[-1.0], [1.0]])


def widening(low: Array, high: Array, y: Array) -> float:
    """What rows that were held out ask to be added on both sides."""
    outside = np.sort(np.maximum(low - y, y - high))
    return float(outside[int(np.ceil(LEVEL * (len(y) + 1))) - 1])


def network(loss: object, seed: int) -> MLPRegressor:
    return MLPRegressor(
        loss, (64, 64), learning_rate_init=3e-3, early_stopping=True, dtype="float32", random_state=seed
    )


def intervals(fit: tuple[Array, Array], held: tuple[Array, Array], x: Array, seed: int) -> Iterator[tuple[str, Array]]:
    """The name of each way, and its intervals for the rows x: lower and upper ends."""
    quantiles = network(bp.losses.Quantile([(1 - LEVEL) / 2, (1 + LEVEL) / 2]), seed).fit(*fit)
    gaussian = network("gaussian_nll", seed).fit(*fit)
    mean = network("squared_error", seed).fit(*fit)
    spread = np.quantile(abs(fit[1] - mean.predict(fit[0])), LEVEL)

    def around(rows: Array) -> Array:
        middle, std = gaussian.predict(rows, return_std=True)
        return middle + SIDES * Z * std

    ways = {
        "errors of the training rows": lambda rows: mean.predict(rows) + SIDES * spread,
        "quantiles": lambda rows: quantiles.predict(rows).T,
        "a mean and its spread": around,
    }
    for name, way in ways.items():
        yield name, way(x)
        yield f"{name}, widened", way(x) + SIDES * widening(*way(held[0]), held[1])


def main(path: str, target: str) -> None:
    table = tables.read(path)
    recipe = tables.Recipe.learn(table, target, np.arange(len(table)))
    x, y = recipe.x(table), recipe.target.encode(table).ravel()
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(5):
        x_fit, rows, y_fit, truth = train_test_split(x, y, test_size=0.3, random_state=seed)
        x_fit, x_held, y_fit, y_held = train_test_split(x_fit, y_fit, test_size=0.25, random_state=seed)
        for name, (low, high) in intervals((x_fit, y_fit), (x_held, y_held), rows, seed):
            holds = np.mean((low <= truth) & (truth <= high))
            found.setdefault(name, []).append((float(holds), float(np.median(high - low))))
    print(f"{path}: {len(y):,} rows, an interval of {LEVEL:.0%}")
    for name, of_all in found.items():
        holds, width = np.mean(of_all, axis=0)
        print(f"{name:38} holds {holds:6.1%}  median width {width:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
