"""The three gradients of the adapted weight: against exact arithmetic, autograd, and the step that SGD takes."""

from fractions import Fraction

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraParams, backward, forward
from lora_np.conformance.bounds import GOLD, error_in_u, gamma_in_u
from lora_np.errors import ConfigError, DTypeError, ShapeError, StateError
from lora_np.prune import gradients
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import prune as naive
from tests.strategies import layers


def integers(rng, *shape):
    """Small integers as floats: sums and products of them are exact."""
    return rng.integers(-4, 5, size=shape).astype(float)


def random_factors(rng, d=6, k=5, r=3):
    return LoraParams(rng.normal(size=(d, r)), rng.normal(size=(r, k)))


class TestExact:
    """G = gYᵀ X.  [prune-exact] [prune-fwd-ba]"""

    @given(layers(sizes=st.sampled_from([1, 2, 3, 5]), rows=st.sampled_from([1, 2, 5])))
    def test_is_the_sum_over_the_batch_within_the_derived_bound(self, layer):
        """Property 23: against exact rational arithmetic."""
        got = gradients.exact(layer.gY, layer.X)
        want = naive.exact_gradient(fractions_of(layer.gY), fractions_of(layer.X))
        S = np.abs(layer.gY.astype(float)).T @ np.abs(layer.X.astype(float))
        assert got.dtype == layer.X.dtype
        N = layer.X.shape[0]
        assert exact_error_in_u(got, want, S, roundings=N) <= gamma_in_u(N, got.dtype)

    def test_is_the_derivative_with_respect_to_the_product_as_autograd_finds_it(self, rng):
        """h = W0 x + (BA) x, differentiated with respect to BA, whatever the loss on top."""
        X, W0, p = rng.normal(size=(7, 5)), rng.normal(size=(6, 5)), random_factors(rng)

        def loss_of_output(Y):
            return anp.sum(anp.tanh(Y) ** 2)

        def loss_of_product(BA):
            return loss_of_output(X @ W0.T + X @ BA.T)

        BA = p.B @ p.A
        gY = autograd.grad(loss_of_output)(X @ (W0 + BA).T)
        want = autograd.grad(loss_of_product)(BA)
        assert np.abs(want).max() > 1e-3
        assert error_in_u(gradients.exact(gY, X), want, np.abs(gY).T @ np.abs(X) + np.abs(want)) <= 4 * GOLD

    def test_any_block_is_the_product_of_the_factors_parts(self, rng):
        """Property 60: (gY)_S (x)_S for rows, columns, blocks and single entries of any index set."""
        gY, X = integers(rng, 9, 6), integers(rng, 9, 5)
        G = gradients.exact(gY, X)
        for _ in range(20):
            I = rng.permutation(6)[: rng.integers(1, 7)]  # noqa: E741 (the rows of the block)
            J = rng.permutation(5)[: rng.integers(1, 6)]
            assert (G[np.ix_(I, J)] == gY[:, I].T @ X[:, J]).all()
            assert (G[np.ix_(I, J)] == gradients.exact(gY[:, I], X[:, J])).all()
        for i, j in np.ndindex(6, 5):
            assert G[i, j] == gY[:, i] @ X[:, j]

    def test_leading_axes_are_one_batch(self, rng):
        gY, X = integers(rng, 2, 3, 4), integers(rng, 2, 3, 5)
        assert (gradients.exact(gY, X) == gradients.exact(gY.reshape(6, 4), X.reshape(6, 5))).all()

    def test_scales_with_the_loss_and_the_estimate_does_not(self, rng):
        """Property 66, second half: a loss times 8 has 8 times the exact gradient, and not 8 times the estimate."""
        gY, X, p = (
            integers(rng, 9, 6),
            integers(rng, 9, 5),
            LoraParams(integers(rng, 6, 2), integers(rng, 2, 5)),
        )
        W0 = np.zeros((6, 5))

        def both(c):
            _, Z = forward(X, W0, p, scale=0.5)
            _, g = backward(c * gY, X, Z, W0, p, scale=0.5)
            return gradients.exact(c * gY, X), gradients.estimated(p, g)

        (exact_1, estimate_1), (exact_8, estimate_8) = both(1.0), both(8.0)
        assert (exact_8 == 8 * exact_1).all()
        assert np.abs(estimate_8 - 8 * estimate_1).max() > 0.5 * np.abs(estimate_8).max()

    def test_runs_on_every_array_library(self, library, rng):
        gY, X = integers(rng, 4, 3), integers(rng, 4, 2)
        got = gradients.exact(library.asarray(gY), library.asarray(X))
        assert (library.to_numpy(got) == gY.T @ X).all()


class TestEstimate:
    """gB A + B gA − lr gB gA.  [prune-estimate] [prune-estimate-sgd] [prune-projected]"""

    @given(
        layers(sizes=st.sampled_from([1, 2, 3, 5]), rows=st.sampled_from([1, 3])),
        st.sampled_from([1.0, 0.25, 0.0]),
    )
    def test_equals_three_products_in_exact_arithmetic(self, layer, lr):
        p = layer.p
        g = LoraParams(p.B[::-1], p.A[:, ::-1])  # any pair of the right shapes
        want = naive.estimate(*(fractions_of(x) for x in (*p, *g)), Fraction(lr))
        B, A, gB, gA = (np.abs(x.astype(float)) for x in (*p, *g))
        S = gB @ A + B @ gA + 2 * lr * gB @ gA
        r = p.A.shape[0]
        got, K = gradients.estimated(p, g, lr=lr), 2 * r + 2
        assert exact_error_in_u(got, want, S, roundings=layer.roundings(K)) <= gamma_in_u(K, p.B.dtype)

    def test_is_what_one_step_of_sgd_does_to_the_product_per_learning_rate(self, rng):
        """Property 66: [BA − (B − η gB)(A − η gA)] / η, exactly, on powers of two and small integers."""
        p, g = (LoraParams(integers(rng, 6, 3), integers(rng, 3, 5)) for _ in range(2))
        for lr in (1.0, 0.5, 0.125):
            stepped = LoraParams(p.B - lr * g.B, p.A - lr * g.A)
            want = (p.B @ p.A - stepped.B @ stepped.A) / lr
            assert (gradients.estimated(p, g, lr=lr) == want).all()
            assert (gradients.from_previous_step(p, stepped, lr=lr, scale=1.0) == want).all()

    def test_its_linear_part_is_the_gradient_projected_by_the_factors(self, rng):
        """Property 65: gB A + B gA = s (G AᵀA + B BᵀG), with a scale that is not 1."""
        X, W0, gY, p = (
            rng.normal(size=(9, 5)),
            rng.normal(size=(6, 5)),
            rng.normal(size=(9, 6)),
            random_factors(rng),
        )
        s = 1 / 3
        _, Z = forward(X, W0, p, scale=s)
        _, g = backward(gY, X, Z, W0, p, scale=s)
        G = gY.T @ X
        want = s * (G @ p.A.T @ p.A + p.B @ p.B.T @ G)
        cross = s**2 * (G @ p.A.T @ p.B.T @ G)
        B, A, aG = np.abs(p.B), np.abs(p.A), np.abs(gY).T @ np.abs(X)
        S = s * (aG @ A.T @ A + B @ B.T @ aG)
        assert error_in_u(gradients.estimated(p, g, lr=0.0), want, S) <= GOLD
        S = S + s**2 * (aG @ A.T @ B.T @ aG)
        assert error_in_u(gradients.estimated(p, g), want - cross, S) <= GOLD

    def test_at_zero_b_it_sees_only_the_rows_of_a(self, rng):
        """B = 0 makes gA = 0 and the estimate s G AᵀA: every row of it lies in the row space of A."""
        X, gY = integers(rng, 9, 5), integers(rng, 9, 6)
        p = LoraParams(np.zeros((6, 2)), integers(rng, 2, 5))
        _, Z = forward(X, np.zeros((6, 5)), p, scale=0.5)
        _, g = backward(gY, X, Z, np.zeros((6, 5)), p, scale=0.5)
        estimate = gradients.estimated(p, g)
        assert (estimate == 0.5 * (gY.T @ X) @ p.A.T @ p.A).all()
        assert np.linalg.matrix_rank(np.vstack([p.A, estimate])) == np.linalg.matrix_rank(p.A) == 2

    def test_moves_with_the_gauge_and_the_exact_gradient_does_not(self, rng):
        """Property 67, last part: (B M⁻¹, M A) is the same layer; only the estimate tells them apart."""
        X, W0, gY = integers(rng, 9, 5), integers(rng, 6, 5), integers(rng, 9, 6)
        p = LoraParams(integers(rng, 6, 3), integers(rng, 3, 5))
        M = np.diag([8.0, 1.0, 0.25])
        q = LoraParams(p.B @ np.linalg.inv(M), M @ p.A)
        linear, cross = [], []
        for factors in (p, q):
            Y, Z = forward(X, W0, factors, scale=0.5)
            assert (Y == X @ (W0 + 0.5 * p.B @ p.A).T).all()
            _, g = backward(gY, X, Z, W0, factors, scale=0.5)
            linear.append(gradients.estimated(factors, g, lr=0.0))
            cross.append(linear[-1] - gradients.estimated(factors, g))
        assert np.abs(linear[0] - linear[1]).max() > 0.5 * np.abs(linear[0]).max()
        assert (cross[0] == cross[1]).all()  # s² G Aᵀ Bᵀ G does not depend on the split

    def test_product_has_rank_at_most_twice_the_rank(self, rng):
        U, V = gradients.estimated_product(random_factors(rng, r=2), random_factors(rng, r=2))
        assert U.shape == (6, 4)
        assert V.shape == (4, 5)

    def test_runs_on_every_array_library(self, library, rng):
        p, g = (LoraParams(integers(rng, 3, 2), integers(rng, 2, 4)) for _ in range(2))
        there = [LoraParams(*(library.asarray(x) for x in q)) for q in (p, g)]
        want = g.B @ p.A + p.B @ g.A - g.B @ g.A
        assert (library.to_numpy(gradients.estimated(*there)) == want).all()
        moved = gradients.from_previous_step(*there, lr=0.5, scale=2.0)
        assert (library.to_numpy(moved) == 4 * (p.B @ p.A - g.B @ g.A)).all()


class TestPreviousStep:
    """Ĝ = s (B' A' − B A) / lr.  [prune-previous-step]"""

    def test_scale_and_learning_rate_enter_once_each(self, rng):
        before, after = random_factors(rng), random_factors(rng)
        got = gradients.from_previous_step(before, after, lr=0.3, scale=1.75)
        want = 1.75 * (before.B @ before.A - after.B @ after.A) / 0.3
        S = 1.75 / 0.3 * (np.abs(before.B) @ np.abs(before.A) + np.abs(after.B) @ np.abs(after.A))
        assert error_in_u(got, want, S) <= GOLD

    def test_reads_plain_sgd_on_the_weight_back_exactly(self, rng):
        """If the product itself had stepped by −lr G / s, the weight would have stepped by −lr G."""
        G, B = integers(rng, 4, 3), np.eye(4)
        before, after = LoraParams(B, integers(rng, 4, 3)), None
        after = LoraParams(B, before.A - 0.25 * G / 2)
        assert (gradients.from_previous_step(before, after, lr=0.25, scale=2.0) == G).all()


class TestBadInput:
    """Row 41 of the bad inputs, and shapes that do not fit."""

    def test_no_gradient_yet(self, rng):
        p = random_factors(rng)
        for call in (
            lambda: gradients.exact(None, np.ones((2, 3))),
            lambda: gradients.exact(np.ones((2, 3)), None),
            lambda: gradients.estimated(p, None),
            lambda: gradients.estimated(p, LoraParams(None, p.A)),
        ):
            with pytest.raises(StateError, match="call backward first"):
                call()

    def test_no_step_before_the_first(self, rng):
        with pytest.raises(StateError, match=r"p_prev is None.*none is known at the first step"):
            gradients.from_previous_step(None, random_factors(rng), lr=1.0, scale=1.0)

    def test_shapes_and_types(self, rng):
        p = random_factors(rng)
        with pytest.raises(ShapeError, match=r"g\.B has shape \(6, 2\), expected \(6, 3\)"):
            gradients.estimated(p, random_factors(rng, r=2))
        with pytest.raises(ShapeError, match="batch axes differ"):
            gradients.exact(np.ones((2, 3)), np.ones((3, 3)))
        with pytest.raises(ShapeError, match="gY"):
            gradients.exact(np.asarray(1.0), np.ones((3, 3)))
        with pytest.raises(DTypeError, match="promote"):
            gradients.exact(np.ones((2, 3), np.float32), np.ones((2, 3)))
        with pytest.raises(DTypeError, match="promote"):
            gradients.estimated(p, LoraParams(*(x.astype(np.float32) for x in p)))
        for lr in (0.0, -1.0, np.nan):
            with pytest.raises(ConfigError, match="lr"):
                gradients.from_previous_step(p, p, lr=lr, scale=1.0)
