"""MNIST over the processes of MPI: each reads its part of the images, all come to one network.

    mpiexec -n 2 python -m mpi4py examples/mpi_mnist.py FOLDER

Without mpi4py, or with one process, it is the same fit in the same shards, to the last bit.
"""

import hashlib
import sys
import time

import backprop as bp
from backprop import datasets

SHARDS = 4


def main(folder: str, epochs: int = 5) -> float:
    """Train; the accuracy on the test images."""
    try:
        from mpi4py import MPI
    except ImportError:
        comm, rank, ranks = None, 0, 1
    else:
        comm = MPI.COMM_WORLD
        rank, ranks = comm.Get_rank(), comm.Get_size()
    x, y, x_test, y_test = datasets.mnist(folder)
    own = slice(rank * len(x) // ranks, (rank + 1) * len(x) // ranks)
    net = bp.Sequential([bp.Dense(784, 128, "relu"), bp.Dropout(0.2), bp.Dense(128, 10, "softmax")], rng=0)
    begun = time.perf_counter()
    net.fit(
        x[own], y[own], loss="cross_entropy", optimizer=bp.Adam(2e-3), epochs=epochs, batch_size=512,
        comm=comm, shards=SHARDS, progress=rank == 0,
    )  # fmt: skip
    accuracy = net.evaluate(x_test, y_test, loss="cross_entropy", metrics=["accuracy"])["accuracy"]
    if rank == 0:
        digest = hashlib.sha256(net.parameters.tobytes()).hexdigest()[:16]
        seconds = time.perf_counter() - begun
        print(f"{ranks} process(es), {SHARDS} shards: accuracy {accuracy:.4f}, {seconds:.1f} s, parameters {digest}")
    return accuracy


if __name__ == "__main__":
    main(sys.argv[1])
