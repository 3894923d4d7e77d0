"""Self-attention and a transformer of one block in plain loops over nested lists, one picture at a time."""

import math

from tests.naive import nn


def attention(Q, K, V, heads):
    """Every head, token by token: shares of all values by the softmax of scaled inner products."""
    T, width = len(Q), len(Q[0]) // heads
    Y = [[0.0] * len(Q[0]) for _ in range(T)]
    for h in range(heads):
        columns = range(h * width, (h + 1) * width)
        for t in range(T):
            scores = [sum(Q[t][c] * K[u][c] for c in columns) / math.sqrt(width) for u in range(T)]
            shares = nn.softmax(scores)
            for c in columns:
                Y[t][c] = sum(shares[u] * V[u][c] for u in range(T))
    return Y


def adapted(X, layer, p, scale):
    """x (W + s B A)ᵀ + b, the increment multiplied out entry by entry."""
    W, b = layer
    if p is not None:
        B, A = p
        r = range(len(A))
        W = [
            [w + scale * sum(B[i][t] * A[t][j] for t in r) for j, w in enumerate(row)]
            for i, row in enumerate(W)
        ]
    return nn.dense(X, W, b)


def transformer(picture, layers, position, adapters, scale, heads):
    """The logits of one picture, given as a list of tokens."""

    def layer(name, rows):
        return adapted(rows, layers[name], adapters.get(name), scale)

    def plus(X, Y):
        return [[x + y for x, y in zip(a, b, strict=True)] for a, b in zip(X, Y, strict=True)]

    E = plus(layer("embed", picture), position)
    R = plus(E, layer("o", attention(layer("q", E), layer("k", E), layer("v", E), heads)))
    hidden = [[nn.relu(h) for h in row] for row in layer("1", R)]
    M = plus(R, layer("2", hidden))
    mean = [sum(column) / len(M) for column in zip(*M, strict=True)]
    return layer("head", [mean])[0]
