"""The LoRA layer in plain loops over nested lists; exact on Fractions."""


def matmul(P, Q):
    """P Q, entry by entry."""
    inner = len(Q)
    columns = len(Q[0]) if inner else 0
    return [[sum((row[t] * Q[t][j] for t in range(inner)), 0 * 1) for j in range(columns)] for row in P]


def transpose(P, columns=None):
    """Pᵀ; `columns` is needed where P has no rows."""
    columns = len(P[0]) if P else columns
    return [[row[j] for row in P] for j in range(columns or 0)]


def increment(B, A, s):
    """s B A."""
    return [[s * v for v in row] for row in matmul(B, A)]


def merged(W0, B, A, s):
    """W0 + s B A."""
    delta = increment(B, A, s)
    return [[w + v for w, v in zip(row, extra, strict=True)] for row, extra in zip(W0, delta, strict=True)]


def forward(X, W0, B, A, s, bias=None):
    """One output at a time: y_i = Σ_j W_ij x_j + b_i, with the weight written out."""
    W = merged(W0, B, A, s)
    b = bias or [0] * len(W)
    return [[sum(w * v for w, v in zip(W[i], x, strict=True)) + b[i] for i in range(len(W))] for x in X]


def full_gradient(gY, X):
    """(gW)_ij = Σ_n (gY)_ni X_nj."""
    d = len(gY[0]) if gY else 0
    k = len(X[0]) if X else 0
    return [[sum(gY[n][i] * X[n][j] for n in range(len(X))) for j in range(k)] for i in range(d)]


def backward(gY, X, W0, B, A, s):
    """Differentiate Σ_ni (gY)_ni y_ni entry by entry: returns gX, gB, gA."""
    W = merged(W0, B, A, s)
    d, k, r = len(W), len(A[0]), len(A)
    gX = [[sum(g[i] * W[i][j] for i in range(d)) for j in range(k)] for g in gY]
    gB = [
        [
            sum(s * g[i] * A[q][j] * x[j] for g, x in zip(gY, X, strict=True) for j in range(k))
            for q in range(r)
        ]
        for i in range(d)
    ]
    gA = [
        [
            sum(s * g[i] * B[i][q] * x[j] for g, x in zip(gY, X, strict=True) for i in range(d))
            for j in range(k)
        ]
        for q in range(r)
    ]
    return gX, gB, gA
