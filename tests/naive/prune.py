"""Pruning in plain loops over nested lists; exact on Fractions.  A group is a list of entries (name, i, j)."""


def product(P, Q):
    """P Q, entry by entry."""
    inner = range(len(Q))
    return [[sum((row[t] * Q[t][j] for t in inner), 0 * 1) for j in range(len(Q[0]))] for row in P]


def combine(P, Q, c):
    """P + c Q."""
    return [[x + c * y for x, y in zip(p, q, strict=True)] for p, q in zip(P, Q, strict=True)]


def exact_gradient(gY, X):
    """G_ij = Σ_n (gY)_ni X_nj."""
    return [
        [sum(g[i] * x[j] for g, x in zip(gY, X, strict=True)) for j in range(len(X[0]))]
        for i in range(len(gY[0]))
    ]


def estimate(B, A, gB, gA, lr):
    """gB A + B gA − lr gB gA, three products."""
    return combine(combine(product(gB, A), product(B, gA), 1), product(gB, gA), -lr)


def scores(W, G, groups, form):
    """W and G map names to nested lists; one score a group."""
    found = []
    for group in groups:
        terms = [G[name][i][j] * W[name][i][j] for name, i, j in group]
        if form == "dot-squared":
            found.append(sum(terms) ** 2)
        else:
            found.append(sum(t * t if form == "sum-squared" else abs(t) for t in terms))
    return found


def entries_of_line(name, axis, line, shape):
    """The entries of one row (axis 0) or column (axis 1)."""
    d, k = shape
    return [(name, line, j) for j in range(k)] if axis == 0 else [(name, i, line) for i in range(d)]


def entries_of_groups(parts, count, shapes):
    """Every group's entries, from labels: parts maps a name to (labels, axis)."""
    groups = [[] for _ in range(count)]
    for name, (labels, axis) in parts.items():
        for line, label in enumerate(labels):
            if axis is None:
                for j, entry_label in enumerate(label):
                    if entry_label >= 0:
                        groups[entry_label].append((name, line, j))
            elif label >= 0:
                groups[label] += entries_of_line(name, axis, line, shapes[name])
    return groups


def without(W, group):
    """The weights with a group's entries zero."""
    copy = {name: [list(row) for row in matrix] for name, matrix in W.items()}
    for name, i, j in group:
        copy[name][i][j] *= 0
    return copy


def keep(scores, count, kept):
    """Take the lowest scoring kept group away, one at a time, until `count` are gone."""
    kept = list(kept)
    while kept.count(False) < count:
        lowest = None
        for g, score in enumerate(scores):
            if kept[g] and (lowest is None or score < scores[lowest]):
                lowest = g
        kept[lowest] = False
    return kept


def cubic(t, T, final, initial, w, c):
    """The released schedule, with its own three branches."""
    if t <= w * T:
        return initial
    if t > T - c * T:
        return final
    return final + (initial - final) * (1 - (t - w * T) / (T - (w + c) * T)) ** 3


def released_scores(W0, B, A, gB, gA, s, blocks):
    """Σ |Ĝ W| over each block of entries, over the root of the sum of their squares."""
    G = estimate(B, A, gB, gA, 1)
    W = combine(W0, product(B, A), s)
    raw = [sum(abs(G[i][j] * W[i][j]) for i, j in block) for block in blocks]
    norm = sum(x * x for x in raw) ** 0.5
    return [x / (norm + 1e-8) for x in raw]
