"""Importance of groups by first-order Taylor expansion, in three forms.  Floor 2.

All forms are sums over the weights of a group, so they are taken in two steps: `line_sums` of each row or column of
a matrix, then `importance_from_sums`, which adds up each group over all the matrices that it spans.  Matrices are
taken a tile of rows at a time: a gradient given as a `Product` and a weight given as an `Adapted` are never whole.

Which sums factor?  The plain sum Σ_j G_ij W_ij does: with G = U V it is Σ_m U_im (W Vᵀ)_im, and for the exact
gradient W Vᵀ is the layer's output, so `group_dot` reads it off activations.  Σ_j (G_ij W_ij)² and Σ_j |G_ij W_ij|
do not: a square or an absolute value of a sum over m has to see every entry, in O(d k m) time.  Nothing here removes
a weight or looks at a loss; `true_removal_loss` does.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float, Int
from lora_np.errors import ConfigError, ShapeError
from lora_np.prune.factored import Matrix, array_of, require_matrix, rows_of, shape_of
from lora_np.prune.gradients import require_gradient
from lora_np.prune.groups import Groups, Part, by_part

FORMS = ("dot-squared", "sum-squared", "sum-abs")


def importance(
    W: Matrix | Mapping[str, Matrix],
    G: Matrix | Mapping[str, Matrix],
    groups: Groups,
    *,
    form: str = "dot-squared",
    tile: int = 64,
) -> Float[Array, " q"]:
    """Score each group by how much the loss would change without it, to first order.  [prune-importance]

    ``"dot-squared"``  (Σ_S G W)²: the square of the Taylor term itself (seed 000)      [prune-taylor-1]
    ``"sum-squared"``  Σ_S (G W)²: each weight as if it left alone (LoRAPrune)          [prune-group-sum]
    ``"sum-abs"``      Σ_S |G W|: what LoRAPrune's released code adds up                [prune-released]

    W is the weight in use, W0 + s B A, and G its gradient (ones, for a score by magnitude).  Each is an array, an
    `Adapted`, or a `Product`; or a mapping from the names of the groups' parts to such.  Extra memory O(tile k).
    Raises `StateError` where a gradient is missing, `GroupError`, `ShapeError`, `DTypeError`, `ConfigError`.

    >>> from lora_np.prune.groups import rows
    >>> W, G = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, -1.0], [1.0, 0.5]])
    >>> [importance(W, G, rows(2), form=form).tolist() for form in FORMS]
    [[1.0, 25.0], [5.0, 13.0], [3.0, 5.0]]
    """
    return importance_from_sums(sums_by_part(W, G, groups, form=form, tile=tile), groups, form=form)


def sums_by_part(
    W: Matrix | Mapping[str, Matrix],
    G: Matrix | Mapping[str, Matrix],
    groups: Groups,
    *,
    form: str,
    tile: int = 64,
) -> dict[str, Float[Array, " n"]]:
    """Take `line_sums` of every part of the groups, along the axis of its labels.  [prune-importance]

    What `importance_from_sums` wants.  Raises what `importance` raises.
    """
    weights, gradients = by_part("W", W, groups), _gradients_by_part(G, groups)
    return {
        name: line_sums(weights[name], gradients[name], axis=part.axis, form=form, tile=tile)
        for name, part in groups.parts.items()
    }


def weightwise(W: Float[Array, "d k"], G: Float[Array, "d k"]) -> Float[Array, "d k"]:
    """Score every weight as if it left alone.  [prune-weightwise]

    I_ij = (G_ij W_ij)².  Raises what `importance` raises.

    >>> weightwise(np.array([[2.0]]), np.array([[-3.0]]))
    array([[36.]])
    """
    _require_alike(W, G)
    return (G * W) ** 2


def line_sums(W: Matrix, G: Matrix, *, axis: int | None, form: str, tile: int = 64) -> Float[Array, " n"]:
    """Sum the terms of one matrix over each row (axis 0) or each column (axis 1).  [prune-importance]

    A term is G W, (G W)² or |G W| by `form`; the sum of ``"dot-squared"`` is not squared yet.  With axis None the
    terms themselves, flattened.  Raises what `importance` raises.
    """
    checks.require_one_of("form", form, FORMS)
    checks.require_int("tile", tile, minimum=1)
    if axis not in (0, 1, None):
        raise ConfigError(f"axis must be 0 (rows), 1 (columns) or None (entries), got {axis!r}")
    _require_alike(W, G)
    d, k = shape_of(W)
    xp = array_namespace(array_of(W))
    zero = xp.zeros(k if axis == 1 else 0, dtype=array_of(W).dtype)
    total, pieces = zero, [zero]
    for start in range(0, d, tile):
        stop = min(start + tile, d)
        terms = _terms(rows_of(G, start, stop) * rows_of(W, start, stop), form)  # (t, k)
        if axis == 1:
            total = total + xp.sum(terms, axis=0)  # (k,)
        else:
            pieces.append(xp.sum(terms, axis=1) if axis == 0 else xp.reshape(terms, (-1,)))
    return total if axis == 1 else xp.concat(pieces)


def importance_from_sums(
    sums: Mapping[str, Float[Array, " n"]], groups: Groups, *, form: str = "dot-squared"
) -> Float[Array, " q"]:
    """Add up each group over all the matrices it spans; square at the end where the form says so.  [prune-group-sum]

    `sums` has, for every part of the groups, one number per label: from `line_sums`, or from `group_dot`.  Raises
    `GroupError`, `ShapeError`, `DTypeError`, `ConfigError`.

    >>> from lora_np.prune.groups import channels
    >>> hidden = channels(2, producers=["W1"], consumers=["W2"])
    >>> importance_from_sums({"W1": np.array([1.0, 2.0]), "W2": np.array([1.0, -2.0])}, hidden)
    array([4., 0.])
    """
    checks.require_one_of("form", form, FORMS)
    total = group_sums(sums, groups)
    return total**2 if form == "dot-squared" else total


def group_sums(sums: Mapping[str, Float[Array, " n"]], groups: Groups) -> Float[Array, " q"]:
    """Add up each group over all the matrices it spans, and leave the sum as it is.  [prune-group-sum]

    Raises what `importance_from_sums` raises.
    """
    sums = by_part("sums", sums, groups)
    parts = [sum_by_label(sums[name], part, groups.count, name=name) for name, part in groups.parts.items()]
    checks.require_same_dtype(**sums)
    return sum(parts[1:], start=parts[0])  # (q,)


def sum_by_label(
    values: Float[Array, " n"], part: Part, count: int, *, name: str = "W"
) -> Float[Array, " q"]:
    """Sum values that share a label; what is free is left out, and an absent label sums to 0.

    Labels of equal frequency are summed together as the rows of a table, so that a NaN stays in its own group.

    >>> sum_by_label(np.array([1.0, 2.0, 4.0]), Part(np.array([1, 1, 0])), 2)
    array([4., 3.])
    """
    labels = part.labels.reshape(-1)
    checks.require_ndim(f"the sums of {name!r}", values, 1, "n")
    if values.shape[0] != labels.shape[0]:
        raise ShapeError(f"{name!r} has {values.shape[0]} sums for {labels.shape[0]} labels of its groups")
    xp = array_namespace(values)
    numbers, summed = [np.zeros(0, dtype=int)], [xp.zeros(0, dtype=values.dtype)]
    for table, which in _tables(labels, count):
        picked = xp.reshape(xp.take(values, xp.asarray(table.reshape(-1)), axis=0), table.shape)
        summed.append(xp.sum(picked, axis=1))  # a sum over no columns is 0
        numbers.append(which)
    return xp.take(xp.concat(summed), xp.asarray(np.argsort(np.concatenate(numbers))), axis=0)


def _tables(labels: Int[Array, " n"], count: int) -> list[tuple[Int[Array, "q m"], Int[Array, " q"]]]:
    """Index the labels by frequency m: for each m, where its q labels stand, (q, m), and which labels they are."""
    order = np.argsort(labels, kind="stable")
    order = order[int((labels < 0).sum()) :]
    sizes = np.bincount(labels[labels >= 0], minlength=count)
    starts = np.cumsum(sizes) - sizes
    tables = []
    for size in np.unique(sizes):
        which = np.flatnonzero(sizes == size)
        tables.append((order[starts[which][:, None] + np.arange(size)], which))
    return tables


def _terms(product: Float[Array, "t k"], form: str) -> Float[Array, "t k"]:
    """Turn G W, weight by weight, into what the form sums."""
    return {"dot-squared": lambda x: x, "sum-squared": lambda x: x * x, "sum-abs": abs}[form](product)


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _gradients_by_part(G: Any, groups: Groups) -> Mapping[str, Any]:
    """Return the gradient of each part; one that is missing was never computed."""
    require_gradient("G", G)
    if isinstance(G, Mapping):
        for name in groups.parts:
            require_gradient(f"G[{name!r}]", G.get(name))
    return by_part("G", G, groups)


def _require_alike(W: Matrix, G: Matrix) -> None:
    """Raise unless weight and gradient are (d, k) matrices of one shape and element type."""
    require_gradient("G", G)
    require_matrix("W", W)
    require_matrix("G", G)
    checks.require_same_dtype(W=array_of(W), G=array_of(G))
    if tuple(shape_of(W)) != tuple(shape_of(G)):
        raise ShapeError(f"G has shape {tuple(shape_of(G))}, expected {tuple(shape_of(W))}, the shape of W")
