"""A step of training in four lines, one idea each, and the same numbers from `fit`, to the last bit."""

import numpy as np

import backprop as bp


def network() -> bp.Sequential:
    return bp.Sequential([bp.Dense(4, 8, "tanh"), bp.Dropout(0.1), bp.Dense(8, 3)], rng=0)


def main() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(10, 4)), rng.normal(size=(10, 3))
    loss = bp.MeanSquaredError()

    net, optimizer = network(), bp.Adam(0.01)
    for epoch in range(3):
        for batch in (slice(0, 4), slice(4, 8), slice(8, 10)):
            y_hat = net.forward(x[batch])
            value, dy = loss(y_hat, y[batch])
            net.backward(dy)
            optimizer.step(net)
            print(f"epoch {epoch}: loss {value:.6f}, largest gradient {np.abs(net.gradients).max():.6f}")

    fitted = network()
    history = fitted.fit(x, y, loss=loss, optimizer=bp.Adam(0.01), epochs=3, batch_size=4, shuffle=False)
    print("fit's mean losses:", *(f"{value:.6f}" for value in history["loss"]))
    print("the same parameters, bit for bit:", np.array_equal(net.parameters, fitted.parameters))


if __name__ == "__main__":
    main()
