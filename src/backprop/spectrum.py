"""The curvature of the loss: its Hessian, and the largest of its eigenvalues."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _validate
from .derivatives import streams

__all__ = ["curvature", "hessian"]

Array = _validate.Array


def hessian(
    net: Any, x: Any, y: Any, loss: Any, *, sample_weight: Any = None, dropout: bool = False,
    threads: int | None = None,
) -> Array:  # fmt: skip
    """All second derivatives of the loss on some data, of a small network, in evaluation mode.

    Parameters
    ----------
    net : Sequential
    x, y, loss, sample_weight, dropout, threads
        As `Sequential.hessian_vector_product` takes them, which gives it column by column.

    Returns
    -------
    numpy.ndarray, shape (n_parameters, n_parameters)
        Symmetric: the mean of what each two columns say of a number.

    Raises
    ------
    ValueError
        If it would not fit into memory.
    """
    n = len(net.parameters)
    _validate.fits_in_memory(n * n, net.dtype, f"the {n} x {n} Hessian of {n} parameters")
    columns = np.empty((n, n), net.dtype)
    data, objective = net._data_of(x, y, loss, sample_weight)
    products = streams.Products(net, data, objective, dropout, threads)

    unit = np.zeros(n, net.dtype)
    for i in range(n):
        unit[i] = 1
        columns[i] = products.with_vector(unit)
        unit[i] = 0
    found: Array = (columns + columns.T) / 2
    return found


def curvature(
    net: Any, x: Any, y: Any, loss: Any, k: int = 1, *, sample_weight: Any = None, rng: Any = 0,
    tolerance: float = 1e-6, max_iterations: int = 300, vectors: bool = False, dropout: bool = False,
    threads: int | None = None,
) -> Any:  # fmt: skip
    """The largest eigenvalues of the Hessian of the loss, in size, without the Hessian: by Lanczos's method.

    Parameters
    ----------
    net : Sequential
    x, y, loss, sample_weight, dropout, threads
        As `Sequential.hessian_vector_product` takes them.
    k : int, default 1
        How many eigenvalues.
    rng : int, numpy.random.Generator or None, default 0
        Of the vector that it begins with.
    tolerance : float, default 1e-6
        It ends when each eigenvalue is known to that part of the largest one.
    max_iterations : int, default 300
        Products with the Hessian, at most; or as many as there are parameters. What is known then is returned.
    vectors : bool, default False
        Return the eigenvectors too.

    Returns
    -------
    values : numpy.ndarray, shape (k,)
        The largest in size first, whatever their signs.
    vectors : numpy.ndarray, shape (n_parameters, k)
        Where they are asked for.

    References
    ----------
    Golub and Van Loan, "Matrix computations", 4th ed. 2013, algorithm 10.1.1, with full reorthogonalization.
    """
    n = len(net.parameters)
    if not n:
        raise ValueError("net: expected a network with parameters, got one with none, whose loss has no curvature")
    k = _validate.integer(k, "k", 1, n)
    tolerance = _validate.positive(tolerance, "tolerance")
    most = min(n, _validate.integer(max_iterations, "max_iterations", k))
    data, objective = net._data_of(x, y, loss, sample_weight)
    products = streams.Products(net, data, objective, dropout, threads)
    return _lanczos(
        products.with_vector, n, k, most, tolerance, _validate.generator(rng), _validate.flag(vectors, "vectors")
    )


def _lanczos(product: Any, n: int, k: int, most: int, tolerance: float, rng: np.random.Generator, vectors: bool) -> Any:
    """In double, with each new vector made orthogonal to all before it, twice."""
    basis = np.empty((most, n))
    diagonal, beside = np.zeros(most), np.zeros(most)
    values, within, i = np.empty(0), np.empty((0, 0)), 0
    vector = rng.normal(size=n)
    for i in range(most):
        basis[i] = vector / np.sqrt(np.square(vector).sum())
        vector = product(basis[i])
        diagonal[i] = (basis[i] * vector).sum()
        for _ in range(2):
            for earlier in basis[: i + 1]:
                vector -= (earlier * vector).sum() * earlier
        beside[i] = np.sqrt(np.square(vector).sum())
        values, within = _largest(diagonal[: i + 1], beside[:i], k)
        size = abs(values).max()
        if len(values) == k and (beside[i] * abs(within[-1]) <= tolerance * size).all():
            break
        if beside[i] <= 1e-13 * max(size, 1e-300):  # all that this vector reaches is known: go on with another
            vector, beside[i] = rng.normal(size=n), 0
            for earlier in basis[: i + 1]:
                vector -= (earlier * vector).sum() * earlier
    return (values, basis[: i + 1].T @ within) if vectors else values


def _largest(diagonal: Array, beside: Array, k: int) -> tuple[Array, Array]:
    """The k eigenvalues of a tridiagonal matrix that are largest in size, and their vectors."""
    matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(-abs(values), kind="stable")[:k]
    return values[order], vectors[:, order]
