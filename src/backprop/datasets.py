"""Data sets to learn on: for the command line, the examples and the tests.

Features are float32 (rows, features), labels int64 (rows,), numbers float32 (rows,).
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

__all__ = ["blobs", "circles", "curve", "digits", "hold_out", "mnist", "moons", "spirals", "xor"]

Array = npt.NDArray[Any]

#: Of a file of MNIST's kind: more than ten times what any of them has.
MOST_BYTES = 2**30


def xor(n: int = 4, noise: float = 0.0, rng: Any = None) -> tuple[Array, Array]:
    """The exclusive or: the four rows of its truth table, again and again.

    Parameters
    ----------
    n : int, default 4
        How many points in all.
    noise : float, default 0
        The standard deviation of the Gaussian noise on each coordinate.
    rng : int, numpy.random.Generator or None, default None
        Seed of the noise, or its generator.

    Returns
    -------
    x, y : numpy.ndarray, shapes (n, 2) and (n,)
    """
    rows = np.arange(_validate.integer(n, "n", 2)) % 4
    return _noisy(np.stack([rows // 2, rows % 2], axis=1), noise, rng), (rows // 2) ^ (rows % 2)


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
    upper, lower = (np.linspace(0, np.pi, size) for size in _halves(n))
    circles = np.block([[np.cos(upper), 1 - np.cos(lower)], [np.sin(upper), 0.5 - np.sin(lower)]]).T
    return _noisy(circles, noise, rng), np.repeat([0, 1], [len(upper), len(lower)])


def circles(n: int = 1000, noise: float = 0.1, rng: Any = None) -> tuple[Array, Array]:
    """A circle within another: binary classification in the plane.

    Parameters
    ----------
    n : int, default 1000
        How many points in all.
    noise : float, default 0.1
        The standard deviation of the Gaussian noise on each coordinate; the radii are 0.5 and 1.
    rng : int, numpy.random.Generator or None, default None
        Seed of the noise, or its generator.

    Returns
    -------
    x, y : numpy.ndarray, shapes (n, 2) and (n,)
        Label 0 is the inner one.
    """
    inner, outer = (2 * np.pi * np.arange(size) / size for size in _halves(n))
    angles, y = np.concatenate([inner, outer]), np.repeat([0, 1], [len(inner), len(outer)])
    x = (0.5 + 0.5 * y)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return _noisy(x, noise, rng), y


def spirals(n: int = 1000, noise: float = 0.05, rng: Any = None) -> tuple[Array, Array]:
    """Two spirals around one another: binary classification in the plane.

    Parameters
    ----------
    n : int, default 1000
        How many points in all.
    noise : float, default 0.05
        The standard deviation of the Gaussian noise on each coordinate; each spiral turns one and a half times, out to
        the radius 1.
    rng : int, numpy.random.Generator or None, default None
        Seed of the noise, or its generator.

    Returns
    -------
    x, y : numpy.ndarray, shapes (n, 2) and (n,)
    """
    first, second = (np.linspace(0.1, 1, size) for size in _halves(n))
    radii, y = np.concatenate([first, second]), np.repeat([0, 1], [len(first), len(second)])
    angles = 3 * np.pi * radii + np.pi * y
    return _noisy(radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1), noise, rng), y


def blobs(n: int = 1000, noise: float = 0.2, rng: Any = None, *, classes: int = 3) -> tuple[Array, Array]:
    """Several clouds of points around a circle: classification in the plane.

    Parameters
    ----------
    n : int, default 1000
        How many points in all.
    noise : float, default 0.2
        The standard deviation of the Gaussian noise on each coordinate; the centres are 1 from the origin.
    rng : int, numpy.random.Generator or None, default None
        Seed of the noise, or its generator.
    classes : int, default 3
        How many clouds; at most n.

    Returns
    -------
    x, y : numpy.ndarray, shapes (n, 2) and (n,)
    """
    classes = _validate.integer(classes, "classes", 2, _validate.integer(n, "n", 2))
    y = np.sort(np.arange(n) % classes)
    angles = 2 * np.pi * y / classes
    return _noisy(np.stack([np.sin(angles), np.cos(angles)], axis=1), noise, rng), y


def curve(n: int = 1000, noise: float = 0.1, rng: Any = None) -> tuple[Array, Array]:
    """Points on sin(2 x), for x from -3 to 3: regression on one feature.

    Parameters
    ----------
    n : int, default 1000
        How many points.
    noise : float, default 0.1
        The standard deviation of the Gaussian noise on y.
    rng : int, numpy.random.Generator or None, default None
        Seed of the noise, or its generator.

    Returns
    -------
    x, y : numpy.ndarray, shapes (n, 1) and (n,)
    """
    x = np.linspace(-3, 3, _validate.integer(n, "n", 2))
    return x.astype(np.float32)[:, None], _noisy(np.sin(2 * x), noise, rng)


def _halves(n: Any) -> tuple[int, int]:
    n = _validate.integer(n, "n", 2)
    return n - n // 2, n // 2


def _noisy(values: Array, noise: Any, rng: Any) -> Array:
    """As float32, with Gaussian noise of this standard deviation."""
    noise = _validate.number(noise, "noise", least=0)
    noisy: Array = (values + noise * _validate.generator(rng).standard_normal(values.shape)).astype(np.float32)
    return noisy


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
