"""Batches whose rows use different adapters.  [adapters-mixed] [adapters-mixed-grad]

Property 36: seed 002 says that a batch cannot mix tasks once an adapter is merged; unmerged it can, and here does.
"""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraParams, backward, forward, merge
from lora_np.adapters import LoraAdapter, backward_mixed, forward_mixed, group_rows
from lora_np.conformance.bounds import GOLD, error_in_u, forward_scale, gradient_scales
from lora_np.errors import ConfigError, DTypeError, ShapeError, UnknownAdapterError
from tests.exact import floats_of, fractions_of
from tests.naive import adapters as naive

NAMES = ["a", "b", "c"]


@st.composite
def batches(draw, exact=True):
    """X, W0, gY, adapters by name with mixed ranks, and a name or None for every row."""
    d, k = draw(st.sampled_from([1, 2, 5])), draw(st.sampled_from([1, 3, 4]))
    rows = draw(st.lists(st.sampled_from([*NAMES, None]), max_size=7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def fill(*shape):
        return rng.integers(-4, 5, size=shape) * 1.0 if exact else rng.normal(size=shape)

    adapters = {
        name: LoraAdapter(LoraParams(fill(d, r), fill(r, k)), s)
        for name, r, s in zip(NAMES, (1, 2, 3), (0.5, -2.0, 0.25), strict=True)
    }
    return fill(len(rows), k), fill(d, k), fill(len(rows), d), adapters, rows


class TestForward:
    @given(batch=batches())
    def test_every_row_goes_through_its_own_weight(self, batch):
        """Against the weight of each row written out, exactly: an empty batch and rows of None among them."""
        X, W0, _, adapters, rows = batch
        triples = {name: (fractions_of(p.B), fractions_of(p.A), s) for name, (p, s) in adapters.items()}
        want = naive.forward_rows(fractions_of(X), fractions_of(W0), triples, rows)
        Y, Z = forward_mixed(X, W0, adapters, rows)
        assert Y.shape == (len(rows), len(W0))
        np.testing.assert_array_equal(Y, floats_of(want).reshape(Y.shape))
        assert {name: z.shape[0] for name, z in Z.items()} == {
            name: rows.count(name) for name in set(rows) - {None}
        }

    @given(batch=batches(exact=False))
    def test_rows_equal_their_own_layer_and_their_own_merged_weight(self, batch):
        """Within twice the bound of the layer with that adapter alone, merged or not; None to the bit."""
        X, W0, _, adapters, rows = batch
        Y, _ = forward_mixed(X, W0, adapters, rows)
        for name, (p, s) in adapters.items():
            own = [n for n, other in enumerate(rows) if other == name]
            S, _ = forward_scale(X[own], W0, p, s)
            assert error_in_u(Y[own], forward(X[own], W0, p, scale=s)[0], S) <= 2 * GOLD
            assert error_in_u(Y[own], X[own] @ merge(W0, p, scale=s).T, S) <= 2 * GOLD
        none = [n for n, other in enumerate(rows) if other is None]
        assert Y[none].tobytes() == (X @ W0.T)[none].tobytes()

    def test_sequences_use_one_adapter_for_all_their_positions(self, rng):
        """X (N, T, k): the name is of the sequence; a bias is added once."""
        X, W0, bias = rng.normal(size=(3, 4, 5)), rng.normal(size=(2, 5)), rng.normal(size=2)
        p = LoraParams(rng.normal(size=(2, 1)), rng.normal(size=(1, 5)))
        Y, Z = forward_mixed(X, W0, {"a": LoraAdapter(p, 0.5)}, ["a", None, "a"], bias=bias)
        assert Z["a"].shape == (2, 4, 1)
        for n, s in enumerate((0.5, 0.0, 0.5)):
            want = forward(X[n], W0, p, scale=s, bias=bias)[0]
            np.testing.assert_allclose(Y[n], want, rtol=0, atol=1e-14)

    def test_grouping_keeps_the_order_of_rows_and_undoes_itself(self):
        """Each adapter's rows in their order, those without last; `back` returns every row to its place."""
        rows = ["b", None, "a", "b", None, "c", "a"]
        order, back, bounds = group_rows(rows, like=np.zeros(1))
        assert [rows[n] for n in order] == ["b", "b", "a", "a", "c", None, None]
        assert order.tolist() == [0, 3, 2, 6, 5, 1, 4]
        assert order[back].tolist() == list(range(7))
        assert bounds == {"b": (0, 2), "a": (2, 4), "c": (4, 5)}


class TestBackward:
    @given(batch=batches())
    def test_gradients_are_those_of_each_adapters_own_rows(self, batch):
        """The layer's own backward on the rows of one adapter, exactly; zero for an adapter without rows."""
        X, W0, gY, adapters, rows = batch
        _, Z = forward_mixed(X, W0, adapters, rows)
        gX, gradients = backward_mixed(gY, X, Z, W0, adapters, rows)
        want_gX = gY @ W0
        assert list(gradients) == NAMES
        for name, (p, s) in adapters.items():
            own = [n for n, other in enumerate(rows) if other == name]
            want_gX[own], want = backward(gY[own], X[own], X[own] @ p.A.T, W0, p, scale=s)
            for got, due in zip(gradients[name], want, strict=True):
                np.testing.assert_array_equal(got, due)
        np.testing.assert_array_equal(gX, want_gX)

    @given(batch=batches(exact=False), seed=st.integers(0, 99))
    def test_gradients_are_autograds(self, batch, seed):
        """Against an engine of its own: each row's weight written out, and the sum differentiated."""
        X, W0, gY, adapters, rows = batch
        _, Z = forward_mixed(X, W0, adapters, rows)
        gX, gradients = backward_mixed(gY, X, Z, W0, adapters, rows)

        def loss(X, *factors):
            total = 0.0
            for n, name in enumerate(rows):
                W = W0
                if name is not None:
                    i = 2 * NAMES.index(name)
                    W = W + adapters[name].scale * anp.dot(factors[i], factors[i + 1])
                total = total + anp.dot(gY[n], anp.dot(W, X[n]))
            return total

        if not rows:
            return
        flat = [factor for name in NAMES for factor in adapters[name].p]
        want = autograd.grad(loss, argnum=tuple(range(7)))(X, *flat)
        got = [gX, *(gradient for name in NAMES for gradient in gradients[name])]
        sizes = [abs(gY) @ (abs(W0) + sum(abs(s) * abs(p.B) @ abs(p.A) for p, s in adapters.values()))]
        for p, s in adapters.values():
            both = gradient_scales(gY, X, W0, p, s)
            sizes += [both["gB"][0], both["gA"][0]]
        for mine, theirs, S in zip(got, want, sizes, strict=True):
            assert error_in_u(mine, theirs, S + 1e-300) <= 2 * GOLD

    def test_sequences_add_up_over_their_positions(self, rng):
        X, W0, gY = rng.normal(size=(3, 4, 5)), rng.normal(size=(2, 5)), rng.normal(size=(3, 4, 2))
        p = LoraParams(rng.normal(size=(2, 1)), rng.normal(size=(1, 5)))
        adapters, rows = {"a": LoraAdapter(p, 0.5)}, ["a", None, "a"]
        _, Z = forward_mixed(X, W0, adapters, rows)
        gX, gradients = backward_mixed(gY, X, Z, W0, adapters, rows)
        _, want = backward(gY[::2], X[::2], X[::2] @ p.A.T, W0, p, scale=0.5)
        np.testing.assert_allclose(gradients["a"].B, want.B, rtol=0, atol=1e-13)
        np.testing.assert_allclose(gradients["a"].A, want.A, rtol=0, atol=1e-13)
        np.testing.assert_array_equal(gX[1], (gY @ W0)[1])


class Counted(np.ndarray):
    """An array that counts the matrix products it takes part in."""

    products = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        Counted.products += ufunc is np.matmul
        plain = [np.asarray(x) if isinstance(x, Counted) else x for x in inputs]
        return getattr(ufunc, method)(*plain, **kwargs)


def test_the_number_of_products_does_not_grow_with_the_batch(rng):
    """One frozen product and two thin ones for each adapter in use, for 8 rows and for 8,000."""
    products = []
    for N in (8, 8000):
        X, W0 = rng.normal(size=(N, 4)), rng.normal(size=(3, 4)).view(Counted)
        adapters = {
            name: LoraAdapter(
                LoraParams(*(rng.normal(size=shape).view(Counted) for shape in ((3, 1), (1, 4)))), 1.0
            )
            for name in NAMES
        }
        Counted.products = 0
        forward_mixed(X, W0, adapters, [[*NAMES, None][n % 4] for n in range(N)])
        products.append(Counted.products)
    assert products == [7, 7]


def test_every_library_gives_the_same(library, rng):
    """The strict namespace and read-only arrays: no argument is written."""
    X, W0, gY = (rng.normal(size=shape) for shape in ((5, 3), (4, 3), (5, 4)))
    ps = {
        name: LoraParams(rng.normal(size=(4, r)), rng.normal(size=(r, 3))) for name, r in (("a", 1), ("b", 2))
    }
    rows = ["b", None, "a", "b", "a"]
    results = []
    for make, read in ((np.asarray, np.asarray), (library.asarray, library.to_numpy)):
        adapters = {name: LoraAdapter(LoraParams(*map(make, p)), 0.7) for name, p in ps.items()}
        Y, Z = forward_mixed(make(X), make(W0), adapters, rows)
        gX, gradients = backward_mixed(make(gY), make(X), Z, make(W0), adapters, rows)
        results.append([read(x) for x in (Y, gX, *gradients["a"], *gradients["b"])])
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-14)


class TestRefusals:
    def call(self, rng, **changes):
        X, W0 = rng.normal(size=(2, 3)), rng.normal(size=(4, 3))
        adapters = {"digits": LoraAdapter(LoraParams(rng.normal(size=(4, 1)), rng.normal(size=(1, 3))), 1.0)}
        arguments = {"X": X, "W0": W0, "adapters": adapters, "rows": ["digits", None], **changes}
        return forward_mixed(arguments.pop("X"), arguments.pop("W0"), **arguments)

    def test_what_does_not_fit_is_named(self, rng):
        self.call(rng)
        with pytest.raises(UnknownAdapterError, match=r"'digit'.*\['digits'\].*did you mean 'digits'"):
            self.call(rng, rows=["digit", None])
        with pytest.raises(ShapeError, match=r"rows names 1 adapters, X has shape \(2, 3\)"):
            self.call(rng, rows=["digits"])
        with pytest.raises(ShapeError, match=r"X has shape \(3,\)"):
            self.call(rng, X=rng.normal(size=3))
        with pytest.raises(ConfigError, match="list of adapter names or None, got str"):
            self.call(rng, rows="digits")
        with pytest.raises(ConfigError, match=r"rows\[0\] must be a name or None, got int 3"):
            self.call(rng, rows=[3, None])
        with pytest.raises(ConfigError, match="adapters must map names"):
            self.call(rng, adapters=[1])
        with pytest.raises(ShapeError, match=r"bias has shape \(3,\), expected \(d,\) = \(4,\)"):
            self.call(rng, bias=np.zeros(3))
        with pytest.raises(DTypeError, match="X is float32, W0 is float64"):
            self.call(rng, X=np.zeros((2, 3), np.float32))
        wide = LoraAdapter(LoraParams(np.zeros((5, 1)), np.zeros((1, 3))), 1.0)
        with pytest.raises(ShapeError, match=r"do not fit a weight of shape"):
            self.call(rng, adapters={"digits": wide})

    def test_backward_asks_for_what_forward_returned(self, rng):
        X, W0, rows = rng.normal(size=(2, 3)), rng.normal(size=(4, 3)), ["a", None]
        adapters = {"a": LoraAdapter(LoraParams(rng.normal(size=(4, 1)), rng.normal(size=(1, 3))), 1.0)}
        gY, (_, Z) = rng.normal(size=(2, 4)), forward_mixed(X, W0, adapters, rows)
        with pytest.raises(ShapeError, match=r"Z has the shapes {}, expected {'a': \(1, 1\)}"):
            backward_mixed(gY, X, {}, W0, adapters, rows)
        with pytest.raises(ConfigError, match="Z must be what forward_mixed returned, got NoneType"):
            backward_mixed(gY, X, None, W0, adapters, rows)
        with pytest.raises(DTypeError, match="Z of 'a' must be an array"):
            backward_mixed(gY, X, {"a": None}, W0, adapters, rows)
        with pytest.raises(ShapeError, match="batch axes differ"):
            backward_mixed(gY[:1], X, Z, W0, adapters, rows)
