"""Data: of the right shapes and ranges, and the strict reader of the MNIST files."""

import gzip
import os
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from backprop import datasets

MNIST = Path(os.environ.get("BACKPROP_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST in {MNIST}: BACKPROP_DATA names its parent")

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def test_xor() -> None:
    x, y = datasets.xor()
    assert x.dtype == np.float32 and y.dtype == np.int64
    assert [int(a != b) for a, b in x] == y.tolist()


def test_moons_are_half_circles_that_interlock() -> None:
    x, y = datasets.moons(101, noise=0)
    assert x.shape == (101, 2) and x.dtype == np.float32 and np.bincount(y).tolist() == [51, 50]
    for label, centre, side in (0, (0, 0), 1), (1, (1, 0.5), -1):
        arms = x[y == label] - np.array(centre)
        np.testing.assert_allclose(np.hypot(*arms.T), 1, rtol=1e-6)
        assert (side * arms[:, 1] >= -1e-6).all()
    upper, lower = x[y == 0], x[y == 1]
    assert upper[:, 0].max() > lower[:, 0].min() and lower[:, 1].max() > upper[:, 1].min()


def test_circles_are_one_within_the_other() -> None:
    x, y = datasets.circles(101, noise=0)
    assert np.bincount(y).tolist() == [51, 50]
    np.testing.assert_allclose(np.hypot(*x.T), np.where(y, 1, 0.5), rtol=1e-6)
    np.testing.assert_allclose([x[y == label].mean(axis=0) for label in (0, 1)], 0, atol=1e-6)  # all the way round


def test_spirals_go_around_one_another() -> None:
    x, y = datasets.spirals(200, noise=0)
    np.testing.assert_allclose(x[y == 1], -x[y == 0], atol=1e-6)
    along = np.hypot(*x[y == 0].T)
    assert (np.diff(along) > 0).all() and along[-1] == pytest.approx(1)
    assert np.ptp(np.unwrap(np.arctan2(x[y == 0][:, 1], x[y == 0][:, 0]))) == pytest.approx(0.9 * 3 * np.pi)


def test_blobs_lie_around_their_centres() -> None:
    x, y = datasets.blobs(100, noise=0, classes=4)
    assert np.bincount(y).tolist() == [25] * 4
    np.testing.assert_allclose(np.unique(x.round(5), axis=0), [[-1, 0], [0, -1], [0, 1], [1, 0]], atol=1e-5)


def test_the_curve_is_a_sine() -> None:
    x, y = datasets.curve(50, noise=0)
    assert x.shape == (50, 1) and x.dtype == y.dtype == np.float32 and (x[0], x[-1]) == (-3, 3)
    np.testing.assert_allclose(y, np.sin(2 * x[:, 0]), atol=1e-6)


PLANE = ["xor", "moons", "circles", "spirals", "blobs"]


@pytest.mark.parametrize("name", PLANE)
def test_points_have_the_noise_asked_for_and_the_same_each_time(name: str) -> None:
    make = getattr(datasets, name)
    x, y = make(10_000, noise=0.3, rng=1)
    exact, labels = make(10_000, noise=0)
    assert x.dtype == np.float32 and y.dtype == np.int64 and x.shape == (10_000, 2) and y.shape == (10_000,)
    assert (x - exact).std() == pytest.approx(0.3, rel=0.03) and (y == labels).all()
    assert (x == make(10_000, noise=0.3, rng=1)[0]).all()
    assert (x != make(10_000, noise=0.3, rng=2)[0]).any()


def test_the_noise_of_a_curve_is_that_of_its_numbers() -> None:
    x, y = datasets.curve(10_000, noise=0.3, rng=1)
    exact, smooth = datasets.curve(10_000, noise=0)
    assert (x == exact).all() and (y - smooth).std() == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("name", [*PLANE, "curve"])
@pytest.mark.parametrize("arguments", [{"n": 1}, {"noise": -0.1}, {"noise": float("nan")}, {"rng": -1}])
def test_points_refuse(name: str, arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        getattr(datasets, name)(**arguments)


@pytest.mark.parametrize("classes", [1, 11, 10**9])
def test_blobs_are_at_most_as_many_as_points(classes: int) -> None:
    with pytest.raises(ValueError, match="classes: expected a whole number from 2 to 10"):
        datasets.blobs(10, classes=classes)


def test_digits() -> None:
    pytest.importorskip("sklearn")
    x, y = datasets.digits()
    assert x.shape == (1797, 64) and x.dtype == np.float32 and x.min() == 0 and x.max() == 1
    assert y.dtype == np.int64 and np.unique(y).tolist() == list(range(10))


def test_digits_without_scikit_learn_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "backprop-nn\[sklearn\]"'):
        datasets.digits()


# Holding out


def test_a_fifth_of_each_class_is_held_out() -> None:
    y = np.repeat([3, 1, 2, 0], [100, 50, 2, 1])
    train, test = datasets.hold_out(y, np.random.default_rng(0))
    assert np.sort(np.concatenate([train, test])).tolist() == list(range(len(y)))
    assert np.bincount(y[test], minlength=4).tolist() == [0, 10, 1, 20]
    again = datasets.hold_out(y, np.random.default_rng(0))
    other = datasets.hold_out(y, np.random.default_rng(1))
    assert (again[1] == test).all() and (other[1] != test).any()


@pytest.mark.parametrize("y", [[0], [0, 1, 2]])
def test_nothing_to_hold_out(y: list[int]) -> None:
    with pytest.raises(ValueError, match="a class with two rows"):
        datasets.hold_out(np.array(y), np.random.default_rng(0))


# MNIST


def idx(items: np.ndarray) -> bytes:
    return struct.pack(f">{1 + items.ndim}I", 0x0800 + items.ndim, *items.shape) + items.astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tiny files in the four names: three images to learn from, two to test on."""
    for name, count in ("train", 3), ("t10k", 2):
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(np.arange(count * 784).reshape(count, 28, 28) % 256))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) + 7))
    return tmp_path


def zip_in_place(path: Path, name: str) -> None:
    data = path.read_bytes()
    path.unlink()
    path.with_name(name).write_bytes(gzip.compress(data))


@pytest.mark.parametrize("packed", ["plain", "gzip", "gzip-without-suffix"])
def test_files_plain_and_gzipped(folder: Path, packed: str) -> None:
    for path in [] if packed == "plain" else list(folder.iterdir()):
        zip_in_place(path, f"{path.name}.gz" if packed == "gzip" else path.name)
    x, y, x_test, y_test = datasets.mnist(folder)
    assert x.dtype == x_test.dtype == np.float32 and y.dtype == y_test.dtype == np.int64
    np.testing.assert_allclose(x, np.arange(3 * 784).reshape(3, 784) % 256 / 255, rtol=1e-6)
    assert x_test.shape == (2, 784) and y.tolist() == [7, 8, 9] and y_test.tolist() == [7, 8]


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"expected {name} in it, or {name}.gz"):
        datasets.mnist(folder)


WHOLE = idx(np.zeros((3, 28, 28)))


DAMAGED = [
    (IMAGES, b"", "expected an idx header of 16 bytes, magic 0x00000803, got b''"),
    (IMAGES, WHOLE[:15], "expected an idx header of 16 bytes"),
    (IMAGES, idx(np.zeros(3)), "expected an idx header of 16 bytes, magic 0x00000803"),
    (LABELS, WHOLE, "expected an idx header of 8 bytes, magic 0x00000801"),
    (IMAGES, b"\x00\x00\x09\x03" + WHOLE[4:], "magic 0x00000803"),
    (IMAGES, b"<html>not found</html>", "magic 0x00000803"),
    (IMAGES, WHOLE[:-1], "expected 2352 bytes after the header, got 2351"),
    (IMAGES, WHOLE[:16], "expected 2352 bytes after the header, got 0"),
    (IMAGES, WHOLE + b"\0", "expected 2352 bytes after the header, got more"),
    (IMAGES, struct.pack(">4I", 0x803, 2**32 - 1, 28, 28), f"expected {(2**32 - 1) * 784} bytes after the header"),
    (IMAGES, struct.pack(">4I", 0x803, 3, 2**31, 2**31), r"at least one item of shape (28, 28), got 3 of (2147483648"),
    (IMAGES, idx(np.zeros((0, 28, 28))), "expected at least one item"),
    (IMAGES, idx(np.zeros((2, 28, 28))), "expected 2 labels, one for each image, got 3"),
    (LABELS, idx(np.array([1, 10, 2])), "expected labels 0 to 9, got 10 at 1"),
    (IMAGES, gzip.compress(WHOLE)[:-9], "expected a whole gzip file"),
    (IMAGES, gzip.compress(WHOLE)[:5], "expected a whole gzip file"),
    (IMAGES, gzip.compress(WHOLE)[:-8] + bytes(8), "expected a whole gzip file: CRC check failed"),
    (IMAGES, gzip.compress(WHOLE)[:10] + b"\xff" * 40, "expected a whole gzip file"),
    (IMAGES, gzip.compress(WHOLE) + b"more", "expected a whole gzip file"),
]


@pytest.mark.parametrize(("name", "content", "message"), DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_files_are_refused(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError) as caught:
        datasets.mnist(folder)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(folder / "train-"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    (folder / IMAGES).unlink()
    os.mkfifo(folder / IMAGES)
    with pytest.raises(FileNotFoundError, match=f"expected {IMAGES} in it"):
        datasets.mnist(folder)


def test_a_file_that_never_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MOST_BYTES", 2**20)
    header = struct.pack(">4I", 0x803, 2**32 - 1, 28, 28)
    (folder / IMAGES).write_bytes(gzip.compress(header + bytes(2**22)))
    with pytest.raises(ValueError, match="expected at most 1,048,576 bytes after the header, got more"):
        datasets.mnist(folder)


def test_what_a_file_inflates_to_is_not_kept_beyond_what_it_promised(folder: Path) -> None:
    (folder / IMAGES).write_bytes(gzip.compress(WHOLE + bytes(100_000_000)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="got more"):
        datasets.mnist(folder)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@needs_mnist
def test_mnist_itself() -> None:
    x, y, x_test, y_test = datasets.mnist(MNIST)
    assert x.shape == (60_000, 784) and x_test.shape == (10_000, 784)
    assert y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4] and y_test[:5].tolist() == [7, 2, 1, 0, 4]
    assert x.mean() == pytest.approx(0.1307, abs=5e-5) and x.std() == pytest.approx(0.3081, abs=5e-5)
