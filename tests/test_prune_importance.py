"""Importance of groups in its three forms, and the plain sum read off activations without a (d, k) array."""

import tracemalloc

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraParams, backward, forward
from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.errors import ConfigError, DTypeError, GroupError, RankError, ShapeError, StateError
from lora_np.prune import (
    FORMS,
    Adapted,
    Groups,
    Part,
    Product,
    gradients,
    group_dot,
    group_dot_columns,
    groups,
    importance,
    importance_from_sums,
    line_sums,
    weightwise,
)
from tests.naive import prune as naive


def integers(rng, *shape):
    """Small integers as floats: sums and products of them are exact."""
    return rng.integers(-4, 5, size=shape).astype(float)


def by_loops(W, G, made, form):
    """The scores from plain loops over every entry of every group."""
    weights = {name: matrix.tolist() for name, matrix in W.items()}
    parts = {name: (part.labels.tolist(), part.axis) for name, part in made.parts.items()}
    found = naive.entries_of_groups(parts, made.count, {name: matrix.shape for name, matrix in W.items()})
    return naive.scores(weights, {name: matrix.tolist() for name, matrix in G.items()}, found, form)


KINDS = {
    "rows": groups.rows(6),
    "columns": groups.columns(4),
    "heads": groups.heads(6, 2),
    "column blocks": groups.heads(4, 2, axis=1),
    "index sets": groups.index_sets([[5, 0, 2], [1]], 6),
    "entries": groups.entries([[(0, 0), (5, 3), (2, 1)], [(0, 1)], [(i, 2) for i in range(6)]], (6, 4)),
}


class TestForms:
    """The three sums.  [prune-importance] [prune-group-sum] [prune-weightwise]"""

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_equal_plain_loops_exactly_on_integers(self, kind, form, rng):
        W, G, made = integers(rng, 6, 4), integers(rng, 6, 4), KINDS[kind]
        for tile in (1, 4, 64):
            got = importance(W, G, made, form=form, tile=tile)
            assert got.tolist() == by_loops({"W": W}, {"W": G}, made, form)

    @pytest.mark.parametrize("form", FORMS)
    def test_a_group_over_several_matrices_is_summed_before_it_is_squared(self, form, rng):
        made = groups.attention(4, 2, kv_count=2)
        shapes = {"q": (8, 5), "k": (4, 5), "v": (4, 5), "o": (5, 8)}
        W = {name: integers(rng, *shape) for name, shape in shapes.items()}
        G = {name: integers(rng, *shape) for name, shape in shapes.items()}
        assert importance(W, G, made, form=form).tolist() == by_loops(W, G, made, form)

    @pytest.mark.parametrize("form", FORMS)
    def test_factored_gradient_and_weight_equal_whole_ones(self, form, rng):
        """The estimate as U V and the weight as W0 + s B A, tile by tile, against both formed first."""
        W0, p = integers(rng, 6, 4), LoraParams(integers(rng, 6, 2), integers(rng, 2, 4))
        g = LoraParams(integers(rng, 6, 2), integers(rng, 2, 4))
        W, G = W0 + 0.5 * (p.B @ p.A), g.B @ p.A + p.B @ g.A - g.B @ g.A
        for made in KINDS.values():
            got = importance(Adapted(W0, p, 0.5), gradients.estimated_product(p, g), made, form=form, tile=4)
            assert got.tolist() == by_loops({"W": W}, {"W": G}, made, form)

    def test_weightwise_is_every_weight_its_own_group(self, rng):
        """[prune-weightwise], and LoRAPrune's group is the sum of them."""
        W, G = integers(rng, 6, 4), integers(rng, 6, 4)
        single = groups.entries([[index] for index in np.ndindex(6, 4)], (6, 4))
        assert (importance(W, G, single).reshape(6, 4) == weightwise(W, G)).all()
        assert (importance(W, G, groups.rows(6), form="sum-squared") == weightwise(W, G).sum(axis=1)).all()

    @given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]), st.sampled_from(FORMS))
    def test_stay_within_the_bound_of_their_sums(self, seed, dtype, form):
        rng = np.random.default_rng(seed)
        W, G = (rng.normal(size=(7, 33)).astype(dtype) for _ in range(2))
        got = importance(W, G, groups.heads(7, 1), form=form)
        terms = G.astype(np.longdouble) * W.astype(np.longdouble)
        want = {
            "dot-squared": terms.sum() ** 2,
            "sum-squared": (terms**2).sum(),
            "sum-abs": np.abs(terms).sum(),
        }
        S = np.abs(terms).sum() ** 2 if form == "dot-squared" else want[form]
        assert got.dtype == dtype
        assert error_in_u(got, np.array([want[form]]), np.array([S])) <= GOLD

    def test_run_on_every_array_library(self, library, rng):
        W, G = integers(rng, 6, 4), integers(rng, 6, 4)
        for made in KINDS.values():
            for form in FORMS:
                got = importance(library.asarray(W), library.asarray(G), made, form=form)
                assert library.to_numpy(got).tolist() == by_loops({"W": W}, {"W": G}, made, form)

    def test_a_nan_comes_out_in_its_group_only(self, rng):
        W, G = integers(rng, 6, 4), integers(rng, 6, 4)
        G[2, 1] = np.nan
        assert np.isnan(importance(W, G, groups.rows(6))).tolist() == [
            False,
            False,
            True,
            False,
            False,
            False,
        ]
        assert np.isnan(importance(W, G, groups.columns(4))).tolist() == [False, True, False, False]

    def test_empty_matrices(self):
        assert importance(np.zeros((0, 4)), np.zeros((0, 4)), groups.rows(0)).shape == (0,)
        assert importance(np.zeros((3, 0)), np.zeros((3, 0)), groups.rows(3)).tolist() == [0, 0, 0]
        assert importance(np.zeros((0, 4)), np.zeros((0, 4)), groups.columns(4)).tolist() == [0, 0, 0, 0]


class TestLaws:
    """Property 67."""

    def test_the_absolute_sum_is_at_least_the_plain_one(self, rng):
        """Triangle inequality: Σ|G W|² ≥ (Σ G W)², and Cauchy-Schwarz the other way round."""
        W, G = rng.normal(size=(6, 40)), rng.normal(size=(6, 40))
        scores = {form: importance(W, G, groups.rows(6), form=form) for form in FORMS}
        assert (scores["sum-abs"] ** 2 >= scores["dot-squared"]).all()
        assert (40 * scores["sum-squared"] >= scores["dot-squared"]).all()

    def test_sums_of_a_union_add_and_squared_dots_do_not(self, rng):
        W, G = integers(rng, 6, 4), integers(rng, 6, 4)
        for form in ("sum-squared", "sum-abs"):
            single, pairs = (importance(W, G, groups.heads(6, count), form=form) for count in (6, 3))
            assert (pairs == single[0::2] + single[1::2]).all()
        assert (
            importance(W, G, groups.heads(6, 3)) != importance(W, G, groups.rows(6)).reshape(3, 2).sum(axis=1)
        ).any()

    def test_permuting_groups_permutes_scores(self, rng):
        W, G, order = integers(rng, 6, 4), integers(rng, 6, 4), rng.permutation(6)
        scores = importance(W, G, groups.rows(6))
        assert (importance(W, G, Groups(6, {"W": Part(np.argsort(order))})) == scores[order]).all()
        assert (importance(W[order], G[order], groups.rows(6)) == scores[order]).all()

    def test_the_split_into_factors_and_scale_changes_no_exact_score(self, rng):
        """(B M⁻¹, M A) and (B, 4 A, s / 4) are the same weight: bit for bit, where M is diagonal of powers of two."""
        X, gY, W0 = integers(rng, 9, 4), integers(rng, 9, 6), integers(rng, 6, 4)
        p, M = LoraParams(integers(rng, 6, 3), integers(rng, 3, 4)), np.diag([8.0, 1.0, 0.25])
        same = [
            Adapted(W0, p, 0.5),
            Adapted(W0, LoraParams(p.B @ np.linalg.inv(M), M @ p.A), 0.5),
            Adapted(W0, LoraParams(p.B, 4 * p.A), 0.125),
        ]
        G = gradients.exact_product(gY, X)
        first, *others = [importance(weight, G, groups.heads(6, 2)) for weight in same]
        assert all((first == other).all() for other in others)


class TestGroupDot:
    """Σ G W of rows and columns, off activations.  [prune-group-dot]"""

    @pytest.mark.parametrize("tile", [1, 4, 64])
    def test_equals_the_sum_over_the_gradient_exactly_on_integers(self, tile, rng):
        X, W, gY, bias = integers(rng, 9, 4), integers(rng, 6, 4), integers(rng, 9, 6), integers(rng, 6)
        G = naive.exact_gradient(gY.tolist(), X.tolist())
        terms = np.array(G) * W
        assert (group_dot(gY, X @ W.T, tile=tile) == terms.sum(axis=1)).all()
        assert (group_dot(gY, X @ W.T + bias, bias=bias, tile=tile) == terms.sum(axis=1)).all()
        assert (group_dot_columns(X, gY @ W, tile=tile) == terms.sum(axis=0)).all()

    def test_scores_a_whole_head_from_activations_alone(self, rng):
        """An attention block without its softmax: q, k, v rows from outputs, o columns from inputs; no gradient."""
        made = groups.attention(4, 2, kv_count=2)
        X = integers(rng, 9, 5)
        W = {
            "q": integers(rng, 8, 5),
            "k": integers(rng, 4, 5),
            "v": integers(rng, 4, 5),
            "o": integers(rng, 5, 8),
        }
        heads = integers(rng, 9, 8)  # what o reads
        gY = {name: integers(rng, 9, matrix.shape[0]) for name, matrix in W.items()}
        sums = {name: group_dot(gY[name], X @ W[name].T) for name in "qkv"}
        sums["o"] = group_dot_columns(heads, gY["o"] @ W["o"])
        G = {name: gY[name].T @ (heads if name == "o" else X) for name in W}
        assert importance_from_sums(sums, made).tolist() == by_loops(W, G, made, "dot-squared")

    def test_needs_no_word_about_the_adapter(self, rng):
        """With any B, A and scale, Y − b = X (W0 + s B A)ᵀ already: the score is of the weight in use."""
        X, W0, gY, bias = (
            rng.normal(size=(9, 4)),
            rng.normal(size=(6, 4)),
            rng.normal(size=(9, 6)),
            rng.normal(size=6),
        )
        p = LoraParams(rng.normal(size=(6, 2)), rng.normal(size=(2, 4)))
        Y, Z = forward(X, W0, p, scale=1 / 3, bias=bias)
        gX, _ = backward(gY, X, Z, W0, p, scale=1 / 3)
        W, G = W0 + p.B @ p.A / 3, gY.T @ X
        S = np.abs(gY).T @ np.abs(X) * (np.abs(W0) + np.abs(p.B) @ np.abs(p.A) / 3)
        slack = 2 * np.abs(bias) * np.abs(gY).sum(axis=0)  # Y − b subtracts what forward added
        assert error_in_u(group_dot(gY, Y, bias=bias), (G * W).sum(axis=1), S.sum(axis=1) + slack) <= GOLD
        assert error_in_u(group_dot_columns(X, gX), (G * W).sum(axis=0), S.sum(axis=0)) <= GOLD

    def test_without_the_bias_it_counts_the_bias_as_a_weight_of_the_row(self, rng):
        """As autograd differentiates: d/dm L(m ⊙ Y) at m = 1 is Σ_n gY Y, bias and all."""
        X, W, bias = rng.normal(size=(9, 4)), rng.normal(size=(6, 4)), rng.normal(size=6)

        def loss_of_output(Y):
            return anp.sum(anp.tanh(Y))

        Y = X @ W.T + bias
        want = autograd.grad(lambda m: loss_of_output(m * Y))(np.ones(6))
        gY = autograd.grad(loss_of_output)(Y)
        assert error_in_u(group_dot(gY, Y), want, np.abs(gY * Y).sum(axis=0)) <= GOLD
        assert np.abs(group_dot(gY, Y) - group_dot(gY, Y, bias=bias)).max() > 0.1

    def test_makes_no_array_of_the_weights_size(self, rng):
        """Peak memory at d = k = 1024 stays below a tenth of one (d, k) array."""
        gY, Y, X, gX = (rng.normal(size=(256, 1024)) for _ in range(4))
        group_dot(gY, Y)
        tracemalloc.start()
        group_dot(gY, Y, tile=16)
        group_dot_columns(X, gX, tile=16)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1024 * 1024 * 8 / 10

    def test_tiles_of_the_estimate_make_no_array_of_the_weights_size(self, rng):
        W0, p, g = (
            rng.normal(size=(1024, 1024)),
            *(LoraParams(rng.normal(size=(1024, 2)), rng.normal(size=(2, 1024))),) * 2,
        )
        tracemalloc.start()
        for form in FORMS:
            importance(
                Adapted(W0, p, 0.5), gradients.estimated_product(p, g), groups.rows(1024), form=form, tile=8
            )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1024 * 1024 * 8 / 10

    def test_leading_axes_are_one_batch(self, rng):
        gY, Y = integers(rng, 2, 3, 4), integers(rng, 2, 3, 4)
        assert (group_dot(gY, Y) == (gY * Y).sum(axis=(0, 1))).all()

    def test_runs_on_every_array_library(self, library, rng):
        gY, Y, bias = integers(rng, 5, 4), integers(rng, 5, 4), integers(rng, 4)
        there = [library.asarray(x) for x in (gY, Y, bias)]
        assert (library.to_numpy(group_dot(*there[:2], bias=there[2])) == (gY * (Y - bias)).sum(axis=0)).all()
        assert (library.to_numpy(group_dot_columns(*there[:2])) == (gY * Y).sum(axis=0)).all()

    def test_an_empty_batch_scores_zero(self):
        assert group_dot(np.zeros((0, 3)), np.zeros((0, 3))).tolist() == [0, 0, 0]


class TestBadInput:
    """Rows 39 and 41 of the bad inputs, and shapes that do not fit."""

    def test_no_gradients(self):
        W, Y = np.ones((2, 3)), np.ones((4, 2))
        for call in (
            lambda: importance(W, None, groups.rows(2)),
            lambda: importance({"gate": W, "up": W, "down": W}, {"gate": W, "up": W}, groups.channels(2)),
            lambda: line_sums(W, None, axis=0, form="sum-abs"),
            lambda: weightwise(W, None),
            lambda: group_dot(None, Y),
            lambda: group_dot(Y, None),
            lambda: group_dot_columns(None, Y),
            lambda: group_dot_columns(Y, None),
        ):
            with pytest.raises(StateError, match="call backward first"):
                call()

    def test_names_that_are_not_the_groups(self):
        W = np.ones((2, 3))
        with pytest.raises(GroupError, match="W is one value, but the groups span"):
            importance(W, {"gate": W, "up": W, "down": W}, groups.channels(2))
        with pytest.raises(GroupError, match=r"W has parts \['up'\]"):
            importance({"up": W}, W, groups.rows(2))

    def test_shapes_types_and_words(self):
        W, p = np.ones((2, 3)), LoraParams(np.ones((2, 1)), np.ones((1, 3)))
        with pytest.raises(ShapeError, match=r"G has shape \(3, 2\), expected \(2, 3\)"):
            importance(W, W.T, groups.rows(2))
        with pytest.raises(ShapeError, match="'W' has 2 sums for 3 labels"):
            importance(W, W, groups.rows(3))
        with pytest.raises(ShapeError, match=r"G = U V needs U \(d, m\)"):
            importance(W, Product(W, W), groups.rows(2))
        with pytest.raises(ShapeError, match="axes"):
            importance(np.ones(3), np.ones(3), groups.rows(3))
        with pytest.raises(RankError, match="rank"):
            importance(Adapted(W, LoraParams(np.ones((2, 2)), p.A), 1.0), W, groups.rows(2))
        with pytest.raises(DTypeError, match="promote"):
            importance(W, W.astype(np.float32), groups.rows(2))
        with pytest.raises(DTypeError, match="cast to float"):
            importance(W, W.astype(int), groups.rows(2))
        with pytest.raises(ConfigError, match="did you mean 'sum-squared'"):
            importance(W, W, groups.rows(2), form="sum-square")
        with pytest.raises(ConfigError, match="axis must be 0"):
            line_sums(W, W, axis=2, form="sum-abs")
        with pytest.raises(ConfigError, match="tile"):
            importance(W, W, groups.rows(2), tile=0)
        with pytest.raises(ShapeError, match=r"gY \(4, 2\) and Y \(4, 3\) must share a shape"):
            group_dot(np.ones((4, 2)), np.ones((4, 3)))
        with pytest.raises(ShapeError, match="bias"):
            group_dot(np.ones((4, 2)), np.ones((4, 2)), bias=np.ones(3))
        with pytest.raises(DTypeError, match="promote"):
            group_dot(np.ones((4, 2)), np.ones((4, 2), np.float32))
        with pytest.raises(ShapeError, match="share a shape"):
            group_dot(np.asarray(1.0), np.asarray(1.0))
