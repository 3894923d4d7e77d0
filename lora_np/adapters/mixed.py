"""One batch, many adapters: each row has its own, or none.  Floor 2.

A merged weight serves one adapter; unmerged, every row may bring another, and all rows share the one frozen product.
The rows are sorted by adapter, so that each adapter makes two thin products with all of its rows: the cost grows with
the batch, not with the batch times the adapters.  A row is one entry of X's first axis: X (N, k), or N sequences
(N, T, k) whose positions all use the same adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float, Int
from lora_np.adapters.adapter import LoraAdapter, require_adapter, require_base
from lora_np.adapters.names import require_known
from lora_np.batches import flat_rows
from lora_np.errors import ConfigError, ShapeError
from lora_np.lora import LoraParams


class Grouping(NamedTuple):
    """Rows sorted by adapter.  [adapters-mixed]

    `order` lists the rows group by group, those without an adapter last; `back` undoes it; `bounds` gives each
    adapter's first and last place (excluded) in that order.
    """

    order: Int[Array, " N"]
    back: Int[Array, " N"]
    bounds: Mapping[str, tuple[int, int]]


def group_rows(rows: Sequence[str | None], *, like: Array) -> Grouping:
    """Sort rows by adapter, keeping their order within each.  [adapters-mixed]

    >>> import numpy as np
    >>> group_rows(["b", None, "a", "b"], like=np.zeros(1))
    Grouping(order=array([0, 3, 2, 1]), back=array([0, 3, 2, 1]), bounds={'b': (0, 2), 'a': (2, 3)})
    """
    if not isinstance(rows, (list, tuple)):
        raise ConfigError(
            f"rows must be a list of adapter names or None, got {type(rows).__name__}",
            fix="name the adapter of every row",
        )
    places: dict[str, list[int]] = {}
    without: list[int] = []
    for place, name in enumerate(rows):
        if name is not None and not isinstance(name, str):
            raise ConfigError(f"rows[{place}] must be a name or None, got {type(name).__name__} {name!r}")
        (without if name is None else places.setdefault(name, [])).append(place)
    xp = array_namespace(like)
    order = xp.asarray([*chain.from_iterable(places.values()), *without], dtype=xp.int64)
    ends = accumulate(map(len, places.values()), initial=0)
    return Grouping(order, xp.argsort(order), dict(zip(places, pairwise(ends), strict=True)))


def forward_mixed(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    adapters: Mapping[str, LoraAdapter],
    rows: Sequence[str | None],
    *,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], dict[str, Float[Array, "n r"]]]:
    """Apply to each row its own adapter, or the frozen layer alone where its name is None.  [adapters-mixed]

    y_n = W0 x_n + s_t B_t (A_t x_n) + b with t = rows[n].  Returns Y and the bottlenecks Z of the adapters in use, by
    name, which `backward_mixed` needs.  Rows of None are those of X W0ᵀ + b, bit for bit.  Raises `ShapeError`,
    `DTypeError`, `RankError`, `ConfigError`, `UnknownAdapterError`.

    >>> import numpy as np
    >>> one = LoraAdapter(LoraParams(B=np.array([[1.0], [0.0]]), A=np.array([[1.0, 1.0]])), scale=0.5)
    >>> forward_mixed(np.ones((2, 2)), np.eye(2), {"one": one}, [None, "one"])[0]
    array([[1., 1.],
           [2., 1.]])
    """
    groups = _require_mixed(X, W0, adapters, rows, bias)
    xp = array_namespace(X)
    sorted_X = xp.take(X, groups.order, axis=0)
    Z, branches = {}, []
    for name, (first, last) in groups.bounds.items():
        (B, A), scale = adapters[name]
        Z[name] = sorted_X[first:last, ...] @ A.T  # (n, r): all rows of this adapter at once
        branches.append(float(scale) * (Z[name] @ B.T))  # (n, d)
    Y = X @ W0.T  # (N, d): one frozen product for all
    return _added(Y if bias is None else Y + bias, branches, groups), Z


def backward_mixed(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Mapping[str, Float[Array, "n r"]],
    W0: Float[Array, "d k"],
    adapters: Mapping[str, LoraAdapter],
    rows: Sequence[str | None],
) -> tuple[Float[Array, "N k"], dict[str, LoraParams]]:
    """Pull gY back to the input and to the factors of every adapter.  [adapters-mixed-grad]

    gB_t = s_t Σ gY_nᵀ Z_n and gA_t = s_t Σ B_tᵀ gY_nᵀ X_n over its own rows; zero for an adapter that no row uses.
    `Z` is what `forward_mixed` returned.  Raises what `forward_mixed` raises.

    >>> import numpy as np
    >>> X, W0, rows = np.ones((2, 2)), np.eye(2), [None, "one"]
    >>> one = LoraAdapter(LoraParams(B=np.array([[1.0], [0.0]]), A=np.array([[1.0, 1.0]])), scale=0.5)
    >>> Y, Z = forward_mixed(X, W0, {"one": one}, rows)
    >>> backward_mixed(np.ones((2, 2)), X, Z, W0, {"one": one}, rows)[0]
    array([[1. , 1. ],
           [1.5, 1.5]])
    """
    groups = _require_mixed(X, W0, adapters, rows)
    _require_kept(gY, X, Z, W0, adapters, groups)
    xp = array_namespace(X)
    sorted_X, sorted_gY = xp.take(X, groups.order, axis=0), xp.take(gY, groups.order, axis=0)
    gradients = {
        name: LoraParams(*(xp.zeros_like(factor) for factor in p)) for name, (p, _) in adapters.items()
    }
    branches = []
    for name, (first, last) in groups.bounds.items():
        (B, A), s = adapters[name][0], float(adapters[name][1])
        own_gY, own_X = sorted_gY[first:last, ...], sorted_X[first:last, ...]
        gZ = s * (own_gY @ B)  # (n, r)
        branches.append(gZ @ A)  # (n, k)
        gB = s * (flat_rows(own_gY).T @ flat_rows(Z[name]))  # (d, r)
        gradients[name] = LoraParams(gB, flat_rows(gZ).T @ flat_rows(own_X))
    return _added(gY @ W0, branches, groups), gradients


def _added(base: Array, branches: list[Array], groups: Grouping) -> Array:
    """Add the branches, which lie sorted by adapter, to the rows they belong to; the others stay as they are."""
    if not branches:
        return base
    xp = array_namespace(base)
    used = sum(branch.shape[0] for branch in branches)
    rest = xp.take(base, groups.order[used:], axis=0)
    summed = xp.take(base, groups.order[:used], axis=0) + xp.concat(branches, axis=0)
    return xp.take(xp.concat([summed, rest], axis=0), groups.back, axis=0)


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require_mixed(X: Any, W0: Any, adapters: Any, rows: Any, bias: Any = None) -> Grouping:
    """Raise unless rows, weight and adapters belong together; return the rows sorted by adapter."""
    require_base(X, W0, bias)
    if not isinstance(adapters, Mapping):
        raise ConfigError(f"adapters must map names to adapters, got {type(adapters).__name__}")
    for name, adapter in adapters.items():
        require_adapter(f"adapter {name!r}", adapter, *W0.shape)
        checks.require_layer(X, W0, adapter[0], adapter[1])
    groups = group_rows(rows, like=X)
    for name in groups.bounds:
        require_known(name, adapters)
    if X.ndim < 2 or len(rows) != X.shape[0]:
        raise ShapeError(
            f"rows names {len(rows)} adapters, X has shape {tuple(X.shape)}; expected one for each entry of its "
            "first axis",
            fix="name the adapter of every row, None for the frozen layer alone",
        )
    return groups


def _require_kept(gY: Any, X: Any, Z: Any, W0: Any, adapters: Any, groups: Grouping) -> None:
    """Raise unless gY (N, d) belongs to X, and Z holds what forward returned for these rows."""
    checks.require_rows("gY", gY, W0.shape[0], f"d, the height of W0 {tuple(W0.shape)}")
    checks.require_same_rows(gY=gY, X=X)
    checks.require_same_dtype(gY=gY, X=X)
    if not isinstance(Z, Mapping):
        raise ConfigError(f"Z must be what forward_mixed returned, got {type(Z).__name__}")
    for name, z in Z.items():
        checks.require_array(f"Z of {name!r}", z)
    expected = {
        name: (last - first, *X.shape[1:-1], adapters[name][0][1].shape[0])
        for name, (first, last) in groups.bounds.items()
    }
    found = {name: tuple(z.shape) for name, z in Z.items()}
    if found != expected:
        raise ShapeError(
            f"Z has the shapes {found}, expected {expected}", fix="pass the Z that forward_mixed returned"
        )
    checks.require_same_dtype(X=X, **{f"Z of {name}": z for name, z in Z.items()})
