"""What each optimizer learns: XOR, two spirals, digits, MNIST. The accuracies are those of the worst of six seeds, less a
little for other processors."""

import os
from pathlib import Path

import numpy as np
import pytest
from instances import optimizer_of

import backprop as bp
from backprop.datasets import mnist, xor

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("BACKPROP_DATA", ROOT.parent / "shared" / "data"))


LEARNED = {  # two spirals; the digits of scikit-learn; MNIST after an epoch
    "SGD(0.1)": (1.0, 0.95, 0.90),
    "SGD(0.1, momentum=0.9)": (1.0, 0.96, 0.90),
    "SGD(0.1, momentum=0.9, nesterov=True)": (1.0, 0.96, 0.90),
    "RMSprop(0.002)": (0.93, 0.95, 0.92),
    "Adagrad(0.1)": (1.0, 0.96, 0.92),
    "Adadelta()": (0.96, 0.95, 0.92),
    "Adam(0.01)": (1.0, 0.96, 0.92),
    "AdamW(0.01)": (1.0, 0.96, 0.92),
    "NAdam(0.005)": (1.0, 0.96, 0.92),
    "RAdam(0.01)": (1.0, 0.95, 0.92),
    "Lion(0.001)": (1.0, 0.95, 0.90),
    "Rprop()": (1.0, 0.95, 0.88),
    "LBFGS()": (1.0, 0.95, 0.87),
}


def how(text, epochs, iterations):
    """Those for whole sets of data, or batches of 32."""
    whole = text in ("Rprop()", "LBFGS()")
    return {
        "optimizer": optimizer_of(text),
        "batch_size": None if whole else 32,
        "epochs": iterations if whole else epochs,
    }


def accuracy(net, x, y, loss):
    return net.evaluate(x, y, loss=loss, metrics=["accuracy"])["accuracy"]


@pytest.mark.parametrize("text", LEARNED)
def test_it_learns_xor(text):
    x, y = xor()
    net = bp.Sequential([bp.Dense(2, 8, "tanh"), bp.Dense(8, 1, "sigmoid")], rng=0)
    net.fit(x, y, loss="binary_cross_entropy", **how(text, 4000, 100))
    assert (net.predict(x)[:, 0].round() == y).all()


@pytest.mark.parametrize("text", LEARNED)
def test_it_learns_two_spirals(text):
    angle = np.sqrt(np.linspace(0.02, 1, 200)) * 8.5
    arm = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / 4.25
    x, y = np.concatenate([arm, -arm]), np.repeat([0, 1], 200)
    net = bp.Sequential([bp.Dense(2, 32, "tanh"), bp.Dense(32, 32, "tanh"), bp.Dense(32, 1, "sigmoid")], rng=0)
    net.fit(x, y, loss="binary_cross_entropy", **how(text, 1000, 1000))
    assert accuracy(net, x, y, "binary_cross_entropy") >= LEARNED[text][0]


@pytest.mark.parametrize("text", LEARNED)
def test_it_learns_digits(text):
    sets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    x, y = sets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order] / 16, y[order]
    net = bp.Sequential([bp.Dense(64, 32, "relu"), bp.Dense(32, 10, "softmax")], rng=0)
    net.fit(x[:1200], y[:1200], loss="cross_entropy", **how(text, 30, 60))
    assert accuracy(net, x[1200:], y[1200:], "cross_entropy") >= LEARNED[text][1]


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason=f"no MNIST files under {DATA}")
@pytest.mark.parametrize("text", LEARNED)
def test_it_learns_mnist(text):
    x, y, xt, yt = mnist(DATA / "mnist")
    net = bp.Sequential([bp.Dense(784, 32, "relu"), bp.Dense(32, 10, "softmax")], rng=0)
    net.fit(x[::3], y[::3], loss="cross_entropy", **how(text, 1, 20))
    assert accuracy(net, xt, yt, "cross_entropy") >= LEARNED[text][2]
