"""Small networks and images in plain loops over nested lists; dense layers are exact on Fractions."""

import math


def neuron(x, w, b):
    """w1 x1 + w2 x2 + ... + b."""
    y = b
    for value, weight in zip(x, w, strict=True):
        y = y + weight * value
    return y


def dense(X, W, b):
    """One neuron at a time, one row at a time."""
    return [[neuron(x, w, bias) for w, bias in zip(W, b, strict=True)] for x in X]


def dense_backward(gY, X, W):
    """gX, gW and gb of Σ gY · Y, entry by entry."""
    d, k = len(W), len(W[0])
    gX = [[sum(g[i] * W[i][j] for i in range(d)) for j in range(k)] for g in gY]
    gW = [[sum(g[i] * x[j] for g, x in zip(gY, X, strict=True)) for j in range(k)] for i in range(d)]
    gb = [sum(g[i] for g in gY) for i in range(d)]
    return gX, gW, gb


def relu(h):
    return h if h > 0 else 0.0


def gelu_exact(h):
    """h times the normal distribution function."""
    return h * 0.5 * (1 + math.erf(h / math.sqrt(2)))


def gelu_tanh(h):
    return 0.5 * h * (1 + math.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))


ACTIVATIONS = {"relu": relu, "gelu": gelu_tanh, "tanh": math.tanh}


def softmax(logits):
    """Probabilities of one row."""
    top = max(logits)
    powers = [math.exp(v - top) for v in logits]
    return [p / math.fsum(powers) for p in powers]


def cross_entropy(L, y):
    """Mean of log Σ exp − the true logit, over rows."""
    surprises = []
    for logits, label in zip(L, y, strict=True):
        top = max(logits)
        surprises.append(top + math.log(math.fsum(math.exp(v - top) for v in logits)) - logits[label])
    return math.fsum(surprises) / len(surprises)


def network(X, layers, adapters, masks, scale, activation):
    """Logits of a network: lists (W, b), lists (B, A) or None, lists of 0 and 1 or None."""
    bend = ACTIVATIONS[activation]
    for index, ((W, b), adapter) in enumerate(zip(layers, adapters, strict=True)):
        if adapter is not None:
            B, A = adapter
            W = [
                [w + scale * sum(B[i][q] * A[q][j] for q in range(len(A))) for j, w in enumerate(row)]
                for i, row in enumerate(W)
            ]
        Y = dense(X, W, b)
        if index == len(layers) - 1:
            return Y
        mask = masks[index] or [1] * len(b)
        X = [[bend(m * y) for m, y in zip(mask, row, strict=True)] for row in Y]
    return None


def quarter_turn(image):
    """Turn a square image counter-clockwise: the last column becomes the first row."""
    s = len(image)
    return [[image[j][s - 1 - i] for j in range(s)] for i in range(s)]


def turned(image, degrees):
    """Turn a square image counter-clockwise, looking up where each pixel comes from between four others."""
    s = len(image)
    middle = (s - 1) / 2
    angle = math.radians(degrees)
    result = []
    for i in range(s):
        row = []
        for j in range(s):
            x, y = j - middle, middle - i  # right and up of the centre
            from_x = x * math.cos(angle) + y * math.sin(angle)  # turned back
            from_y = -x * math.sin(angle) + y * math.cos(angle)
            row.append(_between(image, middle - from_y, middle + from_x))
        result.append(row)
    return result


def _between(image, i, j):
    """The value at a point between pixels; outside is 0."""
    total = 0.0
    for row, values in enumerate(image):
        for col, value in enumerate(values):
            total += value * max(0.0, 1 - abs(i - row)) * max(0.0, 1 - abs(j - col))
    return total
