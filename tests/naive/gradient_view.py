"""The gradient view in plain loops over nested lists; exact on Fractions."""


def sgd_step(B, A, gW, s, lr):
    """One step on both factors, entry by entry, from the weight's full gradient."""
    d, k, r = len(B), len(A[0]), len(A)
    new_B = [
        [B[i][q] - lr * s * sum(gW[i][j] * A[q][j] for j in range(k)) for q in range(r)] for i in range(d)
    ]
    new_A = [
        [A[q][j] - lr * s * sum(B[i][q] * gW[i][j] for i in range(d)) for j in range(k)] for q in range(r)
    ]
    return new_B, new_A


def change_of_increment(B, A, new_B, new_A, s):
    """s (B' A' − B A), entry by entry."""
    d, k, r = len(B), len(A[0]), len(A)
    return [
        [s * sum(new_B[i][q] * new_A[q][j] - B[i][q] * A[q][j] for q in range(r)) for j in range(k)]
        for i in range(d)
    ]


def first_order(B, A, gW, s, lr):
    """−lr s² Σ over the projections: gW times the Gram matrix of A, the Gram matrix of B times gW."""
    d, k, r = len(B), len(A[0]), len(A)
    return [
        [
            -lr
            * s**2
            * (
                sum(gW[i][t] * A[q][t] * A[q][j] for t in range(k) for q in range(r))
                + sum(B[i][q] * B[t][q] * gW[t][j] for t in range(d) for q in range(r))
            )
            for j in range(k)
        ]
        for i in range(d)
    ]


def additive_weight(W0, B, A, s):
    """W_ij = W0_ij + s (B_i,(j mod r) + A_(i mod r),j)."""
    r = len(A)
    return [[W0[i][j] + s * (B[i][j % r] + A[i % r][j]) for j in range(len(W0[0]))] for i in range(len(W0))]


def additive_gradient(gW, r, s):
    """Every entry of the full gradient goes to the two numbers that its weight was made of."""
    d, k = len(gW), len(gW[0])
    gB = [[0] * r for _ in range(d)]
    gA = [[0] * k for _ in range(r)]
    for i in range(d):
        for j in range(k):
            gB[i][j % r] += s * gW[i][j]
            gA[i % r][j] += s * gW[i][j]
    return gB, gA
