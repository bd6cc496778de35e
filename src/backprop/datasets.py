"""Data sets to learn on: for the command line, the examples and the tests.

Features are float32 (rows, features), labels int64 (rows,).
"""

import errno
import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _validate

__all__ = ["digits", "hold_out", "mnist", "moons", "xor"]

Array = npt.NDArray[Any]

#: Of a file of MNIST's kind: more than ten times what any of them has.
MOST_BYTES = 2**30


def xor() -> tuple[Array, Array]:
    """The exclusive or: the four rows of its truth table.

    Returns
    -------
    x, y : numpy.ndarray, shapes (4, 2) and (4,)
    """
    return np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0])


def moons(n: int = 1000, noise: float = 0.2, rng: Any = None) -> tuple[Array, Array]:
    """Two half circles, each with an end inside the other: binary classification in the plane.

    Parameters
    ----------
    n : int, default 1000
        How many points in all.
    noise : float, default 0.2
        The standard deviation of the Gaussian noise on each coordinate; the radius is 1.
    rng : int, numpy.random.Generator or None, default None
        Seed of the noise, or its generator.

    Returns
    -------
    x, y : numpy.ndarray, shapes (n, 2) and (n,)
        Label 0 is the upper one.
    """
    n, noise = _validate.integer(n, "n", 2), _validate.number(noise, "noise", least=0)
    upper, lower = (np.linspace(0, np.pi, size) for size in (n - n // 2, n // 2))
    circles = np.block([[np.cos(upper), 1 - np.cos(lower)], [np.sin(upper), 0.5 - np.sin(lower)]]).T
    x = circles + noise * _validate.generator(rng).standard_normal((n, 2))
    return x.astype(np.float32), np.repeat([0, 1], [len(upper), len(lower)])


def digits() -> tuple[Array, Array]:
    """The handwritten digits of the UCI repository, 8 x 8 pixels, that scikit-learn ships.

    Returns
    -------
    x, y : numpy.ndarray, shapes (1797, 64) and (1797,)
        Pixels between 0 and 1.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('the digits come with scikit-learn: pip install "backprop-nn[sklearn]"') from error
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y.astype(np.int64)


def mnist(folder: str | os.PathLike[str]) -> tuple[Array, Array, Array, Array]:
    """MNIST from its four original files, gzipped or not.

    Parameters
    ----------
    folder : str or path-like
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
        ``t10k-labels-idx1-ubyte``, each with or without ``.gz``.

    Returns
    -------
    x, y, x_test, y_test : numpy.ndarray, shapes (60000, 784), (60000,), (10000, 784) and (10000,)
        Pixels between 0 and 1.

    Raises
    ------
    FileNotFoundError
        If one of the files is not there.
    ValueError
        If one is damaged, or not what it should be.
    """
    return *_pair(Path(folder), "train"), *_pair(Path(folder), "t10k")


def _pair(folder: Path, name: str) -> tuple[Array, Array]:
    """The images and the labels that belong together."""
    image_file, label_file = (_find(folder, f"{name}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
    images, labels = _idx(image_file, (28, 28)), _idx(label_file, ())
    if len(labels) != len(images):
        raise ValueError(f"{label_file}: expected {len(images)} labels, one for each image, got {len(labels)}")
    if labels.max() > 9:
        raise ValueError(f"{label_file}: expected labels 0 to 9, got {labels.max()} at {labels.argmax()}")
    return images.reshape(-1, 784) / np.float32(255), labels.astype(np.int64)


def _find(folder: Path, name: str) -> Path:
    for path in folder / name, folder / f"{name}.gz":
        if path.is_file():  # a pipe would be waited for, a device has no end
            return path
    raise FileNotFoundError(errno.ENOENT, f"expected {name} in it, or {name}.gz", str(folder))


def _idx(path: Path, shape: tuple[int, ...]) -> Array:
    """Read an idx file of unsigned bytes: magic, the big-endian size of each dimension, the items, and nothing more.

    What the header promises is read piece by piece as far as it is there: nothing is allocated on its word.
    """
    magic, words = 0x0801 + len(shape), 2 + len(shape)
    try:
        with _open(path) as file:
            header = file.read(4 * words)
            if len(header) < 4 * words or header[:4] != magic.to_bytes(4, "big"):
                wanted = f"an idx header of {4 * words} bytes, magic {magic:#010x}"
                raise ValueError(f"{path}: expected {wanted}, got {header!r}")
            _, count, *sizes = struct.unpack(f">{words}I", header)
            if tuple(sizes) != shape or count == 0:
                raise ValueError(f"{path}: expected at least one item of shape {shape}, got {count} of {tuple(sizes)}")
            promised = count * math.prod(shape)
            items = bytearray()
            while len(items) <= min(promised, MOST_BYTES) and (piece := file.read(1 << 20)):
                items += piece
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: expected a whole gzip file: {error}") from error
    if len(items) > MOST_BYTES:
        raise ValueError(f"{path}: expected at most {MOST_BYTES:,} bytes after the header, got more")
    if len(items) != promised:
        got = len(items) if len(items) < promised else "more"
        raise ValueError(f"{path}: expected {promised} bytes after the header, got {got}")
    return np.frombuffer(items, np.uint8).reshape(count, *shape)


def _open(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """Open a file for reading, through gzip where its first bytes say so, whatever its name."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")


def hold_out(y: Array, rng: np.random.Generator, share: float = 0.2) -> tuple[Array, Array]:
    """A stratified split into training and test rows: a share of each class, of two rows at least one.

    Parameters
    ----------
    y : numpy.ndarray, shape (rows,)
        Labels; all the same where there are no classes.
    rng : numpy.random.Generator
        Shuffles the rows.
    share : float, default 0.2
        Of the test rows.

    Returns
    -------
    train, test : numpy.ndarray
        The indices of the rows.
    """
    order = rng.permutation(len(y))
    classes = [order[y[order] == label] for label in np.unique(y)]
    test = np.concatenate([rows[: max(round(share * len(rows)), min(1, len(rows) - 1))] for rows in classes])
    if len(test) == 0:
        raise ValueError("expected a class with two rows, to train on one and test on the other, got none")
    return np.setdiff1d(order, test), np.sort(test)
