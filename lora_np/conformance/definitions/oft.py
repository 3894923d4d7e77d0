"""OFT, as its paper defines it: the inputs rotated, block by block, before the frozen layer.  Floor 6.

Qiu et al. 2023 (arXiv 2306.07280), section 3: z = (R W)ᵀ x with R block-diagonal, each block the Cayley transform
(I + S)(I − S)⁻¹ of a skew-symmetric S, where the paper's W (k, d) is our W0ᵀ.  So our weight is
W0 Rᵀ = W0 blockdiag((I − Q)(I + Q)⁻¹) with Q = S, whose strict upper triangle is stored row by row.
`side` "transposed" takes −Q for Q, which turns the Cayley R into its transpose.
With `neumann` terms (I + Q)⁻¹ is cut off after Q³: I − 2Q + 2Q² − 2Q³ + Q⁴, five terms.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, with_bias
from lora_np.conformance.exact.loops import Matrix, product, times_vector, transpose


def skew(entries: list[Any], size: int) -> Matrix:
    """Fill a skew-symmetric matrix: Q[i][j] = q for i < j, row by row, and Q[j][i] = −q.

    >>> skew([1, 2, 3], 3)
    [[0, 1, 2], [-1, 0, 3], [-2, -3, 0]]
    """
    Q: Matrix = [[0 for _ in range(size)] for _ in range(size)]
    places = [(i, j) for i in range(size) for j in range(i + 1, size)]
    for (i, j), q in zip(places, entries, strict=True):
        Q[i][j], Q[j][i] = q, -q
    return Q


def cayley(Q: Matrix) -> Matrix:
    """R = (I − Q)(I + Q)⁻¹, by eliminating in (I + Q)ᵀ Rᵀ = (I − Q)ᵀ.

    Every leading block of I + Q has a positive determinant, so no pivot is 0 and no rows are exchanged.
    """
    n = len(Q)
    left = transpose([[Q[i][j] + int(i == j) for j in range(n)] for i in range(n)])
    right = transpose([[-Q[i][j] + int(i == j) for j in range(n)] for i in range(n)])
    return transpose(eliminated(left, right))


def eliminated(left: Matrix, right: Matrix) -> Matrix:
    """Solve left · M = right for M by Gauss and Jordan, without exchanging rows."""
    for p in range(len(left)):
        for i in range(len(left)):
            if i != p:
                factor = left[i][p] / left[p][p]
                left[i] = [a - factor * b for a, b in zip(left[i], left[p], strict=True)]
                right[i] = [a - factor * b for a, b in zip(right[i], right[p], strict=True)]
    return [[entry / left[i][i] for entry in row] for i, row in enumerate(right)]


def neumann(Q: Matrix) -> Matrix:
    """I − 2Q + 2Q² − 2Q³ + Q⁴ = (I − Q)(I − Q + Q² − Q³)."""
    n = len(Q)
    Q2 = product(Q, Q)
    Q3, Q4 = product(Q2, Q), product(Q2, Q2)
    return [
        [int(i == j) - 2 * Q[i][j] + 2 * Q2[i][j] - 2 * Q3[i][j] + Q4[i][j] for j in range(n)]
        for i in range(n)
    ]


def block_size(entries: int) -> int:
    """Find the size b of a block from its b (b − 1) / 2 numbers."""
    b = 1
    while b * (b - 1) // 2 < entries:
        b += 1
    return b


def rotations(t: Tensors, config: Config) -> list[Matrix]:
    """Make one matrix R for each block of inputs."""
    blocks = []
    for entries in t["q"]:
        if config.get("side") == "transposed":
            entries = [-q for q in entries]
        Q = skew(entries, block_size(len(entries)))
        blocks.append(cayley(Q) if config.get("neumann") is None else neumann(Q))
    return blocks


def rotated(rows: Matrix, blocks: list[Matrix]) -> Matrix:
    """Multiply each block of columns by its R from the right."""
    result = []
    for row in rows:
        out, start = [], 0
        for R in blocks:
            out += times_vector(transpose(R), row[start : start + len(R)])
            start += len(R)
        result.append(out)
    return result


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = X (W0 blockdiag(R))ᵀ + b."""
    W = rotated(t["W0"], rotations(t, config))
    return {"Y": [with_bias(times_vector(W, x), t) for x in t["X"]]}


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0 blockdiag(R)."""
    return {"W": rotated(t["W0"], rotations(t, config))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W blockdiag(Rᵀ) for the Cayley transform, W blockdiag(R⁻¹) for the five terms, which make no rotation."""
    blocks = rotations(t, config)
    if config.get("neumann") is None:
        return {"W0": rotated(t["W"], [transpose(R) for R in blocks])}
    return {"W0": rotated(t["W"], [inverse(R) for R in blocks])}


def inverse(R: Matrix) -> Matrix:
    """Invert by elimination; near a rotation that is near I no pivot is 0, and one that were would be an error.

    >>> from fractions import Fraction as F
    >>> inverse([[F(2), F(1)], [F(0), F(4)]])
    [[Fraction(1, 2), Fraction(-1, 8)], [Fraction(0, 1), Fraction(1, 4)]]
    """
    n = len(R)
    one = [[int(i == j) for j in range(n)] for i in range(n)]
    return eliminated([list(row) for row in R], one)


DEFINITION = Definition("oft", trainable=("q",), forward=forward, others={"merge": merge, "unmerge": unmerge})
