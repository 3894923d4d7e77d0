"""The layer's gradients in both forms: exact arithmetic, autograd, complex step, and their identities.

[grad-1] [grad-2] [lora-grad-a] [lora-grad-b] [lora-grad-x] [lora-grad-bias]
"""

import warnings

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from autograd.test_util import check_grads
from hypothesis import given
from hypothesis import strategies as st

import lora_np
from lora_np import LoraParams, backward, backward_via_weight, forward, forward_via_weight, project_gradient
from lora_np.conformance.bounds import GOLD, error_in_u, gradient_scales
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import lora as naive
from tests.strategies import ALL_DTYPES, layers
from tests.test_lora_forward import SMALL, bound_in_u, draw_layer, exact_layer


def through_bottleneck(layer):
    """gX, gB, gA by lora-2."""
    Z = forward(layer.X, layer.W0, layer.p, scale=layer.scale)[1]
    gX, g = backward(layer.gY, layer.X, Z, layer.W0, layer.p, scale=layer.scale)
    return {"gX": gX, "gB": g.B, "gA": g.A}


def through_weight(layer):
    """gX, gB, gA by lora-1."""
    W = forward_via_weight(layer.X, layer.W0, layer.p, scale=layer.scale)[1]
    gX, g = backward_via_weight(layer.gY, layer.X, W, layer.p, scale=layer.scale)
    return {"gX": gX, "gB": g.B, "gA": g.A}


ROADS = [through_bottleneck, through_weight]


def scales_of(layer):
    return gradient_scales(layer.gY, layer.X, layer.W0, layer.p, layer.scale)


class TestAgainstExactArithmetic:
    @pytest.mark.parametrize("road", ROADS)
    @given(layer=layers(dtypes=ALL_DTYPES, sizes=SMALL, rows=st.sampled_from([0, 1, 2, 4])))
    def test_every_gradient_is_within_its_derived_bound(self, road, layer):
        """Properties 17, 18, 19 and 23 by Fractions: the loops differentiate the written-out sum entry by entry."""
        X, W0, B, A, s, _ = exact_layer(layer)
        wants = dict(
            zip(("gX", "gB", "gA"), naive.backward(fractions_of(layer.gY), X, W0, B, A, s), strict=True)
        )
        got, scales = road(layer), scales_of(layer)
        for name, want in wants.items():
            S, K = scales[name]
            assert got[name].dtype == layer.X.dtype
            error = exact_error_in_u(got[name], want, S, roundings=layer.roundings(K))
            assert error <= bound_in_u(K, got[name].dtype), name

    @pytest.mark.parametrize("road", ROADS)
    @given(layer=layers(magnitudes=st.just("integers"), sizes=SMALL))
    def test_small_integers_come_out_exactly(self, road, layer):
        """Property 20: [grad-1] and [grad-2] are the same numbers; on integers, the same bits."""
        layer = layer._replace(scale=0.5)
        X, W0, B, A, s, _ = exact_layer(layer)
        wants = naive.backward(fractions_of(layer.gY), X, W0, B, A, s)
        for (name, got), want in zip(road(layer).items(), wants, strict=True):
            assert exact_error_in_u(got, want, np.zeros(got.shape)) == 0, name

    @given(layer=layers(sizes=SMALL))
    def test_projecting_the_exact_full_gradient_gives_both(self, layer):
        """Properties 20 and 23: gW = gYᵀ X exactly, and its projection is (gB, gA).  [grad-1]"""
        X, _, B, A, s, _ = exact_layer(layer)
        gW = naive.full_gradient(fractions_of(layer.gY), X)
        if not gW or not gW[0]:
            return  # no rows: the loops cannot know the widths
        g = project_gradient(layer.gY.T @ layer.X, layer.p, scale=layer.scale)
        scales = scales_of(layer)
        for name, want in {
            "gB": naive.matmul(gW, naive.transpose(A)),
            "gA": naive.matmul(naive.transpose(B), gW),
        }.items():
            S, K = scales[name]
            want = [[s * value for value in row] for row in want]
            error = exact_error_in_u(getattr(g, name[1]), want, S, roundings=layer.roundings(K))
            assert error <= bound_in_u(K, layer.X.dtype)

    @given(layer=layers(magnitudes=st.just("integers")))
    def test_the_bias_gradient_is_the_column_sum(self, layer):
        """gb = Σ_n gY_n, on integers exactly; any leading axes.  [lora-grad-bias]"""
        want = [sum(row[i] for row in layer.gY.tolist()) for i in range(layer.gY.shape[1])]
        assert lora_np.bias_gradient(layer.gY).tolist() == want
        assert lora_np.bias_gradient(layer.gY.reshape(-1, 1, layer.gY.shape[1])).tolist() == want


def weight_form(X, W0, B, A, s):
    """The definition, for autograd: one product with the written-out weight."""
    return X @ (W0 + s * (B @ A)).T


class TestAgainstAutograd:
    @pytest.mark.parametrize("road", ROADS)
    @pytest.mark.parametrize("shape", [(4, 5, 6, 2), (1, 1, 7, 3), (9, 8, 2, 5), (3, 4, 4, 4)])
    def test_every_gradient_through_a_nonlinear_loss(self, road, shape, rng):
        """Properties 17, 18, 19: HIPS autograd differentiates Σ tanh(Y) C; gY = C / cosh² Y goes into ours."""
        layer = draw_layer(rng, *shape)
        layer = layer._replace(X=layer.X / 8)  # far from where tanh is flat
        C = layer.gY

        def loss(X, B, A):
            return anp.sum(anp.tanh(weight_form(X, layer.W0, B, A, layer.scale)) * C)

        Y = weight_form(layer.X, layer.W0, *layer.p, layer.scale)
        layer = layer._replace(gY=C / np.cosh(Y) ** 2)
        wants = autograd.grad(loss, argnum=(0, 1, 2))(layer.X, *layer.p)
        scales = scales_of(layer)
        for (name, got), want in zip(road(layer).items(), wants, strict=True):
            assert np.linalg.norm(want) > 1e-3
            assert error_in_u(got, want, scales[name][0]) <= 2 * GOLD, name

    @pytest.mark.parametrize("apply", [forward, forward_via_weight])
    def test_first_and_second_derivatives_in_both_modes(self, apply, rng):
        """Property 25: check_grads to order 2, forward and reverse, on the engine's own code, gradients far from 0."""
        layer = draw_layer(rng, 3, 4, 5, 2)

        def loss(B, A, X):
            return (
                anp.sum(apply(X, layer.W0, LoraParams(B, A), scale=layer.scale, bias=layer.bias)[0] ** 2) / 50
            )

        gradients = autograd.grad(loss, argnum=(0, 1, 2))(*layer.p, layer.X)
        assert all(np.linalg.norm(g) > 1e-3 for g in gradients)
        with warnings.catch_warnings():
            check_grads(loss, modes=["fwd", "rev"], order=2)(*layer.p, layer.X)

    def test_the_hessian_is_symmetric_and_mixes_the_factors(self, rng):
        """Property 25: d²L/dA dB = (d²L/dB dA)ᵀ, and it is not zero: the factors are coupled."""
        layer = draw_layer(rng, 3, 2, 3, 1)
        size = layer.p.B.size

        def loss(flat):
            p = LoraParams(flat[:size].reshape(layer.p.B.shape), flat[size:].reshape(layer.p.A.shape))
            return anp.sum(forward(layer.X, layer.W0, p, scale=layer.scale)[0] ** 2) / 10

        H = autograd.hessian(loss)(np.concatenate([x.ravel() for x in layer.p]))
        assert error_in_u(H, H.T, np.full(H.shape, abs(H).max())) <= 4 * GOLD
        assert abs(H[:size, size:]).max() > 1e-3

    def test_the_backward_is_itself_differentiable(self, rng):
        """Property 25, second order by our own first: the gradient of ‖gA‖² through `backward`."""
        layer = draw_layer(rng, 3, 4, 5, 2)

        def size_of_gA(B):
            p = LoraParams(B, layer.p.A)
            Y, Z = forward(layer.X, layer.W0, p, scale=layer.scale)
            return anp.sum(backward(Y, layer.X, Z, layer.W0, p, scale=layer.scale)[1].A ** 2) / 1e4

        assert np.linalg.norm(autograd.grad(size_of_gA)(layer.p.B)) > 1e-3
        check_grads(size_of_gA, modes=["rev"], order=1)(layer.p.B)


class TestComplexStep:
    @pytest.mark.parametrize("name", ["X", "B", "A"])
    def test_the_imaginary_part_is_the_derivative(self, name, rng):
        """Property 28: Im L(x + ih) / h with h = 1e-200 has no truncation and no cancellation.

        The loops run on complex numbers as on real ones; the loss Σ C y² is a polynomial.
        """
        layer = draw_layer(rng, 3, 4, 5, 2)
        Y = weight_form(layer.X, layer.W0, *layer.p, layer.scale)
        C, h = layer.gY, 1e-200
        layer = layer._replace(gY=2 * C * Y)
        parts = {"X": layer.X, "B": layer.p.B, "A": layer.p.A}

        def loss(X, B, A):
            rows = naive.forward(X.tolist(), layer.W0.tolist(), B.tolist(), A.tolist(), layer.scale)
            return sum(
                c * y * y
                for cs, ys in zip(C.tolist(), rows, strict=True)
                for c, y in zip(cs, ys, strict=True)
            )

        want = np.empty(parts[name].shape)
        for index in np.ndindex(want.shape):
            moved = parts[name].astype(complex)
            moved[index] += 1j * h
            want[index] = loss(**{**parts, name: moved}).imag / h
        S, _ = scales_of(layer)[f"g{name}"]
        assert np.linalg.norm(want) > 1e-3
        for road in ROADS:
            assert error_in_u(road(layer)[f"g{name}"], want, S) <= 2 * GOLD


class TestIdentities:
    @pytest.mark.parametrize("shape", [(4, 5, 6, 2), (1, 1, 1, 1), (2, 3, 5, 7), (0, 3, 2, 1)])
    def test_gradients_assemble_by_shape(self, shape, rng):
        """Property 22: every gradient has the shape of what it belongs to, and the row form's are its transposes.

        dA = Xᵀ (dY Bᵀ) and dB = Zᵀ dY in seed 001's row form.  [grad-2]
        """
        layer = draw_layer(rng, *shape)
        got = through_bottleneck(layer)
        assert [g.shape for g in got.values()] == [layer.X.shape, layer.p.B.shape, layer.p.A.shape]
        _, A, B = lora_np.to_row_form(layer.W0, *layer.p)
        Z = layer.X @ A
        rows = {"gB": layer.scale * (Z.T @ layer.gY).T, "gA": (layer.X.T @ (layer.scale * layer.gY @ B.T)).T}
        for name, want in rows.items():
            assert error_in_u(got[name], want, scales_of(layer)[name][0]) <= 2 * GOLD

    @pytest.mark.parametrize("road", ROADS)
    @given(layer=layers(magnitudes=st.just("normal"), rows=SMALL))
    def test_a_zero_factor_stops_the_other_ones_gradient(self, road, layer):
        """Property 24: B = 0 makes gA exactly zero and leaves gB; A = 0 is the mirror image."""
        for zero, stopped, alive in (("B", "gA", "gB"), ("A", "gB", "gA")):
            p = layer.p._replace(**{zero: np.zeros_like(getattr(layer.p, zero))})
            got = road(layer._replace(p=p))
            assert not got[stopped].any()
            assert got[alive].any()

    @pytest.mark.parametrize("road", ROADS)
    @given(layer=layers(magnitudes=st.just("integers")), cut=st.integers(0, 12))
    def test_microbatches_add_up(self, road, layer, cut):
        """Property 26: gradients of parts of the batch sum to the whole; a mean over N rows is a factor 1/N exactly."""
        layer = layer._replace(scale=2.0)
        parts = [
            road(layer._replace(X=layer.X[part], gY=layer.gY[part]))
            for part in (slice(cut), slice(cut, None))
        ]
        whole = road(layer)
        for name in ("gB", "gA"):
            assert np.array_equal(parts[0][name] + parts[1][name], whole[name])
        assert np.array_equal(np.concatenate([part["gX"] for part in parts]), whole["gX"])
        eighth = road(layer._replace(gY=layer.gY / 8))
        assert all(np.array_equal(8 * eighth[name], whole[name]) for name in whole)

    @pytest.mark.parametrize("road", ROADS)
    @given(layer=layers(dtypes=ALL_DTYPES))
    def test_arguments_keep_their_bytes(self, road, layer):
        """Property 27: W0 has no gradient, and nothing that is passed in is written to."""
        arrays = (layer.X, layer.W0, *layer.p, layer.gY)
        before = [x.tobytes() for x in arrays]
        assert set(road(layer)) == {"gX", "gB", "gA"}
        assert [x.tobytes() for x in arrays] == before

    @pytest.mark.parametrize("leading", [(), (1,), (2, 3), (2, 0)])
    def test_leading_axes_are_one_flattened_batch(self, leading, rng):
        """Property 11 for the gradients, on integers exactly."""
        layer = draw_layer(rng)
        X, gY = (rng.integers(-4, 5, size=(*leading, n)).astype(float) for n in (6, 5))
        layer = layer._replace(W0=np.round(layer.W0), p=LoraParams(*map(np.round, layer.p)), scale=2.0)
        flat = layer._replace(X=X.reshape(-1, 6), gY=gY.reshape(-1, 5))
        for road in ROADS:
            got, want = road(layer._replace(X=X, gY=gY)), road(flat)
            assert got["gX"].shape == (*leading, 6)
            assert np.array_equal(got["gX"].reshape(-1, 6), want["gX"])
            assert np.array_equal(got["gB"], want["gB"])
            assert np.array_equal(got["gA"], want["gA"])


@given(layer=layers())
def test_the_two_forms_agree(layer):
    """Property 20: the full gradient projected equals the gradients through the bottleneck.  [grad-1] [grad-2]"""
    one, two = through_weight(layer), through_bottleneck(layer)
    for name, (S, K) in scales_of(layer).items():
        error = error_in_u(one[name], two[name], S, roundings=layer.roundings(2 * K))
        assert error <= 2 * bound_in_u(K, layer.X.dtype), name


@pytest.mark.parametrize("road", ROADS)
def test_single_precision_stays_gold_at_large_sizes(road, rng):
    """16 u also where the theory allows hundreds; double precision is the judge."""
    layer = draw_layer(rng, 300, 257, 400, 8, dtype=np.float32)
    wide = layer._replace(
        X=np.float64(layer.X),
        W0=np.float64(layer.W0),
        gY=np.float64(layer.gY),
        p=LoraParams(*map(np.float64, layer.p)),
    )
    gW, s = wide.gY.T @ wide.X, np.float64(layer.scale)
    wants = {
        "gX": wide.gY @ (wide.W0 + s * wide.p.B @ wide.p.A),
        "gB": s * gW @ wide.p.A.T,
        "gA": s * wide.p.B.T @ gW,
    }
    got = road(layer)
    for name, (S, _) in scales_of(layer).items():
        assert got[name].dtype == np.float32
        assert error_in_u(got[name], wants[name], S) <= GOLD
