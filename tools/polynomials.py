"""Derive the constants of the kernels' functions (src/backprop/kernels/elementary.pxi) and print them.

    exp(x)   = 2^n exp(r),  n = round(x / ln 2),  r = x - n ln 2,  |r| <= ln(2) / 2
    exp(r)   = 1 + r + r^2 q(r)
    log(1+e) = 2 artanh s = 2 s + s w q(w),  s = e / (2 + e),  w = s^2 <= 1/9  where  0 <= e <= 1
    Q(a)     = exp(-a^2 / 2) q(v) / (a + 3/2),  v = a / (a + 3/2) - 3/8  where  0 <= a
    sin(2 pi s) = s q(v),  v = s^2  where  |s| <= 1/4

Q is the tail of the normal distribution, 1 - Phi(a) = erfc(a / sqrt 2) / 2. Its form, in which the whole half-line is
one short interval, is that of Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in
0 <= x < inf", Mathematics of Computation 36, 1981, with 3/2 and 3/8 chosen so that rounding does little. Each q is the
polynomial whose largest relative error in the left side is smallest, found by the exchange algorithm of Remez in 60
digits. ln 2 is split in two, so that n times the first part is exact for every n that can occur.

Run with mpmath installed: python tools/polynomials.py
"""

from collections.abc import Callable, Sequence

from mpmath import atanh, erfc, exp, linspace, ln, lu_solve, matrix, mp, mpf, nint, pi, sin, sqrt

mp.dps = 60


def minimax(
    powers: Sequence[int], f: Callable[[mpf], mpf], weight: Callable[[mpf], mpf], low: mpf, high: mpf
) -> tuple[list[mpf], mpf]:
    """The c of sum c x^power whose largest error |sum - f(x)| weight(x), for x in low...high, is smallest; and it."""
    grid = [(x, f(x), weight(x)) for x in linspace(low, high, 4000) if f(x)]
    step = len(grid) // len(powers)
    reference = [grid[min(i * step, len(grid) - 1)] for i in range(len(powers) + 1)]
    for _ in range(50):
        system = matrix([[x**p for p in powers] + [(-1) ** row / w] for row, (x, _, w) in enumerate(reference)])
        *c, level = lu_solve(system, matrix([y for _, y, _ in reference]))
        errors = [(sum(a * x**p for a, p in zip(c, powers, strict=True)) - y) * w for x, y, w in grid]
        # One extreme for each run of equal sign; the largest alternating set among them is the next reference.
        extremes: list[int] = []
        for i, e in enumerate(errors):
            if extremes and (errors[extremes[-1]] > 0) == (e > 0):
                if abs(e) > abs(errors[extremes[-1]]):
                    extremes[-1] = i
            else:
                extremes.append(i)
        while len(extremes) > len(reference):
            extremes.pop(0 if abs(errors[extremes[0]]) < abs(errors[extremes[-1]]) else -1)
        if len(extremes) < len(reference) or max(map(abs, errors)) <= abs(level) * (1 + mpf(10) ** -4):
            break
        reference = [grid[i] for i in extremes]
    return c, max(map(abs, errors))


def split(bits: int) -> tuple[mpf, mpf]:
    """The first `bits` bits of ln 2, and the rest."""
    high = nint(ln(2) * mpf(2) ** bits) / mpf(2) ** bits
    return high, ln(2) - high


def exponential(degree: int) -> tuple[list[mpf], mpf]:
    return minimax(range(2, degree + 3), lambda r: exp(r) - 1 - r, lambda r: exp(-r), -ln(2) / 2, ln(2) / 2)


def logarithm(degree: int) -> tuple[list[mpf], mpf]:
    def twice(w: mpf) -> mpf:
        return 2 * atanh(sqrt(w)) / sqrt(w) if w else mpf(2)

    return minimax(range(1, degree + 2), lambda w: twice(w) - 2, lambda w: 1 / twice(w), mpf(0), mpf(1) / 9)


def normal_tail(degree: int, most: int) -> tuple[list[mpf], mpf]:
    """For a up to `most`, beyond which Q is zero."""

    def q(v: mpf) -> mpf:
        u = v + mpf(3) / 8
        a = mpf(3) / 2 * u / (1 - u)
        return exp(a * a / 2) * erfc(a / sqrt(mpf(2))) / 2 * (a + mpf(3) / 2)

    return minimax(range(degree + 1), q, lambda v: 1 / q(v), -mpf(3) / 8, most / (most + mpf(3) / 2) - mpf(3) / 8)


def sine(degree: int) -> tuple[list[mpf], mpf]:
    def q(v: mpf) -> mpf:
        return sin(2 * pi * sqrt(v)) / sqrt(v) if v else 2 * pi

    return minimax(range(degree + 1), q, lambda v: 1 / q(v), mpf(0), mpf(1) / 16)


def show(name: str, unknown: str, lowest: int, found: tuple[list[mpf], mpf]) -> None:
    print(f"{name}: relative error {mp.nstr(found[1], 3)}, of which a rounding unit is 2^-24 or 2^-53")
    for i, c in enumerate(found[0]):
        print(f"  {unknown}^{i + lowest}: {mp.nstr(c, 20)}")


if __name__ == "__main__":
    for name, bits in ("float", 14), ("double", 41):
        high, low = split(bits)
        print(f"ln 2, {name}: {mp.nstr(high, 20)} + {mp.nstr(low, 20)}")
    show("exp, float", "r", 2, exponential(4))
    show("exp, double", "r", 2, exponential(9))
    show("log(1 + e), float", "w", 1, logarithm(3))
    show("log(1 + e), double", "w", 1, logarithm(9))
    show("Q, float", "v", 0, normal_tail(11, 15))
    show("Q, double", "v", 0, normal_tail(31, 39))
    show("sin, float", "v", 0, sine(4))
    show("sin, double", "v", 0, sine(8))
