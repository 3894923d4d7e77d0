"""What a layer costs, counted the slow way: numbers that count every + and * done with them, in plain loops."""


class Tally:
    """How many additions and multiplications were done."""

    def __init__(self):
        self.operations = 0


class Counted:
    """A number of unknown value that counts what is done with it."""

    def __init__(self, tally):
        self.tally = tally

    def __add__(self, other):
        self.tally.operations += 1
        return self

    __mul__ = __radd__ = __rmul__ = __add__


def matrix(tally, rows, columns):
    return [[Counted(tally) for _ in range(columns)] for _ in range(rows)]


def product(P, Q, inner):
    """Every entry is 0 + p q + p q + ...: as many additions as multiplications."""
    columns = len(Q[0]) if Q else 0
    out = []
    for row in P:
        line = []
        for j in range(columns):
            total = 0
            for t in range(inner):
                total = total + row[t] * Q[t][j]
            line.append(total)
        out.append(line)
    return out


def turned(P):
    return [list(column) for column in zip(*P, strict=True)]


def scaled(s, P):
    return [[s * v for v in row] for row in P]


def added(P, Q):
    return [[v + w for v, w in zip(p, q, strict=True)] for p, q in zip(P, Q, strict=True)]


def operations(N, d, k, r):
    """FLOPs of (forward, backward) for each variant, by doing them."""

    def inputs():
        t = Tally()
        X, gY, W0 = matrix(t, N, k), matrix(t, N, d), matrix(t, d, k)
        return t, X, gY, W0, matrix(t, d, r), matrix(t, r, k), matrix(t, N, r)

    def frozen_forward(t, X, gY, W0, B, A, Z):
        product(X, turned(W0), k)

    def frozen_backward(t, X, gY, W0, B, A, Z):
        product(gY, W0, d)

    def full_backward(t, X, gY, W0, B, A, Z):
        product(turned(gY), X, N)
        product(gY, W0, d)

    def lora1_forward(t, X, gY, W0, B, A, Z):
        product(X, turned(added(W0, scaled(2, product(B, A, r)))), k)

    def lora1_backward(t, X, gY, W0, B, A, Z):
        gW = product(turned(gY), X, N)
        product(gY, W0, d)
        scaled(2, product(gW, turned(A), k))
        scaled(2, product(turned(B), gW, d))

    def lora2_forward(t, X, gY, W0, B, A, Z):
        added(product(X, turned(W0), k), scaled(2, product(product(X, turned(A), k), turned(B), r)))

    def lora2_backward(t, X, gY, W0, B, A, Z):
        gZ = scaled(2, product(gY, B, d))
        added(product(gY, W0, d), product(gZ, A, r))
        scaled(2, product(turned(gY), Z, N))
        product(turned(gZ), X, N)

    def count(run):
        arguments = inputs()
        run(*arguments)
        return arguments[0].operations

    return {
        "frozen": (count(frozen_forward), count(frozen_backward)),
        "merged": (count(frozen_forward), count(frozen_backward)),
        "full": (count(frozen_forward), count(full_backward)),
        "lora-1": (count(lora1_forward), count(lora1_backward)),
        "lora-2": (count(lora2_forward), count(lora2_backward)),
    }
