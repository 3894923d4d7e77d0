"""DoRA, LoHa, LoKr, (IA)³ and OFT in plain loops over nested lists; exact on Fractions where no root enters.

Weights are written out from the papers' formulas and applied one output at a time.  Gradients are differences of the
loss Σ gY·Y: exact ones where the loss is linear in each entry, central ones with a tiny step on Fractions elsewhere.
"""

from fractions import Fraction
from math import isqrt

from tests.naive.lora import increment, matmul, transpose

STEP = Fraction(1, 2**60)
_BITS = 400


def root(x):
    """√x of a Fraction, to about 200 bits."""
    return Fraction(isqrt((x.numerator << _BITS) // x.denominator), 2 ** (_BITS // 2))


def apply(X, W, bias=None):
    """y_i = Σ_j W_ij x_j + b_i."""
    b = bias or [0] * len(W)
    return [[sum(W[i][j] * x[j] for j in range(len(x))) + b[i] for i in range(len(W))] for x in X]


def loss(gY, Y):
    """Σ gY·Y: its derivative with respect to Y is gY."""
    return sum(g * y for row, other in zip(gY, Y, strict=True) for g, y in zip(row, other, strict=True))


def places(tensor):
    """Every index of nested lists of one or two levels."""
    return [(i, j) for i, row in enumerate(tensor) if isinstance(row, list) for j in range(len(row))] or [
        (i,) for i, x in enumerate(tensor) if not isinstance(x, list)
    ]


def moved(tensor, place, step):
    """A copy with one entry moved."""
    copy = [list(row) if isinstance(row, list) else row for row in tensor]
    if len(place) == 2:
        copy[place[0]][place[1]] += step
    else:
        copy[place[0]] += step
    return copy


def shaped(tensor, values):
    """Values, in the order of `places`, in the shape of the tensor."""
    values = iter(values)
    return [[next(values) for _ in row] if isinstance(row, list) else next(values) for row in tensor]


def linear_gradient(f, tensor):
    """f(t + e) − f(t) in every entry: the derivative, exactly, where f is linear in each entry."""
    here = f(tensor)
    return shaped(tensor, [f(moved(tensor, place, 1)) - here for place in places(tensor)])


def central_gradient(f, tensor):
    """(f(t + h e) − f(t − h e)) / 2h in every entry."""
    slopes = [
        (f(moved(tensor, place, STEP)) - f(moved(tensor, place, -STEP))) / (2 * STEP)
        for place in places(tensor)
    ]
    return shaped(tensor, slopes)


# ---- the weights -------------------------------------------------------------------------------------------


def add(P, Q):
    """P + Q."""
    return [[a + b for a, b in zip(row, other, strict=True)] for row, other in zip(P, Q, strict=True)]


def row_lengths(V):
    """The Euclidean length of each row."""
    return [root(sum(v * v for v in row)) for row in V]


def dora_weight(W0, B, A, m, s, lengths=None):
    """m_i V_ij / ‖V_i‖ with V = W0 + s B A; the lengths may be given as constants."""
    V = add(W0, increment(B, A, s))
    lengths = row_lengths(V) if lengths is None else lengths
    return [[m[i] * v / lengths[i] for v in row] for i, row in enumerate(V)]


def loha_weight(W0, B1, A1, B2, A2, s):
    """W0_ij + s (B1 A1)_ij (B2 A2)_ij."""
    P, Q = matmul(B1, A1), matmul(B2, A2)
    return [[w + s * P[i][j] * Q[i][j] for j, w in enumerate(row)] for i, row in enumerate(W0)]


def lokr_weight(W0, C, D, s):
    """W0 + s C_(i // d2, j // k2) D_(i mod d2, j mod k2)."""
    d2, k2 = len(D), len(D[0])
    return [
        [w + s * C[i // d2][j // k2] * D[i % d2][j % k2] for j, w in enumerate(row)]
        for i, row in enumerate(W0)
    ]


def ia3(X, W0, factors, bias, *, feedforward):
    """l_i (Σ_j W0_ij x_j + b_i), or Σ_j W0_ij l_j x_j + b_i."""
    if feedforward:
        return apply([[factors[j] * v for j, v in enumerate(x)] for x in X], W0, bias)
    return [[factors[i] * y for i, y in enumerate(row)] for row in apply(X, W0, bias)]


# ---- rotations, in the paper's letters ---------------------------------------------------------------------


def skew(numbers, b):
    """Q_ij of the strict upper triangle, row by row, and −Q_ij below."""
    Q, numbers = [[0] * b for _ in range(b)], iter(numbers)
    for i in range(b):
        for j in range(i + 1, b):
            Q[i][j] = next(numbers)
            Q[j][i] = -Q[i][j]
    return Q


def identity(b):
    """The identity."""
    return [[Fraction(i == j) for j in range(b)] for i in range(b)]


def inverse(M):
    """M⁻¹ by Gauss and Jordan, exactly."""
    b = len(M)
    rows = [[Fraction(x) for x in row] + one for row, one in zip(M, identity(b), strict=True)]
    for c in range(b):
        pivot = next(i for i in range(c, b) if rows[i][c] != 0)
        rows[c], rows[pivot] = rows[pivot], rows[c]
        rows[c] = [x / rows[c][c] for x in rows[c]]
        for i in range(b):
            if i != c:
                rows[i] = [x - rows[i][c] * y for x, y in zip(rows[i], rows[c], strict=True)]
    return [row[b:] for row in rows]


def cayley(numbers, b):
    """R = (I + Q)(I − Q)⁻¹."""
    Q = skew(numbers, b)
    minus = [[-x for x in row] for row in Q]
    return matmul(add(identity(b), Q), inverse(add(identity(b), minus)))


def cayley_neumann(numbers, b):
    """R = I + 2Q + 2Q² + 2Q³ + Q⁴."""
    Q = skew(numbers, b)
    total, power = identity(b), identity(b)
    for times in (2, 2, 2, 1):
        power = matmul(power, Q)
        total = add(total, [[times * x for x in row] for row in power])
    return total


def oft_weight(W0, q, rotation):
    """(R W)ᵀ with W = W0ᵀ, as z = (R W)ᵀ x has it, R the rotations along the diagonal."""
    b = len(W0[0]) // len(q) if q else 0
    W, turned = transpose(W0), []
    for n, numbers in enumerate(q):
        turned += matmul(rotation(numbers, b), W[n * b : (n + 1) * b])
    return transpose(turned, len(W0))
