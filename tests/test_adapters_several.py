"""Several adapters in one base, and adapters taken out for others.  [adapters-merge] [adapters-swap]"""

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraParams, merge
from lora_np.adapters import LoraAdapter, combine_cat, merge_several, swap_merged, unmerge_several
from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.errors import NonFiniteError, OverflowInMergeError
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import adapters as naive
from tests.strategies import ALL_DTYPES, SIZES
from tests.test_adapters_combine import ANY_SCALE, exact_form, sum_size


@st.composite
def bases(draw, least=1):
    """A weight and adapters on it, of mixed ranks and scales: (W0, adapters)."""
    d, k, dtype = draw(SIZES), draw(SIZES), draw(ALL_DTYPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def fill(*shape):
        return rng.normal(size=shape).astype(dtype)

    ranks = draw(st.lists(st.sampled_from([1, 2, 3]), min_size=least, max_size=4))
    return fill(d, k), [LoraAdapter(LoraParams(fill(d, r), fill(r, k)), draw(ANY_SCALE)) for r in ranks]


def size(W0, adapters):
    """S: |W0| + Σ |s| |B| |A|."""
    return abs(W0).astype(float) + sum_size(adapters, [1] * len(adapters))


@given(base=bases())
def test_merging_several_is_within_its_bound(base):
    """Property 32: W0 + Σ s B A against Fractions, in every element type."""
    W0, adapters = base
    taus = naive.increments(exact_form(adapters, [])[0])
    W = merge_several(W0, adapters)
    assert W.dtype == W0.dtype
    assert exact_error_in_u(W, naive.add([fractions_of(W0), *taus], Fraction(0)), size(W0, adapters)) <= GOLD


@given(base=bases(least=2))
def test_no_order_is_better_than_another(base):
    """Property 32: all orders lie within twice the bound of one another, and of what `combine_cat` makes."""
    W0, adapters = base
    S, W = size(W0, adapters), merge_several(W0, adapters)
    for order in permutations(adapters):
        assert error_in_u(merge_several(W0, list(order)), W, S) <= 2 * GOLD
    at_once = merge(W0, combine_cat(adapters).p, scale=1.0)
    assert error_in_u(at_once, W, S) <= 2 * GOLD


@given(base=bases())
def test_unmerging_returns_up_to_rounding(base):
    """Property 30, for several: |W0' − W0| <= 16 u (|W0| + 2 Σ |s| |B| |A|)."""
    W0, adapters = base
    back = unmerge_several(merge_several(W0, adapters), adapters)
    assert error_in_u(back, W0, 2 * size(W0, adapters)) <= GOLD


@given(base=bases(least=2), split=st.integers(0, 4))
def test_swapping_equals_a_fresh_merge(base, split):
    """Property 35: take some out, put others in: what merging the others at once gives, up to rounding."""
    W0, adapters = base
    out, into = adapters[:split], adapters[split:]
    W = merge_several(W0, out) if out else W0
    fresh = merge_several(W0, into) if into else W0
    assert error_in_u(swap_merged(W, out, into), fresh, 2 * size(W0, adapters)) <= GOLD


def test_every_library_merges_the_same(library, rng):
    """The strict namespace and read-only arrays; no argument is written."""
    W0 = rng.normal(size=(4, 3))
    two = [LoraParams(rng.normal(size=(4, r)), rng.normal(size=(r, 3))) for r in (1, 2)]
    want = W0 + 0.5 * two[0].B @ two[0].A + 0.5 * two[1].B @ two[1].A
    adapters = [LoraAdapter(LoraParams(*map(library.asarray, p)), 0.5) for p in two]
    W = merge_several(library.asarray(W0), adapters)
    np.testing.assert_allclose(library.to_numpy(W), want, rtol=0, atol=1e-14)
    back = swap_merged(W, adapters, [])
    np.testing.assert_allclose(library.to_numpy(back), W0, rtol=0, atol=1e-14)


def test_a_failure_names_its_adapter_and_changes_nothing(rng):
    """Property 34: a NaN in the second of two is the second's; an overflow is no NaN; no bit of the base moves."""
    W0 = rng.normal(size=(3, 3))
    good = LoraAdapter(LoraParams(rng.normal(size=(3, 1)), rng.normal(size=(1, 3))), 1.0)
    bad = LoraAdapter(LoraParams(np.full((3, 1), np.nan), rng.normal(size=(1, 3))), 1.0)
    before = W0.tobytes()
    with pytest.raises(NonFiniteError, match=r"the B of adapters\[1\] holds 3"):
        merge_several(W0, [good, bad])
    huge = LoraAdapter(LoraParams(np.full((3, 1), 1e300), np.full((1, 3), 1e300)), 1.0)
    with pytest.raises(OverflowInMergeError, match=r"inf \(not NaN\)"):
        merge_several(W0, [good, huge])
    with pytest.raises(NonFiniteError, match="base weight W0"):
        merge_several(np.full((3, 3), np.inf), [good])
    assert W0.tobytes() == before
