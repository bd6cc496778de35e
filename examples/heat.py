"""The heat equation u_t = u_xx by a network, beside its exact solution; and the same in PyTorch, if that is installed.

    python examples/heat.py [steps]

On 0 <= x <= pi, 0 <= t <= 1, with u = sin x at t = 0 and u = 0 at the ends: u = e^-t sin x. A network 2-32-32-1 of tanh
takes (x, t) to u; its loss is what the equation leaves over inside, and what is wrong on the border.
"""

import sys
import time

import numpy as np

import backprop as bp

INSIDE, BORDER, WEIGHT = 48, 48, 1.0


def exact(points: np.ndarray) -> np.ndarray:
    u: np.ndarray = np.exp(-points[:, 1:]) * np.sin(points[:, :1])
    return u


def points() -> tuple[np.ndarray, np.ndarray]:
    """Where the equation holds, and where u is given."""
    rng, third = np.random.default_rng(0), BORDER // 3
    places = np.pi * (np.arange(INSIDE) + rng.random(INSIDE)) / INSIDE
    inside = np.stack([places, (rng.permutation(INSIDE) + rng.random(INSIDE)) / INSIDE], axis=1)
    times, zeros = np.linspace(0, 1, third), np.zeros(third)
    sides = [np.stack(side, axis=1) for side in ((np.pi * times, zeros), (zeros, times), (zeros + np.pi, times))]
    return inside, np.concatenate(sides)


def equation(x: np.ndarray, u: np.ndarray, du: np.ndarray, d2u: np.ndarray) -> tuple[np.ndarray | None, ...]:
    """The square of u_t - u_xx, and its derivatives with respect to du and d2u."""
    r = du[:, :, 1] - d2u[:, :, 0]
    d_du, d_d2u = np.zeros_like(du), np.zeros_like(d2u)
    d_du[:, :, 1], d_d2u[:, :, 0] = 2 * r, -2 * r
    return (r**2)[:, 0], None, d_du, d_d2u


def error(predicted: np.ndarray, grid: np.ndarray) -> float:
    """Relative, in L2."""
    return float(np.linalg.norm(predicted - exact(grid)) / np.linalg.norm(exact(grid)))


def by_backprop(steps: int, grid: np.ndarray) -> tuple[float, float]:
    """The error, and seconds a step."""
    inside, border = points()
    known = exact(border).astype(np.float32)

    def condition(x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        off = u - known
        return (off**2)[:, 0], 2 * off

    net = bp.Sequential([bp.Dense(2, 32, "tanh"), bp.Dense(32, 32, "tanh"), bp.Dense(32, 1)], rng=0)
    loss = bp.losses.Differential([equation, condition], order=[2, 0], weights=[1, WEIGHT])
    x, term = np.concatenate([inside, border]), np.repeat([0, 1], [len(inside), len(border)])
    rate = bp.schedules.Cosine(1e-2, steps)
    began = time.perf_counter()
    net.fit(x, term, loss=loss, optimizer=bp.Adam(rate), epochs=steps, batch_size=None, threads=1)
    return error(net.predict(grid), grid), (time.perf_counter() - began) / steps


def by_torch(steps: int, grid: np.ndarray, timed: int) -> float:
    """Seconds a step, of some."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tanh, linear = torch.nn.Tanh, torch.nn.Linear
    net = torch.nn.Sequential(linear(2, 32), tanh(), linear(32, 32), tanh(), linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    inside, border = (torch.tensor(part, dtype=torch.float32) for part in points())
    known = torch.tensor(exact(border.numpy()))
    inside.requires_grad_(True)
    began = 0.0
    for step in range(10 + timed):
        if step == 10:
            began = time.perf_counter()
        u = net(inside)
        du = torch.autograd.grad(u, inside, torch.ones_like(u), create_graph=True)[0]
        u_xx = torch.autograd.grad(du[:, 0], inside, torch.ones_like(u[:, 0]), create_graph=True)[0][:, 0]
        loss = (du[:, 1] - u_xx).square().mean() + WEIGHT * (net(border) - known).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return (time.perf_counter() - began) / timed


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 15_000
    grid = np.stack(np.meshgrid(np.linspace(0, np.pi, 51), np.linspace(0, 1, 51)), axis=-1).reshape(-1, 2)
    wrong, ours = by_backprop(steps, grid)
    print(f"backprop: relative L2 error {wrong:.2e} after {steps} steps of {1e6 * ours:.0f} us")
    try:
        theirs = by_torch(steps, grid, min(steps, 200))
    except ImportError:
        print("PyTorch is not installed")
        return
    print(f"PyTorch: a step takes {1e6 * theirs:.0f} us, {theirs / ours:.1f} times as long")


if __name__ == "__main__":
    main()
