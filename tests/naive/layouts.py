"""LoRA on other layouts in plain loops over nested lists; exact on ints and Fractions.

Every output is affine in any one entry of any one tensor, so a derivative is a difference of two values, exactly:
`gradient` needs only the forward and knows no formula of a backward.
"""

import copy


def transposed(X, W0, B, A, s, bias=None):
    """Y[n][o] = Σ_i X[n][i] (W0[i][o] + s Σ_q B[o][q] A[q][i]) + bias[o], the weight stored (k, d)."""
    return [
        [
            sum(x[i] * (W0[i][o] + s * sum(B[o][q] * A[q][i] for q in range(len(A)))) for i in range(len(W0)))
            + (bias[o] if bias else 0)
            for o in range(len(B))
        ]
        for x in X
    ]


def embedding(tokens, E, B, A, s):
    """Y[n][o] = E[t][o] + s Σ_q B[o][q] A[q][t] with t = tokens[n]."""
    return [
        [E[t][o] + s * sum(B[o][q] * A[q][t] for q in range(len(A))) for o in range(len(B))] for t in tokens
    ]


def stacked(X, W0, B, A, s, enabled, bias=None):
    """Row o of W0 belongs to part o // height; the i-th enabled part has rows of B and A of its own."""
    height, r = len(W0) // len(enabled), len(B[0])
    W = copy.deepcopy(W0)
    for o in range(len(W0)):
        part = o // height
        if enabled[part]:
            i = sum(enabled[:part])
            for c in range(len(W0[0])):
                W[o][c] += s * sum(B[i * height + o % height][q] * A[i * r + q][c] for q in range(r))
    return [
        [sum(x[c] * W[o][c] for c in range(len(W0[0]))) + (bias[o] if bias else 0) for o in range(len(W0))]
        for x in X
    ]


def conv2d(X, W, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """Y[n][o][y][x] = Σ W[o][c][i][j] X[n][c'][y·s + i·d − p][...], outside of X zero."""
    d, channels, kh, kw = len(W), len(W[0]), len(W[0][0]), len(W[0][0][0])

    def at(image, c, row, column):
        inside = 0 <= row < len(image[c]) and 0 <= column < len(image[c][0])
        return image[c][row][column] if inside else 0

    def one(image, o, y, x):
        first = o // (d // groups) * channels
        return sum(
            W[o][c][i][j]
            * at(
                image,
                first + c,
                y * stride[0] + i * dilation[0] - padding[0],
                x * stride[1] + j * dilation[1] - padding[1],
            )
            for c in range(channels)
            for i in range(kh)
            for j in range(kw)
        )

    def windows(image):
        height = len(image[0]) + 2 * padding[0] - dilation[0] * (kh - 1) - 1
        width = len(image[0][0]) + 2 * padding[1] - dilation[1] * (kw - 1) - 1
        return range(height // stride[0] + 1), range(width // stride[1] + 1)

    return [
        [[[one(image, o, y, x) for x in windows(image)[1]] for y in windows(image)[0]] for o in range(d)]
        for image in X
    ]


def lora_conv2d(X, W0, B, A, s, groups=1, bias=None, **geometry):
    """conv(X, W0) + s conv1x1(conv(X, A), B) + bias: A sees every channel, B its group's part of the bottleneck."""
    Y = conv2d(X, W0, groups=groups, **geometry)
    branch = conv2d(conv2d(X, A, **geometry), B, groups=groups)
    for index in indices(Y):
        put(Y, index, get(Y, index) + s * get(branch, index) + (bias[index[1]] if bias else 0))
    return Y


def reshaped_conv2d(X, W0, B, A, s, groups=1, bias=None, **geometry):
    """conv(X, W0 + s ΔW), where the numbers of B A, row by row, are those of ΔW."""
    numbers = [
        s * sum(B[i][q] * A[q][j] for q in range(len(A))) for i in range(len(B)) for j in range(len(A[0]))
    ]
    W = copy.deepcopy(W0)
    for index, value in zip(indices(W), numbers, strict=True):
        put(W, index, get(W, index) + value)
    Y = conv2d(X, W, groups=groups, **geometry)
    for index in indices(Y):
        put(Y, index, get(Y, index) + (bias[index[1]] if bias else 0))
    return Y


# ---- nested lists ------------------------------------------------------------------------------------------


def indices(nested, before=()):
    """Every index into nested lists, row by row."""
    if not isinstance(nested, list):
        return [before]
    return [index for i, part in enumerate(nested) for index in indices(part, (*before, i))]


def get(nested, index):
    """The number at an index."""
    for i in index:
        nested = nested[i]
    return nested


def put(nested, index, value):
    """Write the number at an index."""
    get(nested, index[:-1])[index[-1]] = value


def inner(P, Q):
    """Σ P Q over all entries."""
    return sum(get(P, index) * get(Q, index) for index in indices(P))


def gradient(forward, tensors, name, gY):
    """The derivative of <gY, forward(**tensors)> in every entry of one tensor: its change when the entry grows by 1."""
    before = inner(gY, forward(**tensors))
    result = copy.deepcopy(tensors[name])
    for index in indices(result):
        moved = copy.deepcopy(tensors[name])
        put(moved, index, get(moved, index) + 1)
        put(result, index, inner(gY, forward(**{**tensors, name: moved})) - before)
    return result
