"""A fit over three ranks in which something is wrong on one of them; each says how it ended."""

import os
import signal
import sys
import threading
import time

import numpy as np
from mpi4py import MPI

import backprop as bp

WHAT, COMM = sys.argv[1], MPI.COMM_WORLD
RANK = COMM.Get_rank()


class Failing(bp.Callback):
    def on_epoch_end(self, run):
        if run.epoch == 3:
            raise RuntimeError("no room on the disk")


class Nudging(bp.Callback):
    """Changes what the rank alone has."""

    def on_epoch_end(self, run):
        run.network.parameters[0] += 1


def loss(y_hat, y):
    if WHAT == "loss fails" and RANK == 1:
        raise ZeroDivisionError("in a loss")
    error = y_hat - y.reshape(-1, 1)
    return float((error**2).mean()), 2 * error / error.size


def later(signal_number):
    threading.Timer(0.5, os.kill, (os.getpid(), signal_number)).start()


x = np.random.default_rng(RANK).standard_normal((100, 7))
y = x[:, 0] * x[:, 1]
net = bp.Sequential([bp.Dense(7, 16, "tanh"), bp.Dense(16, 1)], rng=1)
arguments = {"loss": "mse", "optimizer": bp.Adam(1e-2), "epochs": 8, "batch_size": 64}
if WHAT in ("nan", "rows"):
    arguments["shards"] = 4  # of which rows go to other ranks
if WHAT in ("interrupt", "kill"):
    arguments["epochs"] = 1_000_000
if RANK == 1:
    if WHAT == "loss":
        arguments["loss"] = "mae"
    elif WHAT == "batch_size":
        arguments["batch_size"] = 32
    elif WHAT == "optimizer":
        arguments["optimizer"] = bp.Adam(2e-2)
    elif WHAT == "network":
        net = bp.Sequential([bp.Dense(7, 15, "tanh"), bp.Dense(15, 1)], rng=1)
    elif WHAT == "parameters":
        net.parameters[3] += 1
    elif WHAT == "width":
        x = x[:, :6]
    elif WHAT == "type":
        x = x.astype(np.float32)
    elif WHAT == "text":
        x = x.astype(str)
    elif WHAT == "nan":
        x[3, 3] = np.nan
    elif WHAT == "rows":
        y = y[:-1]
    elif WHAT == "interrupt":
        later(signal.SIGINT)
    elif WHAT == "kill":
        later(signal.SIGKILL)
if WHAT == "callback":
    arguments["callbacks"] = [Failing()]
if WHAT == "loss fails":
    arguments["loss"] = loss
if WHAT == "diverges":
    arguments["optimizer"] = bp.SGD(1e30)
if WHAT == "batches":
    if RANK == 1:
        x[7, 0] = np.inf
    arguments.pop("batch_size")
begun = time.perf_counter()
try:
    if WHAT == "batches":
        net.fit([(x[i : i + 10], y[i : i + 10]) for i in range(0, 100, 10)], comm=COMM, **arguments)
    else:
        net.fit(x, y, comm=COMM, **arguments)
except BaseException as error:  # noqa: BLE001 - whatever it is
    sys.stdout.write(f"{RANK}|{type(error).__name__}|{error}|{time.perf_counter() - begun:.1f}\n")
else:
    sys.stdout.write(f"{RANK}|none||\n")
sys.stdout.flush()
