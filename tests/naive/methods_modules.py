"""Adapters, prefixes and prompts in plain loops over nested lists, on any kind of number.

`exp` and `tanh` are given by the caller (math's for floats, Decimal's for many digits), so that one road serves both.
`slope` differentiates by a central difference; on 60 digits it is right to far more than a double holds.
"""

import copy
import math
from decimal import Decimal, localcontext

from tests.naive.layouts import get, indices, inner, put

DIGITS = 80
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803")


def tanh(x):
    """Of a Decimal, by exp; by its series where it is small, since 1 − e would cancel."""
    if abs(x) < Decimal("1e-5"):
        return x - x**3 / 3 + 2 * x**5 / 15 - 17 * x**7 / 315 + 62 * x**9 / 2835 - 1382 * x**11 / 155925
    e = (2 * x).exp()
    return (e - 1) / (e + 1)


def relu(u, _tanh):
    """What is positive."""
    return u if u > 0 else 0 * u


def gelu(u, tanh):
    """u/2 (1 + tanh(√(2/π) (u + 0.044715 u³)))."""
    number = type(u)
    root = number(math.sqrt(2 / math.pi))
    return u / 2 * (1 + tanh(root * (u + number(0.044715) * u * u * u)))


def gelu_erf(u, _tanh):
    """u times the normal distribution below u: its density's integral from 0, as a series of Decimals."""
    number = type(u)
    term, total, n = u, u, 0
    while abs(term) > abs(total) * number("1e-75"):
        n += 1
        term = -term * u * u * (2 * n - 1) / (2 * n * (2 * n + 1))
        total += term
    return u * (number(1) / 2 + total / (2 * PI).sqrt())


def bent(u, tanh):
    """tanh itself."""
    return tanh(u)


FUNCTIONS = {"relu": relu, "gelu": gelu, "gelu-erf": gelu_erf, "tanh": bent}


def bottleneck(X, W_down, b_down, W_up, b_up, activation, tanh=math.tanh):
    """Y[n][o] = X[n][o] + Σ_q f(Σ_i X[n][i] W_down[q][i] + b_down[q]) W_up[o][q] + b_up[o]."""
    f, Y = FUNCTIONS[activation], []
    for x in X:
        hidden = [
            f(sum((a * w for a, w in zip(x, row, strict=True)), 0 * b) + b, tanh)
            for row, b in zip(W_down, b_down, strict=True)
        ]
        Y.append(
            [
                x[o] + sum((h * w for h, w in zip(hidden, W_up[o], strict=True)), 0 * b_up[o]) + b_up[o]
                for o in range(len(x))
            ]
        )
    return Y


def attention(Q, K, V, P_k, P_v, exp=math.exp, sqrt=math.sqrt):
    """Σ_t weight_t value_t over prefix and tokens, the weights exp of the scaled products, divided by their sum."""
    keys, values, Y = P_k + K, P_v + V, []
    for q in Q:
        weights = [exp(sum(a * b for a, b in zip(q, key, strict=True)) / sqrt(len(q))) for key in keys]
        total = sum(weights)
        Y.append([sum(w * v[o] for w, v in zip(weights, values, strict=True)) / total for o in range(len(q))])
    return Y


def reparametrize(E, W1, b1, W2, b2, tanh=math.tanh):
    """Row i of [P_k P_v] is W2 tanh(W1 E[i] + b1) + b2."""
    rows = []
    for e in E:
        hidden = [
            tanh(sum(a * w for a, w in zip(e, row, strict=True)) + b) for row, b in zip(W1, b1, strict=True)
        ]
        rows.append(
            [sum(h * w for h, w in zip(hidden, row, strict=True)) + b for row, b in zip(W2, b2, strict=True)]
        )
    return rows


def prompted(X, W0, P, bias=None):
    """The frozen layer on the prompt's rows and then the input's."""
    return [
        [
            sum((a * w for a, w in zip(x, row, strict=True)), 0) + (bias[o] if bias else 0)
            for o, row in enumerate(W0)
        ]
        for x in P + X
    ]


# ---- many digits -------------------------------------------------------------------------------------------


def decimals(nested):
    """Nested lists of the exact values as Decimals."""
    return [decimals(part) for part in nested] if isinstance(nested, list) else Decimal(nested)


def values(forward, tensors):
    """Evaluate on 80 digits, and round once."""
    with localcontext(prec=DIGITS):
        result = forward(**{name: decimals(x) for name, x in tensors.items()})
        for index in indices(result):
            put(result, index, float(get(result, index)))
        return result


def slope(forward, tensors, name, gY, step="1e-25"):
    """The derivative of <gY, forward(**tensors)> in every entry of one tensor, by central differences on 80 digits."""
    with localcontext(prec=DIGITS):
        numbers, upstream = {key: decimals(x) for key, x in tensors.items()}, decimals(gY)
        result, h = copy.deepcopy(numbers[name]), Decimal(step)
        for index in indices(result):
            sides = []
            for sign in (1, -1):
                moved = copy.deepcopy(numbers[name])
                put(moved, index, get(moved, index) + sign * h)
                sides.append(inner(upstream, forward(**{**numbers, name: moved})))
            put(result, index, float((sides[0] - sides[1]) / (2 * h)))
        return result
