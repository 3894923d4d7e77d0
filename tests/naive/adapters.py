"""Several adapters in plain loops over nested lists; exact on Fractions.  An adapter is a triple (B, A, s).

At the end a bank of adapters as a plain dict: each operation copies it, changes the copy, or raises `Refused` with
the name of the error that is due.  Nothing in it is remembered: weight and output are computed from the definition.
"""

import copy


def increment(B, A, s):
    """s B A, entry by entry."""
    return [[s * sum(row[q] * A[q][j] for q in range(len(A))) for j in range(len(A[0]))] for row in B]


def increments(adapters, weights=None):
    """w s B A of each."""
    weights = weights or [1] * len(adapters)
    return [increment(B, A, w * s) for (B, A, s), w in zip(adapters, weights, strict=True)]


def add(matrices, zero=0):
    """Entry by entry."""
    d, k = len(matrices[0]), len(matrices[0][0]) if matrices[0] else 0
    return [[sum((M[i][j] for M in matrices), zero) for j in range(k)] for i in range(d)]


def linear(adapters, weights, root):
    """(Σ a B) (Σ sgn a A), with a = root(|w s|)."""
    total_B = add(
        [
            [[root(abs(w * s)) * v for v in row] for row in B]
            for (B, _, s), w in zip(adapters, weights, strict=True)
        ]
    )
    total_A = add(
        [
            [[(1 if w * s > 0 else -1) * root(abs(w * s)) * v for v in row] for row in A]
            for (_, A, s), w in zip(adapters, weights, strict=True)
        ]
    )
    return increment(total_B, total_A, 1)


def trim(M, count):
    """Keep the `count` entries largest in absolute value, the first of equals."""
    places = [(-abs(v), i, j) for i, row in enumerate(M) for j, v in enumerate(row)]
    kept = {(i, j) for _, i, j in sorted(places)[:count]}
    return [[v if (i, j) in kept else 0 * v for j, v in enumerate(row)] for i, row in enumerate(M)]


def elect_and_average(matrices):
    """The mean of those entries whose sign the sum has."""
    merged = add(matrices)
    for i, row in enumerate(merged):
        for j, mass in enumerate(row):
            agreeing = [M[i][j] for M in matrices if M[i][j] * mass > 0]
            merged[i][j] = sum(agreeing, 0 * mass) / len(agreeing) if agreeing else 0 * mass
    return merged


def drop(M, keep, density):
    """Zero what is not kept, divide the rest."""
    return [
        [v / density if stays else 0 * v for v, stays in zip(row, mask, strict=True)]
        for row, mask in zip(M, keep, strict=True)
    ]


def forward(X, W):
    """X Wᵀ, one output at a time."""
    return [[sum(w * v for w, v in zip(row, x, strict=True)) for row in W] for x in X]


def forward_rows(X, W0, adapters, rows):
    """Each row through its own adapted weight, written out."""
    Y = []
    for x, name in zip(X, rows, strict=True):
        W = W0 if name is None else add([W0, increment(*adapters[name])])
        Y += forward([x], W)
    return Y


# ---- the bank as a dict ------------------------------------------------------------------------------------


class Refused(Exception):
    """The operation is not allowed; its argument is the name of the error class."""


def bank(W0):
    """A base alone."""
    return {"base": W0, "adapters": {}, "active": [], "merged": set(), "enabled": True}


def _changed(state, **changes):
    return {**copy.deepcopy(state), **changes}


def _known(state, *names):
    for name in names:
        if name not in state["adapters"]:
            raise Refused("UnknownAdapterError")


def _allowed(condition):
    if not condition:
        raise Refused("StateError")


def add_adapter(state, name, adapter):
    if name in state["adapters"]:
        raise Refused("AdapterNameError")
    return _changed(state, adapters={**state["adapters"], name: adapter})


def delete(state, name):
    _known(state, name)
    _allowed(name not in state["merged"])
    rest = {key: value for key, value in state["adapters"].items() if key != name}
    return _changed(state, adapters=rest, active=[other for other in state["active"] if other != name])


def change(state, name, adapter):
    """Another scale, or other factors: None keeps what is there."""
    _known(state, name)
    _allowed(name not in state["merged"])
    new = tuple(
        old if part is None else part for old, part in zip(state["adapters"][name], adapter, strict=True)
    )
    return _changed(state, adapters={**state["adapters"], name: new})


def activate(state, names):
    _known(state, *names)
    _allowed(len(set(names)) == len(names) and state["merged"] <= set(names))
    return _changed(state, active=list(names))


def switch(state, enabled):
    return _changed(state, enabled=enabled)


def merge(state, names=None):
    names = [name for name in state["active"] if name not in state["merged"]] if names is None else names
    _known(state, *names)
    _allowed(names and len(set(names)) == len(names) and not state["merged"] & set(names))
    _allowed(set(names) <= set(state["active"]))
    return _changed(state, merged=state["merged"] | set(names))


def unmerge(state, names=None):
    names = list(state["merged"]) if names is None else names
    _known(state, *names)
    _allowed(names and len(set(names)) == len(names) and set(names) <= state["merged"])
    return _changed(state, merged=state["merged"] - set(names))


def swap(state, old, new):
    _known(state, old, new)
    _allowed(old in state["active"] and new not in state["active"])
    exchange = {old: new}
    return _changed(
        state,
        active=[exchange.get(name, name) for name in state["active"]],
        merged={exchange.get(name, name) for name in state["merged"]},
    )


def weight(state):
    """W0 + Σ merged."""
    return add([state["base"], *(increment(*state["adapters"][name]) for name in state["merged"])])


def output(state, X):
    """X (W0 + Σ active)ᵀ, or the base alone."""
    acting = state["active"] if state["enabled"] else []
    return forward(X, add([state["base"], *(increment(*state["adapters"][name]) for name in acting)]))
