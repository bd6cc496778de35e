"""A saved network scores tables that no machine holds: with Dask, Spark and Ray Data, each where it is installed.

Each worker has the network once and predicts on one thread.

    python examples/scoring.py
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

import backprop as bp

COLUMNS = ["a", "b", "c"]


def score(frame: pd.DataFrame, net: bp.Sequential) -> pd.DataFrame:
    """A part of a table, with what the network says of it."""
    return frame.assign(score=net.predict(frame[COLUMNS], threads=1)[:, 0].astype(float))


def with_dask(table: pd.DataFrame, path: str) -> pd.DataFrame:
    """`map_partitions`: a function of a DataFrame for each partition."""
    import dask.dataframe as dd

    net = bp.load(path)  # it travels to the workers as the bytes of its file
    meta = score(table.iloc[:1], net).iloc[:0]
    return dd.from_pandas(table, npartitions=4).map_partitions(score, net, meta=meta).compute()


def with_spark(table: pd.DataFrame, path: str) -> pd.DataFrame:
    """`mapInPandas`: a function of an iterator of DataFrames for each task."""
    from pyspark.sql import SparkSession

    def scored(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        net = bp.load(path)
        for frame in frames:
            yield score(frame, net)

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # the same for its workers
    session = SparkSession.builder.master("local[2]").getOrCreate()
    schema = ", ".join(f"{name} double" for name in [*COLUMNS, "score"])
    return session.createDataFrame(table).mapInPandas(scored, schema).toPandas()


class Scorer:
    """What Ray Data keeps in each actor of `map_batches`."""

    def __init__(self, path: str) -> None:
        self.net = bp.load(path)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A batch, with the score beside."""
        return {name: values.to_numpy() for name, values in score(pd.DataFrame(batch), self.net).items()}


def with_ray(table: pd.DataFrame, path: str) -> pd.DataFrame:
    """`map_batches`: a class, of which each actor has one object."""
    import ray

    data = ray.data.from_pandas(table).repartition(4)
    return data.map_batches(Scorer, fn_constructor_args=(path,), concurrency=1).to_pandas()


WAYS = {"dask": with_dask, "pyspark": with_spark, "ray": with_ray}


def main() -> None:
    """Score a table in each way that is installed, and compare with one prediction of all of it."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.standard_normal((10_000, 3)), columns=COLUMNS)
    net = bp.Sequential([bp.Dense(3, 16, "relu"), bp.Dense(16, 1, "sigmoid")], rng=0)
    net.fit(table, table["a"] * table["b"] > 0, loss="binary_cross_entropy", optimizer="adam", epochs=3)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "net.safetensors"))
        net.save(path)
        wanted = score(table, net)
        for package, way in WAYS.items():
            if find_spec(package) is None:
                print(f"{package} is not installed")
                continue
            found = way(table, path).sort_values(COLUMNS)
            same = np.array_equal(found["score"], wanted.sort_values(COLUMNS)["score"])
            print(f"{package}: {len(found)} rows, {'the same bits' if same else 'OTHER numbers'}")


if __name__ == "__main__":
    main()
