"""Merging: the sum, its inverse, the memory that makes it exact, and several adapters.  [lora-merge] [lora-unmerge]"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraParams, Merged, forward, merge, unmerge
from lora_np.conformance.bounds import GOLD, error_in_u, forward_scale, gamma_in_u, merge_scale, unmerge_scale
from lora_np.errors import NonFiniteError, OverflowInMergeError, StateError
from tests.exact import exact_error_in_u
from tests.naive import lora as naive
from tests.strategies import ALL_DTYPES, layers
from tests.test_lora_forward import SMALL, bound_in_u, draw_layer, exact_layer


class TestArithmetic:
    @given(layer=layers(dtypes=ALL_DTYPES, sizes=SMALL))
    def test_merge_is_within_its_derived_bound(self, layer):
        """W = W0 + s B A against Fractions, in every element type.  [lora-merge]"""
        _, W0, B, A, s, _ = exact_layer(layer)
        W = merge(layer.W0, layer.p, scale=layer.scale)
        S, K = merge_scale(layer.W0, layer.p, layer.scale)
        assert W.dtype == layer.W0.dtype
        error = exact_error_in_u(W, naive.merged(W0, B, A, s), S, roundings=layer.roundings(K))
        assert error <= bound_in_u(K, W.dtype)

    @given(layer=layers())
    def test_merged_and_unmerged_layers_agree(self, layer):
        """Property 29: X Wᵀ = X W0ᵀ + s X Aᵀ Bᵀ within the sum of the bounds."""
        W = merge(layer.W0, layer.p, scale=layer.scale)
        Y, _ = forward(layer.X, layer.W0, layer.p, scale=layer.scale)
        S, K = forward_scale(layer.X, layer.W0, layer.p, layer.scale)
        error = error_in_u(layer.X @ W.T, Y, S, roundings=layer.roundings(2 * K))
        assert error <= 2 * bound_in_u(K, Y.dtype)

    @given(layer=layers(dtypes=ALL_DTYPES))
    def test_unmerging_by_arithmetic_returns_up_to_rounding(self, layer):
        """Property 30: |unmerge(merge(W0)) − W0| ≤ γ(2r+6) (|W0| + 2 |s| |B||A|).  [lora-unmerge]"""
        back = unmerge(merge(layer.W0, layer.p, scale=layer.scale), layer.p, scale=layer.scale)
        S, K = unmerge_scale(layer.W0, layer.p, layer.scale)
        error = error_in_u(back, layer.W0, S, roundings=layer.roundings(K))
        assert error <= min(GOLD, gamma_in_u(K, back.dtype))

    def test_arithmetic_does_lose_bits(self):
        """Why `Merged` exists: 0.1 + 0.03·0.7 − 0.03·0.7 is not 0.1 in floating point."""
        rng = np.random.default_rng(0)
        W0, p = rng.normal(size=(20, 20)), LoraParams(rng.normal(size=(20, 2)), rng.normal(size=(2, 20)))
        assert (unmerge(merge(W0, p, scale=0.7), p, scale=0.7) != W0).any()

    @given(layer=layers(dtypes=ALL_DTYPES))
    def test_the_checked_merge_is_the_plain_sum_bit_for_bit(self, layer):
        """Property 33: looking for NaN and overflow changes no bit of the sum; nor does merging a second time."""
        plain = layer.W0 + layer.scale * (layer.p.B @ layer.p.A)
        for _ in range(2):
            assert merge(layer.W0, layer.p, scale=layer.scale).tobytes() == plain.tobytes()


class TestMemory:
    @given(layer=layers(dtypes=ALL_DTYPES))
    def test_unmerge_is_bit_identical_in_every_element_type(self, layer):
        """Property 30, with a memory: every bit returns, the sign of zeros included."""
        W0 = layer.W0.copy()
        W0.reshape(-1)[:1] = -0.0
        state = Merged(W0).merge(layer.p, scale=layer.scale)
        assert state.W.tobytes() == merge(W0, layer.p, scale=layer.scale).tobytes()
        back = state.unmerge()
        assert back.W.dtype == W0.dtype
        assert back.W.tobytes() == W0.tobytes()
        assert (back.adapter, back.before) == (None, None)

    def test_ten_rounds_leave_no_trace(self, rng):
        """Property 30: in half precision too, where arithmetic drifts a little more each round."""
        layer = draw_layer(rng, dtype=np.float16)
        state, drifted = Merged(layer.W0), layer.W0
        for _ in range(10):
            state = state.merge(layer.p, scale=0.3).unmerge()
            drifted = unmerge(merge(drifted, layer.p, scale=0.3), layer.p, scale=0.3)
        assert state.W.tobytes() == layer.W0.tobytes()
        assert drifted.tobytes() != layer.W0.tobytes()

    @pytest.mark.parametrize("adapter", ["adapter", "digits"])
    def test_merging_twice_and_unmerging_nothing_are_refused(self, adapter, rng):
        """Property 31: a second merge raises and names the adapter that is there; so does an empty unmerge."""
        layer = draw_layer(rng)
        state = Merged(layer.W0).merge(layer.p, scale=1.0, adapter=adapter)
        with pytest.raises(StateError, match=f"adapter '{adapter}' is already merged.*unmerge it first"):
            state.merge(layer.p, scale=1.0)
        with pytest.raises(StateError, match=r"unmerged state.*merge an adapter first"):
            state.unmerge().unmerge()
        for refuse in (merge, unmerge):
            with pytest.raises(StateError, match=f"Merged weight with '{adapter}' already merged"):
                refuse(state, layer.p, scale=1.0)
            with pytest.raises(StateError, match="Merged weight with nothing merged"):
                refuse(state.unmerge(), layer.p, scale=1.0)

    def test_swapping_adapters_equals_a_fresh_merge(self, rng):
        """Property 35: unmerge one adapter, merge another: the same bits as merging the other at once."""
        layer, other = draw_layer(rng), draw_layer(rng, r=3)
        swapped = (
            Merged(layer.W0).merge(layer.p, scale=0.7).unmerge().merge(other.p, scale=0.3, adapter="other")
        )
        assert swapped.W.tobytes() == merge(layer.W0, other.p, scale=0.3).tobytes()
        assert swapped.adapter == "other"


class TestFailure:
    @pytest.mark.parametrize(
        ("place", "named"), [("W0", "base weight W0"), ("B", "adapter's B"), ("A", "adapter's A")]
    )
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_nonfinite_parts_are_named(self, place, named, value, rng):
        """Row 23: a NaN in the base is the base's, one in a factor is the adapter's; count and index are given."""
        layer = draw_layer(rng)
        parts = {"W0": layer.W0.copy(), "B": layer.p.B.copy(), "A": layer.p.A.copy()}
        parts[place][1, 0] = value
        with pytest.raises(
            NonFiniteError, match=rf"{named} holds 1 non-finite value, .*index \[1, 0\]"
        ) as caught:
            merge(parts["W0"], LoraParams(parts["B"], parts["A"]), scale=1.0)
        assert ("adapter" in str(caught.value)) == (place != "W0")

    def test_unmerging_names_the_merged_weight(self, rng):
        """Row 23, on the way back."""
        layer = draw_layer(rng)
        with pytest.raises(NonFiniteError, match="the merged weight W holds 30"):
            unmerge(np.full((5, 6), np.nan), layer.p, scale=1.0)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_overflow_is_told_from_nan(self, dtype):
        """Row 22: finite parts whose sum does not fit: inf (not NaN), the type's largest value, the largest kept."""
        top = float(np.finfo(dtype).max)
        W0 = np.array([[0.75 * top, 2.0]], dtype=dtype)
        p = LoraParams(np.ones((1, 1), dtype), np.array([[0.75 * top, 1.0]], dtype=dtype))
        bytes_before = W0.tobytes()
        message = (
            r"inf \(not NaN\): 1 of 2 entries.*largest value .*index \[0, 0\].*max abs of the others is 3"
        )
        with pytest.raises(OverflowInMergeError, match=message):
            merge(W0, p, scale=1.0)
        with pytest.raises(OverflowInMergeError, match="unmerging overflows"):
            unmerge(W0, p, scale=-1.0)
        assert W0.tobytes() == bytes_before

    def test_an_overflow_inside_the_product_is_one_too(self):
        """Row 22: +inf − inf inside B A makes a NaN that no input had; it is reported as the overflow it is."""
        big = np.float32(3e38)
        p = LoraParams(np.array([[big, big]]), np.array([[big], [-big]]))
        with pytest.raises(OverflowInMergeError):
            merge(np.zeros((1, 1), np.float32), p, scale=1.0)

    def test_a_failing_merge_changes_no_layer(self, rng):
        """Property 34: of several layers one fails; every weight, and every state, is as it was."""
        layers_ = [draw_layer(rng) for _ in range(3)]
        layers_[1].p.A[0, 0] = np.nan
        states = [Merged(layer.W0) for layer in layers_]
        before = [layer.W0.tobytes() for layer in layers_]
        with pytest.raises(NonFiniteError):
            [state.merge(layer.p, scale=1.0) for state, layer in zip(states, layers_, strict=True)]
        assert [state.W.tobytes() for state in states] == before
        assert all(state.adapter is None for state in states)


class TestSeveralAdapters:
    @given(layer=layers(magnitudes=st.just("normal")), more=st.integers(1, 4), seed=st.integers(0, 99))
    def test_order_does_not_matter_and_concatenation_is_the_sum(self, layer, more, seed):
        """Property 32: k adapters merge in any order within the bound; [B1 B2] [A1; A2] merges both at once."""
        rng = np.random.default_rng(seed)
        d, k = layer.W0.shape
        ps = [
            LoraParams(
                rng.normal(size=(d, 2)).astype(layer.X.dtype), rng.normal(size=(2, k)).astype(layer.X.dtype)
            )
            for _ in range(more)
        ] + [layer.p]
        forth = back = layer.W0
        for p, q in zip(ps, reversed(ps), strict=True):
            forth, back = merge(forth, p, scale=0.7), merge(back, q, scale=0.7)
        both = LoraParams(
            np.concatenate([p.B for p in ps], axis=1), np.concatenate([p.A for p in ps], axis=0)
        )
        at_once = merge(layer.W0, both, scale=0.7)
        S, _ = merge_scale(layer.W0, both, 0.7)
        assert error_in_u(forth, at_once, S) <= 2 * GOLD
        assert error_in_u(forth, back, S) <= 2 * GOLD

    def test_a_batch_with_a_row_per_adapter_is_possible_unmerged(self, rng):
        """Property 36: rows that use different adapters share one frozen product; each equals its own layer.

        A merged weight serves one adapter only: seed 002's limitation, lifted by not merging.
        """
        first, second = draw_layer(rng, N=6), draw_layer(rng, N=6)
        X, W0 = first.X, first.W0
        uses = np.array([0, 1, 1, 0, 1, 0])
        mixed = X @ W0.T
        for i, p in enumerate((first.p, second.p)):
            branch = forward(X[uses == i], np.zeros_like(W0), p, scale=0.7)[0]
            mixed[uses == i] += branch
        for i, p in enumerate((first.p, second.p)):
            Y, _ = forward(X[uses == i], W0, p, scale=0.7)
            S, _ = forward_scale(X[uses == i], W0, p, 0.7)
            assert error_in_u(mixed[uses == i], Y, S) <= GOLD
            assert error_in_u(mixed[uses == i], X[uses == i] @ merge(W0, p, scale=0.7).T, S) <= 2 * GOLD
