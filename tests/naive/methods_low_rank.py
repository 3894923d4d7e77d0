"""The methods with a low-rank increment, written out in plain loops over lists: no array library, no matrix product.

Every layer is what its weight says: the weight is built entry by entry, and the gradients are those of the written-out
sum, term by term.  Numbers may be floats, Fractions or complex.
"""


def zeros(m, n):
    return [[0 for _ in range(n)] for _ in range(m)]


def matmul(M, N):
    """Multiply entry by entry."""
    columns = len(N[0]) if N else 0
    out = zeros(len(M), columns)
    for i, row in enumerate(M):
        for j in range(columns):
            for t, value in enumerate(row):
                out[i][j] += value * N[t][j]
    return out


def transpose(M):
    return [list(column) for column in zip(*M, strict=True)]


def layer(X, W, bias):
    """Y_ni = Σ_j W_ij X_nj + b_i."""
    return [
        [sum(w * x for w, x in zip(row, xs, strict=True)) + b for row, b in zip(W, bias, strict=True)]
        for xs in X
    ]


def weight_gradient(gY, X, d, k):
    """gW_ij = Σ_n gY_ni X_nj."""
    gW = zeros(d, k)
    for g, x in zip(gY, X, strict=True):
        for i in range(d):
            for j in range(k):
                gW[i][j] += g[i] * x[j]
    return gW


def input_gradient(gY, W, k):
    """gX_nj = Σ_i gY_ni W_ij."""
    return [[sum(g[i] * W[i][j] for i in range(len(W))) for j in range(k)] for g in gY]


# ---- weights, entry by entry -------------------------------------------------------------------------------


def product_weight(W0, B, A, s):
    """W_ij = W0_ij + s Σ_q B_iq A_qj."""
    return [
        [w + s * sum(B[i][q] * A[q][j] for q in range(len(A))) for j, w in enumerate(row)]
        for i, row in enumerate(W0)
    ]


def symmetric_weight(W0, B0, A0, B, A, s):
    """W_ij = W0_ij + s Σ_q (B_iq A_qj − B0_iq A0_qj)."""
    return product_weight(product_weight(W0, B, A, s), B0, A0, -s)


def xs_weight(W0, B, A, R):
    """W_ij = W0_ij + Σ_q Σ_t B_iq R_qt A_tj."""
    r = len(R)
    return [
        [w + sum(B[i][q] * R[q][t] * A[t][j] for q in range(r) for t in range(r)) for j, w in enumerate(row)]
        for i, row in enumerate(W0)
    ]


def vera_weight(W0, B, A, lambda_b, lambda_d):
    """W_ij = W0_ij + lambda_b_i Σ_q B_iq lambda_d_q A_qj."""
    return [
        [
            w + lambda_b[i] * sum(B[i][q] * lambda_d[q] * A[q][j] for q in range(len(A)))
            for j, w in enumerate(row)
        ]
        for i, row in enumerate(W0)
    ]


def adalora_weight(W0, P, lam, Q, s):
    """W_ij = W0_ij + s Σ_q P_iq lam_q Q_qj."""
    return [
        [w + s * sum(P[i][q] * lam[q] * Q[q][j] for q in range(len(Q))) for j, w in enumerate(row)]
        for i, row in enumerate(W0)
    ]


# ---- gradients, by the chain rule through the weight -------------------------------------------------------


def product_gradients(gW, B, A, s):
    """gB_iq = s Σ_j gW_ij A_qj and gA_qj = s Σ_i B_iq gW_ij."""
    d, k, r = len(B), len(gW[0]), len(A)
    gB = [[s * sum(gW[i][j] * A[q][j] for j in range(k)) for q in range(r)] for i in range(d)]
    gA = [[s * sum(B[i][q] * gW[i][j] for i in range(d)) for j in range(k)] for q in range(r)]
    return gB, gA


def xs_gradient(gW, B, A):
    """gR_qt = Σ_ij B_iq gW_ij A_tj."""
    d, k, r = len(B), len(gW[0]), len(A)
    return [
        [sum(B[i][q] * gW[i][j] * A[t][j] for i in range(d) for j in range(k)) for t in range(r)]
        for q in range(r)
    ]


def vera_gradients(gW, B, A, lambda_b, lambda_d):
    """glambda_b_i = Σ_jq gW_ij B_iq lambda_d_q A_qj; glambda_d_q = Σ_ij gW_ij lambda_b_i B_iq A_qj."""
    d, k, r = len(B), len(gW[0]), len(A)
    gb = [
        sum(gW[i][j] * B[i][q] * lambda_d[q] * A[q][j] for j in range(k) for q in range(r)) for i in range(d)
    ]
    gd = [
        sum(gW[i][j] * lambda_b[i] * B[i][q] * A[q][j] for i in range(d) for j in range(k)) for q in range(r)
    ]
    return gb, gd


def adalora_gradients(gW, P, lam, Q, s):
    """The derivatives of s Σ_ij gW_ij Σ_q P_iq lam_q Q_qj."""
    d, k, r = len(P), len(gW[0]), len(Q)
    gP = [[s * sum(gW[i][j] * lam[q] * Q[q][j] for j in range(k)) for q in range(r)] for i in range(d)]
    glam = [s * sum(gW[i][j] * P[i][q] * Q[q][j] for i in range(d) for j in range(k)) for q in range(r)]
    gQ = [[s * sum(gW[i][j] * P[i][q] * lam[q] for i in range(d)) for j in range(k)] for q in range(r)]
    return gP, glam, gQ


# ---- AdaLoRA's penalty and budget --------------------------------------------------------------------------


def penalty(P, Q):
    """Σ_qt (Σ_i P_iq P_it − [q = t])² + Σ_qt (Σ_j Q_qj Q_tj − [q = t])²."""
    r, total = len(Q), 0
    for q in range(r):
        for t in range(r):
            total += (sum(row[q] * row[t] for row in P) - (q == t)) ** 2
            total += (sum(a * b for a, b in zip(Q[q], Q[t], strict=True)) - (q == t)) ** 2
    return total


def smooth(mean, spread, now, beta1, beta2):
    """One number's two averages after one step, in the order of the paper: the new mean enters the spread."""
    mean = beta1 * mean + (1 - beta1) * now
    return mean, beta2 * spread + (1 - beta2) * abs(now - mean)


def triplet_score(lam, P_column, Q_row):
    """The score of one triplet from the scores of its numbers."""
    return lam + sum(P_column) / len(P_column) + sum(Q_row) / len(Q_row)


def keep(scores, budget):
    """Take the best one at a time, the earliest of equals, until the budget is spent."""
    left = [(layer, i) for layer, values in enumerate(scores) for i in range(len(values))]
    kept = [[False] * len(values) for values in scores]
    for _ in range(min(budget, len(left))):
        best = left[0]
        for layer, i in left:
            if scores[layer][i] > scores[best[0]][best[1]]:
                best = (layer, i)
        left.remove(best)
        kept[best[0]][best[1]] = True
    return kept


def inverse(M):
    """Invert by Gauss and Jordan, exactly on Fractions."""
    n = len(M)
    rows = [list(row) + [M[0][0] * 0 + (i == j) for j in range(n)] for i, row in enumerate(M)]
    for c in range(n):
        pivot = next(i for i in range(c, n) if rows[i][c] != 0)
        rows[c], rows[pivot] = rows[pivot], rows[c]
        rows[c] = [value / rows[c][c] for value in rows[c]]
        for i in range(n):
            if i != c:
                rows[i] = [a - rows[i][c] * b for a, b in zip(rows[i], rows[c], strict=True)]
    return [row[n:] for row in rows]
