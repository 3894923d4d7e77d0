"""Masks meet their ratio exactly and never un-prune; shrinking computes what masking does."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraParams, forward, merge
from lora_np.errors import ConfigError, DTypeError, GroupError, NonFiniteError, ShapeError
from lora_np.prune import groups, mask, mask_across, masked, masked_forward, pruned_count, shrink
from tests.naive import prune as naive

RATIOS = st.sampled_from([0.0, 0.1, 0.25, 0.29, 0.3, 0.5, 0.58, 0.7, 0.9, 0.99])
SCORES = st.lists(st.sampled_from([0.0, 1.0, 1.0, 2.0, 3.5, 1e-300]), min_size=1, max_size=25)


def integers(rng, *shape):
    """Small integers as floats: sums and products of them are exact."""
    return rng.integers(-4, 5, size=shape).astype(float)


class TestMask:
    """Property 70: exact counts, ties by index, nothing comes back.  [prune-mask]"""

    @given(SCORES, RATIOS)
    def test_takes_the_lowest_one_at_a_time(self, scores, ratio):
        count = int(Fraction(str(ratio)) * len(scores))
        want = naive.keep(scores, count, [True] * len(scores))
        assert mask(np.array(scores), ratio).tolist() == want

    @given(SCORES, st.lists(RATIOS, min_size=1, max_size=5), st.integers(0, 2**32 - 1))
    def test_never_gives_a_group_back(self, scores, ratios, seed):
        """Whatever the ratios and however the scores change; and the count is the largest asked for so far."""
        rng, kept = np.random.default_rng(seed), np.ones(len(scores), dtype=bool)
        for step, ratio in enumerate(ratios):
            now = rng.permutation(np.array(scores))
            after = mask(now, ratio, kept=kept)
            count = max(pruned_count(len(scores), one) for one in ratios[: step + 1])
            assert not (after & ~kept).any()
            assert (~after).sum() == count
            assert after.tolist() == naive.keep(now.tolist(), count, kept.tolist())
            kept = after

    def test_ties_leave_by_lowest_index(self):
        assert mask(np.zeros(6), 0.5).tolist() == [False, False, False, True, True, True]
        assert mask(np.array([2.0, 1, 1, 1]), 0.5).tolist() == [True, False, False, True]

    def test_a_pruned_group_stays_so_below_any_score(self):
        """Also where the kept ones score zero or less, which is where the released program swaps them."""
        kept = np.array([True, True, False, True])
        assert mask(np.array([0.0, -5.0, 9.0, 1.0]), 0.5, kept=kept).tolist() == [True, False, False, True]

    def test_counts_read_the_ratio_as_it_is_written(self):
        """0.29 · 100 is 28.999999999999996 in floating point; as a decimal it is 29."""
        assert int(100 * 0.29) == 28
        assert pruned_count(100, 0.29) == 29
        assert pruned_count(100, np.float32(0.29)) == 29
        assert pruned_count(3, Fraction(1, 3)) == 1
        assert pruned_count(32, 0.5) == 16
        assert pruned_count(11008, 0.2) == 2201
        assert pruned_count(11008, 0.20005, rounding="nearest") == 2202

    def test_nearest_rounds_a_half_up(self):
        assert [pruned_count(2, ratio, rounding="nearest") for ratio in (0.24, 0.25, 0.74)] == [0, 1, 1]

    def test_runs_on_every_array_library(self, library):
        scores, kept = np.array([3.0, 1, 2, 1, 5]), np.array([True, True, False, True, True])
        assert library.to_numpy(mask(library.asarray(scores), 0.4)).tolist() == [
            True,
            False,
            True,
            False,
            True,
        ]
        got = mask(library.asarray(scores), 0.4, kept=library.asarray(kept))
        assert library.to_numpy(got).tolist() == [True, False, False, True, True]

    def test_no_groups_at_all(self):
        assert mask(np.zeros(0), 0.5).shape == (0,)


class TestAcross:
    """One threshold for several layers.  [prune-mask]"""

    def test_ranks_all_layers_together(self):
        scores = {"a": np.array([1.0, 8.0, 3.0]), "b": np.array([2.0, 9.0])}
        got = mask_across(scores, 0.6)
        assert {name: kept.tolist() for name, kept in got.items()} == {
            "a": [False, True, False],
            "b": [False, True],
        }

    def test_never_gives_a_group_back(self):
        scores = {"a": np.array([5.0, 8.0]), "b": np.array([2.0, 9.0])}
        kept = {"a": np.array([True, False]), "b": np.array([True, True])}
        got = mask_across(scores, 0.5, kept=kept)
        assert {name: one.tolist() for name, one in got.items()} == {"a": [True, False], "b": [False, True]}

    def test_refuses_to_empty_a_layer_and_says_which(self):
        scores = {"head": np.array([1.0, 2.0]), "tail": np.array([3.0, 9.0])}
        with pytest.raises(ConfigError, match="leaves layer 'head' 0 groups of 2, at least 1 wanted"):
            mask_across(scores, 0.5)
        assert not mask_across(scores, 0.5, least=0)["head"].any()

    def test_runs_on_every_array_library(self, library):
        scores = {"a": library.asarray(np.array([1.0, 8.0])), "b": library.asarray(np.array([2.0, 9.0, 3.0]))}
        got = mask_across(scores, 0.6)
        assert {name: library.to_numpy(one).tolist() for name, one in got.items()} == {
            "a": [False, True],
            "b": [False, True, False],
        }

    def test_layers_must_match(self):
        with pytest.raises(DTypeError, match="promote"):
            mask_across({"a": np.ones(2), "b": np.ones(2, np.float32)}, 0.5)
        for scores, kept in [({}, None), ({"a": np.ones(2)}, {"b": np.ones(2, bool)})]:
            with pytest.raises(GroupError, match="expected the same layers"):
                mask_across(scores, 0.5, kept=kept)


class TestMasked:
    """Zeros in the weight and zeros in the output.  [prune-masked-fwd] [prune-f-removed]"""

    def test_zero_rows_columns_heads_and_entries(self, rng):
        W = integers(rng, 4, 6) + 10
        assert (masked(W, groups.rows(4), np.array([1, 0, 1, 0], bool)) == W * [[1], [0], [1], [0]]).all()
        assert (
            masked(W, groups.heads(6, 3, axis=1), np.array([1, 0, 1], bool)) == W * [1, 1, 0, 0, 1, 1]
        ).all()
        made = groups.entries([[(0, 0)], [(3, 5), (1, 1)]], (4, 6))
        want = W.copy()
        want[3, 5] = want[1, 1] = 0
        assert (masked(W, made, np.array([True, False])) == want).all()
        assert (
            masked(W, made, np.array([True, False]), free=False) == np.where(np.indices((4, 6)).sum(0), 0, W)
        ).all()

    def test_a_pruned_nan_is_gone(self):
        got = masked(np.array([[np.nan], [1.0]]), groups.rows(2), np.array([False, True]))
        assert got.tolist() == [[0.0], [1.0]]

    def test_the_masked_layer_is_the_layer_with_silent_outputs_and_still_merges(self, rng):
        X, W0, bias = integers(rng, 5, 4), integers(rng, 6, 4), integers(rng, 6)
        p, kept = LoraParams(integers(rng, 6, 2), integers(rng, 2, 4)), np.array([1, 1, 0, 1, 0, 1], bool)
        Y, _ = forward(X, W0, p, scale=0.5, bias=bias)
        got = masked_forward(X, W0, p, kept, scale=0.5, bias=bias)
        assert (got == Y * kept).all()
        W = masked(merge(W0, p, scale=0.5), groups.rows(6), kept)
        assert (got == X @ W.T + bias * kept).all()

    def test_run_on_every_array_library(self, library, rng):
        W, kept = integers(rng, 4, 6), np.array([True, False, True, True])
        there = library.asarray(kept)
        assert (
            library.to_numpy(masked(library.asarray(W), groups.rows(4), there)) == W * kept[:, None]
        ).all()
        p = LoraParams(library.asarray(integers(rng, 4, 2)), library.asarray(integers(rng, 2, 6)))
        got = library.to_numpy(masked_forward(library.asarray(W), library.asarray(W), p, there, scale=0.5))
        assert (got[:, 1] == 0).all()


class TestShrink:
    """Property 64, the physical half: smaller arrays, equal outputs.  [prune-shrink]"""

    def block(self, rng, X, tensors, kept=None):
        """A gated two-layer block, LoRA on every matrix, biases; masked after the hidden layer where asked."""

        def apply(X, name):
            W0, p, bias = tensors[name]
            return forward(X, W0, p, scale=0.5, bias=bias)[0]

        hidden = np.maximum(apply(X, "gate"), 0) * apply(X, "up")
        return apply(hidden if kept is None else hidden * kept, "down")

    def tensors(self, draw):
        shapes = {"gate": (6, 4), "up": (6, 4), "down": (3, 6)}
        return {
            name: (draw(d, k), LoraParams(draw(d, 2), draw(2, k)), draw(d)) for name, (d, k) in shapes.items()
        }

    def test_equals_masking_to_the_last_bit_on_integers(self, rng):
        tensors, X = self.tensors(lambda *shape: integers(rng, *shape)), integers(rng, 5, 4)
        for kept in (np.array([1, 0, 0, 1, 1, 0], bool), np.ones(6, bool), np.zeros(6, bool)):
            small = shrink(tensors, groups.channels(6), kept)
            assert [small[name][0].shape for name in ("gate", "up", "down")] == [(kept.sum(), 4)] * 2 + [
                (3, kept.sum())
            ]
            assert (self.block(rng, X, small) == self.block(rng, X, tensors, kept)).all()

    def test_equals_masking_within_rounding_on_any_numbers(self, rng):
        """The sum over channels loses terms that were zero; only its order may change."""
        tensors, X = self.tensors(lambda *shape: rng.normal(size=shape)), rng.normal(size=(5, 4))
        kept = np.array([1, 0, 1, 1, 0, 1], bool)
        wide, small = (
            self.block(rng, X, tensors, kept),
            self.block(rng, X, shrink(tensors, groups.channels(6), kept)),
        )
        (W0, p, bias), big = tensors["down"], 40 * np.abs(X).max()
        S = big**2 * (np.abs(W0).sum() + np.abs(p.B).sum() * np.abs(p.A).sum() + np.abs(bias).max())
        assert np.abs(wide - small).max() <= 16 * 2.0**-53 * S
        assert np.abs(wide).max() > 1e-3

    def test_whole_attention_heads_with_shared_keys_leave_every_matrix(self, rng):
        made = groups.attention(4, 2, kv_count=2)
        W = {
            "q": integers(rng, 8, 5),
            "k": integers(rng, 4, 5),
            "v": integers(rng, 4, 5),
            "o": integers(rng, 5, 8),
        }
        small = shrink(W, made, np.array([False, True]))
        assert (small["q"] == W["q"][4:]).all()
        assert (small["k"] == W["k"][2:]).all()
        assert (small["v"] == W["v"][2:]).all()
        assert (small["o"] == W["o"][:, 4:]).all()

    def test_the_parts_of_one_layer(self, rng):
        """Rows leave W, B and the bias; columns leave W and A, and the bias stays."""
        W, p, bias, kept = (
            integers(rng, 3, 3),
            LoraParams(integers(rng, 3, 2), integers(rng, 2, 3)),
            integers(rng, 3),
            None,
        )
        kept = np.array([True, False, True])
        assert (shrink(W, groups.rows(3), kept) == W[[0, 2]]).all()
        assert (shrink(W, groups.columns(3), kept) == W[:, [0, 2]]).all()
        by_rows, by_columns = shrink(p, groups.rows(3), kept), shrink(p, groups.columns(3), kept)
        assert (p.B[[0, 2]] == by_rows.B).all()
        assert by_rows.A is p.A
        assert by_columns.B is p.B
        assert (p.A[:, [0, 2]] == by_columns.A).all()
        assert (shrink(bias, groups.rows(3), kept) == bias[[0, 2]]).all()
        assert shrink(bias, groups.columns(3), kept) is bias
        assert shrink((W, None), groups.rows(3), kept)[1] is None

    def test_lines_in_no_group_stay(self, rng):
        W = integers(rng, 4, 3)
        made = groups.index_sets([[1], [3]], 4)
        assert (shrink(W, made, np.array([False, True])) == W[[0, 2, 3]]).all()

    def test_runs_on_every_array_library(self, library, rng):
        W, kept = integers(rng, 4, 3), np.array([True, False, False, True])
        got = shrink(library.asarray(W), groups.rows(4), library.asarray(kept))
        assert (library.to_numpy(got) == W[[0, 3]]).all()


class TestBadInput:
    """Row 40 of the bad inputs: ratios that cannot be, and layers that would be empty."""

    def test_ratios(self):
        for ratio, message in [
            (-0.1, r"\[0, 1\)"),
            (1.0, r"\[0, 1\)"),
            (np.nan, "finite"),
            ("0.5", "str '0.5'"),
        ]:
            with pytest.raises(ConfigError, match=f"prune ratio must .*{message}"):
                mask(np.ones(4), ratio)
        with pytest.raises(ConfigError, match="rounding"):
            mask(np.ones(4), 0.5, rounding="ceil")

    def test_an_empty_layer(self):
        with pytest.raises(ConfigError, match="pruning 1 of 1 groups of layer 3, heads leaves 0 remaining"):
            mask(np.ones(1), 0.9, rounding="nearest", layer="layer 3, heads")
        with pytest.raises(ConfigError, match="leaves 0 remaining"):
            mask(np.ones(2), 0.0, kept=np.zeros(2, bool))

    def test_scores_and_masks(self):
        with pytest.raises(NonFiniteError, match="scores holds 1 non-finite value"):
            mask(np.array([1.0, np.nan]), 0.5)
        with pytest.raises(ShapeError, match="axes"):
            mask(np.ones((2, 2)), 0.5)
        with pytest.raises(ShapeError, match="axes"):
            mask_across({"a": np.ones((2, 2))}, 0.5)
        with pytest.raises(ShapeError, match=r"kept has shape \(3,\), expected \(2,\)"):
            mask(np.ones(2), 0.5, kept=np.ones(3, bool))
        for kept in (np.ones(2), [True, True]):
            with pytest.raises(DTypeError, match="booleans, one per group"):
                mask(np.ones(2), 0.5, kept=kept)

    def test_weights(self):
        W, kept = np.ones((4, 3)), np.ones(4, bool)
        with pytest.raises(ShapeError, match=r"the groups label \(4,\) lines of 'W', the array has \(3,\)"):
            masked(np.ones((3, 3)), groups.rows(4), kept)
        with pytest.raises(ShapeError, match="kept has shape"):
            masked(W, groups.heads(4, 2), kept)
        with pytest.raises(GroupError, match="W is one value"):
            masked(W, groups.channels(4), kept)
        with pytest.raises(GroupError, match="tensors has parts"):
            shrink({"up": W}, groups.channels(4), kept)
        with pytest.raises(GroupError, match="groups of single entries cannot be taken away"):
            shrink(W, groups.entries([[(0, 0)]], (4, 3)), np.ones(1, bool))
        with pytest.raises(ShapeError, match=r"expected a weight \(d, k\) or a bias"):
            shrink(np.ones((4, 3, 2)), groups.rows(4), kept)
        with pytest.raises(ShapeError, match="kept has shape"):
            masked_forward(W, np.ones((2, 3)), LoraParams(np.ones((2, 1)), np.ones((1, 3))), kept, scale=1.0)
