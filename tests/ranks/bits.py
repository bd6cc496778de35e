"""Fits in four shards, over the ranks of a communicator or in one process: their bits as JSON, told by rank 0.

mpiexec -n 3 python tests/ranks/bits.py mpi all
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

import backprop as bp

SHARDS, ROWS = 4, 203
RNG = np.random.default_rng(0)
X = RNG.standard_normal((ROWS, 5)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0) + (X[:, 2] > 1).astype(int)
WEIGHTS = RNG.random(ROWS) * (RNG.random(ROWS) > 0.2)


def network(dtype="float32"):
    layers = [bp.Dense(5, 8, "tanh"), bp.Dropout(0.2), bp.LayerNorm(), bp.Dense(8, 3, "softmax")]
    return bp.Sequential(layers, rng=1, dtype=dtype)


def with_norms():
    layers = [bp.BatchNorm(), bp.Residual([bp.Dense(5, 5, "relu"), bp.BatchNorm()]), bp.Dense(5, 3, "softmax")]
    return bp.Sequential(layers, rng=1)


def smooth():
    return bp.Sequential([bp.Dense(5, 4, "tanh"), bp.Dense(4, 3, "softmax")], rng=1, dtype="float64")


class Halving(bp.Callback):
    """Changes gradients, and the learning rate."""

    def on_gradients(self, run):
        run.network.gradients *= 0.5

    def on_epoch_end(self, run):
        run.optimizer.learning_rate *= 0.9


class Streamed:
    """The rows of this rank as batches, of which each time the last is the shortest."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        size = max(1, len(self.x) // 3)
        return ((self.x[i : i + size], self.y[i : i + size]) for i in range(0, len(self.x), size))


def told(net, history, optimizer):
    state = [optimizer.state[name] for name in sorted(optimizer.state)]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in (net.parameters, net.buffers, *state)))
    return [digest.hexdigest(), {name: list(values) for name, values in history.items()}]


def fits(comm, rank, size, only):
    """What each of the fits comes to."""
    cuts = np.sort(np.random.default_rng(size).integers(0, ROWS, size - 1)) if only == "uneven" else None
    cuts = [0, *(np.arange(1, size) * ROWS // size if cuts is None else cuts), ROWS]
    if only in ("empty", "none") and size > 1:
        cuts[1] = 0
    x, y, w = (array[cuts[rank] : cuts[rank + 1]] for array in (X, Y, WEIGHTS))
    if only == "none" and not len(x):
        x = y = w = None

    def fit(net=None, x=x, y=y, **arguments):
        net = network() if net is None else net
        arguments = {"optimizer": bp.Adam(1e-2), "epochs": 3, "batch_size": 32} | arguments
        history = net.fit(x, y, loss="cross_entropy", comm=comm, shards=SHARDS, **arguments)
        return told(net, history, arguments["optimizer"])

    found = {"plain": fit(metrics=["accuracy"])}
    if only in ("uneven", "empty", "none"):
        given = (X, Y) if rank == size - 1 else None  # one rank has all of the rows to validate on
        found["validated"] = fit(metrics=["accuracy"], validation_data=given)
        batches = None if x is None else [(x[i : i + 40], y[i : i + 40]) for i in range(0, len(x), 40)]
        fit(x=batches, y=None)
        return found
    found["validated"] = fit(metrics=["accuracy"], validation_data=(x, y))
    schedule = bp.schedules.Cosine(1e-2, 21)
    found |= {
        "float64": fit(network("float64")),
        "sample_weight": fit(sample_weight=w, metrics=["accuracy"]),
        "class_weight": fit(class_weight="balanced", validation_split=0.25, metrics=["accuracy"]),
        "optimizer": fit(optimizer=bp.AdamW(schedule, clip_norm=0.5, average=0.9)),
        "stopping": fit(
            validation_data=(x, y),
            epochs=20,
            optimizer=bp.Adam(0.2),
            callbacks=[bp.EarlyStopping(patience=2), bp.ReduceOnPlateau(patience=1)],
        ),
        "hooks": fit(callbacks=[Halving()]),
        "norms": fit(with_norms(), metrics=["accuracy"], validation_data=(x, y)),
        "short": fit(with_norms(), batch_size=201),
        "lbfgs": fit(optimizer=bp.LBFGS(), epochs=5, metrics=["accuracy"]),
        "levenberg": fit(smooth(), optimizer=bp.LevenbergMarquardt(), epochs=3),
        "whole": fit(batch_size=None, shuffle=False),
    }
    return found


def resumed(comm, path):
    """A fit of six epochs that stops after three, and goes on."""
    net, optimizer = network(), bp.Adam(1e-2)
    arguments = {"loss": "cross_entropy", "batch_size": 32, "shards": SHARDS, "metrics": ["accuracy"], "epochs": 6}
    rank, size = (comm.Get_rank(), comm.Get_size()) if comm else (0, 1)
    x, y = (array[rank * ROWS // size : (rank + 1) * ROWS // size] for array in (X, Y))
    resume = path if Path(path).exists() else None

    class Stop(bp.Callback):
        def on_epoch_end(self, run):
            run.stop = run.epoch == 2 and resume is None

    callbacks = [bp.Checkpoint(path), Stop()]
    history = net.fit(x, y, comm=comm, optimizer=optimizer, callbacks=callbacks, resume=resume, **arguments)
    return told(net, history, optimizer)


if __name__ == "__main__":
    comm = None
    if "mpi" in sys.argv:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    rank, size = (comm.Get_rank(), comm.Get_size()) if comm else (0, 1)
    found = resumed(comm, sys.argv[-1]) if "resume" in sys.argv else fits(comm, rank, size, sys.argv[-1])
    if rank == 0:
        print(json.dumps(found))
