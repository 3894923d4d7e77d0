"""The fused importance and the closed form from activations against exact sums in plain loops."""

import tracemalloc

import numpy as np
import pytest

from lora_np import prune
from lora_np.backends import REFERENCE, get_backend
from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.errors import LoraNpError
from lora_np.lora import LoraParams
from lora_np.prune import FORMS, Adapted, Product
from lora_np.prune.gradients import estimated_product, exact_product
from lora_np.prune.groups import attention, columns, heads, rows
from tests.backend_kernels import as_python
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import lora as naive_lora
from tests.naive import prune as naive

pytest.importorskip("numba")
NUMBA = get_backend("numba")
both_ways = pytest.mark.parametrize("plain", [False, True], ids=["compiled", "py_func"])


def draw(rng, d, k, r, dtype=np.float64):
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in ((d, k), (d, r), (r, k), (d, r), (r, k))]
    W0, B, A, gB, gA = arrays
    return Adapted(W0, LoraParams(B, A), 0.75), (LoraParams(B, A), LoraParams(gB, gA))


def line_scale(W, G, axis, form):
    """The same sums with absolute values, in extended precision: what their rounding is measured by."""
    W0, (B, A), s = (
        (W.W0, W.p, W.scale)
        if isinstance(W, Adapted)
        else (W, (np.zeros((len(W), 1)), np.zeros((1, W.shape[1]))), 0)
    )
    terms = (abs(G.U).astype(float) @ abs(G.V)) * (abs(W0) + abs(s) * (abs(B).astype(float) @ abs(A)))
    return (terms**2 if form == "sum-squared" else terms).sum(axis=1 - axis)


@both_ways
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 4, 2), (4, 7, 3), (3, 2, 5)])
def test_line_sums_equal_exact_sums(rng, plain, form, axis, dtype, shape):
    """[prune-importance] with LoRAPrune's estimate [prune-estimate] on an adapted weight."""
    W, (p, g) = draw(rng, *shape, dtype)
    G = estimated_product(p, g)
    with as_python(plain):
        got = NUMBA.line_sums(W, G, axis=axis, form=form)
    exact_W = naive_lora.merged(*(fractions_of(x) for x in (W.W0, *W.p)), fractions_of(W.scale))
    exact_G = naive.product(fractions_of(G.U), fractions_of(G.V))
    lines = [naive.entries_of_line("W", axis, line, shape[:2]) for line in range(shape[axis])]
    sums = []
    for line in lines:
        terms = [exact_G[i][j] * exact_W[i][j] for _, i, j in line]
        sums.append(sum({"dot-squared": t, "sum-squared": t * t, "sum-abs": abs(t)}[form] for t in terms))
    assert got.dtype == dtype
    assert exact_error_in_u(got, sums, line_scale(W, G, axis, form)) <= GOLD


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(301, 1031, 8), (2, 2500, 1), (700, 130, 13), (64, 64, 40)])
def test_sizes_that_cross_tiles_and_threads(rng, form, axis, shape):
    W, (p, g) = draw(rng, *shape)
    G = estimated_product(p, g)
    terms = (G.U @ G.V) * (W.W0 + W.scale * (W.p.B @ W.p.A))
    terms = {"dot-squared": terms, "sum-squared": terms**2, "sum-abs": abs(terms)}[form]
    got = NUMBA.line_sums(W, G, axis=axis, form=form)
    assert error_in_u(got, terms.sum(axis=1 - axis), line_scale(W, G, axis, form)) <= 2 * GOLD


@pytest.mark.parametrize("form", FORMS)
def test_a_plain_weight_and_the_exact_gradient(rng, form):
    W, gY, X = rng.normal(size=(6, 5)), rng.normal(size=(4, 6)), rng.normal(size=(4, 5))
    G = exact_product(gY, X)
    got = NUMBA.importance(W, G, heads(6, 3), form=form)
    want = naive.scores(
        {"W": fractions_of(W)},
        {"W": naive.exact_gradient(fractions_of(gY), fractions_of(X))},
        [[("W", i, j) for i in (2 * h, 2 * h + 1) for j in range(5)] for h in range(3)],
        form,
    )
    scale = line_scale(W, G, 0, "dot-squared" if form == "dot-squared" else form).reshape(3, 2).sum(axis=1)
    assert exact_error_in_u(got, want, scale**2 if form == "dot-squared" else scale) <= 2 * GOLD


@pytest.mark.parametrize("form", FORMS)
def test_groups_over_several_matrices_equal_the_reference(rng, form):
    groups = attention(4, 2, kv_count=2)
    shapes = {"q": (8, 8), "k": (4, 8), "v": (4, 8), "o": (8, 8)}
    weights, gradients = {}, {}
    for name, (d, k) in shapes.items():
        weights[name], (p, g) = draw(rng, d, k, 2)
        gradients[name] = estimated_product(p, g)
    want = REFERENCE.importance(weights, gradients, groups, form=form)
    got = NUMBA.importance(weights, gradients, groups, form=form)
    np.testing.assert_allclose(got, want, rtol=1e-11)


@both_ways
@pytest.mark.parametrize("form", FORMS)
def test_a_nan_stays_in_its_row_and_column(rng, plain, form):
    W, (p, g) = draw(rng, 5, 6, 2)
    W.W0[2, 3] = np.nan
    with as_python(plain):
        by_row, by_column = (
            NUMBA.line_sums(W, estimated_product(p, g), axis=axis, form=form) for axis in (0, 1)
        )
    assert np.isnan(by_row).tolist() == [i == 2 for i in range(5)]
    assert np.isnan(by_column).tolist() == [j == 3 for j in range(6)]


@pytest.mark.parametrize("form", FORMS)
def test_the_estimate_needs_no_array_as_large_as_the_weight(rng, form):
    """Extra memory O(d + k), times the rank."""
    d, k, r = 900, 1100, 3
    W, (p, g) = draw(rng, d, k, r, np.float32)
    groups = rows(d)
    NUMBA.importance(W, estimated_product(p, g), groups, form=form)
    tracemalloc.start()
    NUMBA.importance(W, estimated_product(p, g), groups, form=form)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * r * (d + k) * 4 + 100_000 < W.W0.nbytes


# ---- from activations --------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (130, 2), (3, 11)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_group_dot_equals_exact_sums(rng, plain, dtype, shape, with_bias):
    """[prune-group-dot]: Σ_n gY_ni (Y − b)_ni, summed as Fractions."""
    gY, Y = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    bias = rng.standard_normal(shape[1]).astype(dtype) if with_bias else None
    with as_python(plain):
        got = NUMBA.group_dot(gY, Y, bias=bias)
    exact_g, exact_Y = fractions_of(gY), fractions_of(Y)
    b = fractions_of(bias) if with_bias else [0] * shape[1]
    want = [sum(g[i] * (y[i] - b[i]) for g, y in zip(exact_g, exact_Y, strict=True)) for i in range(shape[1])]
    S = (abs(gY).astype(float) * (abs(Y) + (abs(bias) if with_bias else 0))).sum(axis=0)
    assert exact_error_in_u(got, want, S) <= GOLD


def test_columns_and_leading_axes(rng):
    X, gX = rng.integers(-3, 4, size=(2, 3, 5)) * 1.0, rng.integers(-3, 4, size=(2, 3, 5)) * 1.0
    assert (NUMBA.group_dot_columns(X, gX) == (X * gX).sum(axis=(0, 1))).all()
    assert (NUMBA.group_dot(X, gX) == (X * gX).sum(axis=(0, 1))).all()
    assert NUMBA.group_dot(np.ones((0, 3)), np.ones((0, 3))).tolist() == [0, 0, 0]
    assert NUMBA.group_dot(np.ones((3, 0)), np.ones((3, 0))).shape == (0,)


def test_long_sums_stay_within_the_gold_bound(rng):
    gY, Y = (rng.uniform(0.5, 1, size=(20_000, 3)).astype(np.float32) for _ in range(2))
    want = (gY.astype(float) * Y).sum(axis=0)
    assert error_in_u(NUMBA.group_dot(gY, Y), want, want) <= 3 * GOLD


def test_the_exact_form_needs_only_a_vector(rng):
    """Extra memory O(N + d + k): 2000 x 1000 activations, a few vectors."""
    gY, Y = (rng.standard_normal((2000, 1000), dtype=np.float32) for _ in range(2))
    NUMBA.group_dot(gY, Y)
    tracemalloc.start()
    NUMBA.group_dot(gY, Y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 4 * 1000 + 50_000


def test_strided_activations_and_transposed_weights_go_to_the_reference(rng):
    gY, Y = rng.normal(size=(6, 8))[:, ::2], rng.normal(size=(6, 4))
    assert (NUMBA.group_dot(gY, Y) == prune.group_dot(gY, Y)).all()
    assert (NUMBA.group_dot_columns(gY, Y) == prune.group_dot_columns(gY, Y)).all()
    W, G = rng.normal(size=(4, 3)).T, Product(np.ones((3, 1)), np.ones((1, 4)))
    assert (
        NUMBA.line_sums(W, G, axis=0, form="sum-abs") == prune.line_sums(W, G, axis=0, form="sum-abs")
    ).all()


GOOD = {"gY": np.ones((2, 3)), "Y": np.ones((2, 3))}


@pytest.mark.parametrize(
    "bad",
    [
        {"gY": None},
        {"Y": np.ones((2, 4))},
        {"Y": np.ones((2, 3), np.float32)},
        {"bias": np.ones(4)},
        {"bias": np.ones(3, np.float32)},
        {"tile": 0},
    ],
)
def test_errors_of_group_dot_are_those_of_the_reference(bad):
    """Bad input, row 41 among them."""
    same_error("group_dot", **(GOOD | bad))


@pytest.mark.parametrize(
    "bad",
    [
        {"G": None},
        {"G": {"W": None}},
        {"G": {}},
        {"G": Product(np.ones((2, 1)), np.ones((1, 3)))},
        {"G": Product(np.ones((2, 1)), np.ones((2, 2)))},
        {"G": Product(np.ones((2, 1), np.float32), np.ones((1, 2), np.float32))},
        {"form": "dot"},
        {"tile": -1},
        {"groups": columns(3)},
        {"W": {"V": np.ones((2, 2))}},
        {"W": Adapted(np.ones((2, 2)), LoraParams(np.ones((3, 1)), np.ones((1, 2))), 1.0)},
    ],
)
def test_errors_of_importance_are_those_of_the_reference(bad):
    good = {
        "W": np.ones((2, 2)),
        "G": Product(np.ones((2, 1)), np.ones((1, 2))),
        "groups": rows(2),
        "form": "sum-abs",
    }
    same_error("importance", **(good | bad))


def same_error(name, **arguments):
    """Both backends refuse, with the same words."""
    with pytest.raises(LoraNpError) as want:
        getattr(REFERENCE, name)(**arguments)
    with pytest.raises(LoraNpError) as got:
        getattr(NUMBA, name)(**arguments)
    assert (type(got.value), str(got.value)) == (type(want.value), str(want.value))
