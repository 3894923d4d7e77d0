"""Subspace similarity in plain loops, from orthonormal bases given as lists of vectors."""


def phi(first, second):
    """Σ over all pairs of the squared inner product, over the smaller number of vectors."""
    total = 0
    for u in first:
        for v in second:
            total += sum(x * y for x, y in zip(u, v, strict=True)) ** 2
    return total / min(len(first), len(second))


def phi_of_axes(first, second):
    """The similarity of spaces spanned by coordinate axes: count the axes that they share."""
    return len(set(first) & set(second)) / min(len(first), len(second))
