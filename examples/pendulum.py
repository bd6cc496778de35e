"""A damped pendulum, theta'' = -c theta' - sin theta: its motion and its damping c, from a few measured angles.

The network takes the time to the angle. Its loss is what the equation leaves over at many times, for the c at hand, and
how far it is from the angles that were measured at some. Between fits, c is what fits the equation best, a quotient of
two sums: so both are found in turns.
"""

import numpy as np

import backprop as bp

DAMPING, END, MEASURED = 0.3, 8.0, 25


def motion(times: np.ndarray, damping: float) -> np.ndarray:
    """The angle at these times, by Runge and Kutta's method in small steps, from rest at an angle of 1."""
    state, found, step = np.array([1.0, 0.0]), [], 1e-3

    def slope(state: np.ndarray) -> np.ndarray:
        return np.array([state[1], -damping * state[1] - np.sin(state[0])])

    for _ in range(round(END / step) + 1):
        found.append(state[0])
        a = slope(state)
        b = slope(state + step / 2 * a)
        c = slope(state + step / 2 * b)
        state = state + step / 6 * (a + 2 * b + 2 * c + slope(state + step * c))
    angles: np.ndarray = np.interp(times, step * np.arange(len(found)), found)
    return angles


def main() -> None:
    rng = np.random.default_rng(0)
    measured = np.linspace(0, END, MEASURED)
    angles = motion(measured, DAMPING) + 0.01 * rng.normal(size=MEASURED)
    damping = [0.0]

    def equation(t: np.ndarray, u: np.ndarray, du: np.ndarray, d2u: np.ndarray) -> tuple[np.ndarray, ...]:
        # d/dt is 2 / END times that of the network, whose times go from -1 to 1
        first, second = du[:, :, 0] * (2 / END), d2u[:, :, 0] * (2 / END) ** 2
        r = second + damping[0] * first + np.sin(u)
        d_du, d_d2u = 2 * r * damping[0] * (2 / END), 2 * r * (2 / END) ** 2
        return (r**2)[:, 0], 2 * r * np.cos(u), d_du[:, :, None], d_d2u[:, :, None]

    def angle(t: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        off = u - angles[:, None]
        return (off**2)[:, 0], 2 * off

    times = np.concatenate([np.linspace(-1, 1, 100), 2 * measured / END - 1])[:, None]
    term = np.repeat([0, 1], [100, MEASURED])
    net = bp.Sequential([bp.Dense(1, 20, "tanh"), bp.Dense(20, 20, "tanh"), bp.Dense(20, 1)], rng=0, dtype="float64")
    loss = bp.losses.Differential([equation, angle], order=[2, 0], weights=[0.1, 1])
    for turn in range(8):
        net.fit(times, term, loss=loss, optimizer=bp.LBFGS(), epochs=150)
        u, du, d2u = net.derivatives(times[:100], order=2)
        first, second = du[:, 0, 0] * (2 / END), d2u[:, 0, 0] * (2 / END) ** 2
        damping[0] = float(-((second + np.sin(u[:, 0])) * first).sum() / (first**2).sum())
        print(f"turn {turn}: damping {damping[0]:.4f}")
    wrong = abs(net.predict(times[:100])[:, 0] - motion((times[:100, 0] + 1) * END / 2, DAMPING)).max()
    print(f"damping {damping[0]:.3f}, really {DAMPING}; largest error of the angle {wrong:.3f}")


if __name__ == "__main__":
    main()
