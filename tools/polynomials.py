"""Derive the constants of the kernels' exponential (src/backprop/kernels/activations.pxi) and print them.

    exp(x) = 2^n exp(r),  n = round(x / ln 2),  r = x - n ln 2,  |r| <= ln(2) / 2
    exp(r) = 1 + r + r^2 q(r)

q is the polynomial whose largest relative error in exp(r) is smallest, found by the exchange algorithm of Remez in
60 digits. ln 2 is split in two, so that n times the first part is exact for every n that can occur.

Run with mpmath installed: python tools/polynomials.py
"""

from mpmath import exp, linspace, ln, lu_solve, matrix, mp, mpf, nint

mp.dps = 60


def minimax(degree: int, points: int = 4000) -> tuple[list[mpf], mpf]:
    """Coefficients of q, lowest first, and the relative error of 1 + r + r^2 q(r) they leave."""
    half = ln(2) / 2
    grid = [r for r in linspace(-half, half, points) if r != 0]

    def error(q: list[mpf], r: mpf) -> mpf:
        return (1 + r + r * r * sum(c * r**i for i, c in enumerate(q))) / exp(r) - 1

    step = len(grid) // (degree + 1)
    reference = [grid[min(i * step, len(grid) - 1)] for i in range(degree + 2)]
    for _ in range(30):
        system = matrix(
            [[r ** (i + 2) for i in range(degree + 1)] + [(-1) ** row * exp(r)] for row, r in enumerate(reference)]
        )
        solved = lu_solve(system, matrix([exp(r) - 1 - r for r in reference]))
        q, level = list(solved)[:-1], abs(solved[degree + 1])
        errors = [error(q, r) for r in grid]
        # One extreme for each run of equal sign; the largest alternating set among them is the next reference.
        extremes: list[int] = []
        for i, e in enumerate(errors):
            if extremes and (errors[extremes[-1]] > 0) == (e > 0):
                if abs(e) > abs(errors[extremes[-1]]):
                    extremes[-1] = i
            else:
                extremes.append(i)
        while len(extremes) > degree + 2:
            extremes.pop(0 if abs(errors[extremes[0]]) < abs(errors[extremes[-1]]) else -1)
        if len(extremes) < degree + 2 or max(map(abs, errors)) <= level * (1 + mpf(10) ** -4):
            break
        reference = [grid[i] for i in extremes]
    return q, max(map(abs, errors))


def split(bits: int) -> tuple[mpf, mpf]:
    """The first `bits` bits of ln 2, and the rest."""
    high = nint(ln(2) * mpf(2) ** bits) / mpf(2) ** bits
    return high, ln(2) - high


if __name__ == "__main__":
    for name, degree, bits in ("float", 4, 14), ("double", 9, 41):
        q, error = minimax(degree)
        high, low = split(bits)
        print(f"{name}: relative error {mp.nstr(error, 3)}, of which a rounding unit is 2^-24 or 2^-53")
        print("  ln 2 =", mp.nstr(high, 20), "+", mp.nstr(low, 20))
        for i, c in enumerate(q):
            print(f"  r^{i + 2}: {mp.nstr(c, 20)}")
