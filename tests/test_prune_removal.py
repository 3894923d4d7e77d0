"""What removing a group does to the loss, measured, and how well the Taylor series of seed 000 foretells it."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from lora_np import LoraParams, forward
from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.errors import ConfigError, GroupError, ShapeError, StateError
from lora_np.prune import groups, importance, masked, taylor_1, taylor_2, true_removal_loss
from tests.naive import prune as naive

KINDS = {
    "rows": groups.rows(6),
    "columns": groups.columns(4),
    "heads": groups.heads(6, 3),
    "entries": groups.entries([[(0, 0), (5, 3)], [(2, 1)]], (6, 4)),
}


def integers(rng, *shape):
    """Small integers as floats: sums and products of them are exact."""
    return rng.integers(-4, 5, size=shape).astype(float)


def least_squares(rng, N=8, d=6, k=4):
    """A loss that is quadratic in W: L = ½ ‖X Wᵀ − T‖², its gradient and its curvature; exact on integers."""
    X, T = integers(rng, N, k), integers(rng, N, d)
    return (
        lambda W: float(0.5 * ((X @ W.T - T) ** 2).sum()),
        lambda W: (X @ W.T - T).T @ X,
        lambda V: (V @ X.T) @ X,
    )


class TestTruth:
    """(L − L without the group)².  [prune-true] [prune-f] [prune-f-removed]"""

    @pytest.mark.parametrize("kind", KINDS)
    def test_is_the_loss_with_the_entries_written_to_zero(self, kind, rng):
        loss, _, _ = least_squares(rng)
        W, made = integers(rng, 6, 4), KINDS[kind]
        got = true_removal_loss(loss, W, made)
        parts = {name: (part.labels.tolist(), part.axis) for name, part in made.parts.items()}
        entries = naive.entries_of_groups(parts, made.count, {"W": (6, 4)})
        after = [loss(np.array(naive.without({"W": W.tolist()}, group)["W"])) for group in entries]
        assert got.loss == loss(W)
        assert got.losses.tolist() == after
        assert got.difference.tolist() == [loss(W) - one for one in after]
        assert got.squared.tolist() == [(loss(W) - one) ** 2 for one in after]

    def test_removal_is_the_increment_cancelling_the_frozen_weight(self, rng):
        """Property 64: s (BA)_S = −W0_S silences the rows exactly, as a mask of outputs does; scale and all."""
        X, W0, p, s = (
            integers(rng, 8, 4),
            integers(rng, 6, 4),
            LoraParams(integers(rng, 6, 4), np.eye(4)),
            0.5,
        )
        B = p.B.copy()
        B[2] = -W0[2] / s  # with A = 1, row 2 of s B A is −W0's
        removed, _ = forward(X, W0, LoraParams(B, p.A), scale=s)
        whole, _ = forward(X, W0, p, scale=s)
        mask = np.arange(6) != 2
        assert (removed == whole * mask).all()
        assert (removed == X @ masked(W0 + s * p.B @ p.A, groups.rows(6), mask).T).all()

    def test_changing_nothing_changes_no_loss(self, rng):
        """Property 58: f is 0 where the series is expanded.  [prune-taylor-zero]"""
        loss, grad, curvature = least_squares(rng)
        W = integers(rng, 6, 4)
        W[3] = 0  # removing it is changing nothing
        assert true_removal_loss(loss, W, groups.rows(6)).difference[3] == 0
        assert taylor_2(W, grad(W), curvature, groups.rows(6))[3] == 0

    def test_a_group_over_two_matrices_leaves_both(self, rng):
        """The hidden units of a two-layer network: the loss of the network without the unit."""
        X, made = integers(rng, 8, 4), groups.channels(5, producers=["W1"], consumers=["W2"])
        W = {"W1": integers(rng, 5, 4), "W2": integers(rng, 3, 5)}

        def loss(weights):
            return float((np.maximum(X @ weights["W1"].T, 0) @ weights["W2"].T).sum())

        got = true_removal_loss(loss, W, made)
        for unit in range(5):
            rest = np.arange(5) != unit
            assert got.losses[unit] == loss({"W1": W["W1"][rest], "W2": W["W2"][:, rest]})

    def test_weights_are_not_written_into(self, rng):
        loss, grad, curvature = least_squares(rng)
        W = integers(rng, 6, 4)
        before = W.tobytes()
        W.flags.writeable = False
        true_removal_loss(loss, W, groups.rows(6))
        taylor_2(W, grad(W), curvature, groups.rows(6))
        assert W.tobytes() == before

    def test_runs_on_every_array_library(self, library, rng):
        W = integers(rng, 6, 4)

        def loss(V):
            return float(library.to_numpy(V).sum())

        got = true_removal_loss(loss, library.asarray(W), groups.rows(6))
        assert library.to_numpy(got.difference).tolist() == W.sum(axis=1).tolist()


class TestTaylor:
    """[prune-taylor] [prune-taylor-removed] [prune-taylor-1] [prune-taylor-2] [prune-grad-sign]"""

    def test_the_gradient_of_f_is_minus_the_gradient_of_the_loss(self, rng):
        """Property 59, through autograd, at the group's own values and elsewhere."""
        X, W0, BA = rng.normal(size=(8, 4)), rng.normal(size=(6, 4)), rng.normal(size=(6, 4))

        def loss(V):
            return anp.sum(anp.tanh(X @ (W0 + V).T) ** 2)

        def f(V):
            return loss(BA) - loss(V)

        for at in (BA, BA + 1):
            assert (autograd.grad(f)(at) == -autograd.grad(loss)(at)).all()
        assert f(BA) == 0

    def test_the_sign_is_that_of_the_loss_before_minus_after(self):
        """By hand: L = 3 w at w = 2 falls from 6 to 0 without it: f = +6 = G w, and not −6 as the seed prints."""
        one = groups.rows(1)
        W, G = np.array([[2.0]]), np.array([[3.0]])
        assert true_removal_loss(lambda V: 3 * float(V[0, 0]), W, one).difference.tolist() == [6.0]
        assert taylor_1(W, G, one).tolist() == [6.0]

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_first_order_is_exact_where_the_loss_is_linear(self, kind, rng):
        """Property 61: L = Σ C (X Wᵀ), so importance is the truth, to the last bit on integers."""
        X, C, W = integers(rng, 8, 4), integers(rng, 8, 6), integers(rng, 6, 4)
        truth = true_removal_loss(lambda V: float((C * (X @ V.T)).sum()), W, KINDS[kind])
        G = C.T @ X
        assert (taylor_1(W, G, KINDS[kind]) == truth.difference).all()
        assert (importance(W, G, KINDS[kind]) == truth.squared).all()

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_second_order_is_exact_where_the_loss_is_quadratic(self, kind, rng):
        """Property 62: and the first order alone is not."""
        loss, grad, curvature = least_squares(rng)
        W, made = integers(rng, 6, 4), KINDS[kind]
        truth = true_removal_loss(loss, W, made)
        assert (taylor_2(W, grad(W), curvature, made) == truth.difference).all()
        assert (taylor_2(W, grad(W), curvature, made) ** 2 == truth.squared).all()
        assert (taylor_1(W, grad(W), made) != truth.difference).any()

    def test_the_second_order_over_two_matrices(self, rng):
        """L = ½ ‖V + U‖² couples them: H of one reaches the other, and the group leaves both."""
        W = {"V": integers(rng, 3, 3), "U": integers(rng, 3, 3)}
        made = groups.channels(3, producers=["V"], consumers=["U"])

        def sum_of(weights):
            return weights["V"] + weights["U"]

        G = dict.fromkeys(W, sum_of(W))
        truth = true_removal_loss(lambda weights: float(0.5 * (sum_of(weights) ** 2).sum()), W, made)
        assert (taylor_2(W, G, lambda D: dict.fromkeys(D, sum_of(D)), made) == truth.difference).all()

    @pytest.mark.parametrize(("order", "slope"), [(1, 2), (2, 3)])
    def test_the_error_shrinks_with_the_groups_size_at_the_order_of_the_next_term(self, order, slope, rng):
        """Property 63: scale the group by ε; |truth − Taylor| falls as ε² after one term, as ε³ after two."""
        X, made = rng.normal(size=(8, 4)), groups.rows(6)
        W0 = rng.normal(size=(6, 4))

        def loss(W):
            return anp.sum(anp.exp(0.3 * (X @ W.T)))

        gaps, sizes = [], [2.0**-e for e in range(4, 9)]
        for size in sizes:
            W = W0 * np.where(np.arange(6) == 1, size, 1.0)[:, None]
            G = autograd.grad(loss)(W)

            def curvature(V, W=W):
                return autograd.grad(lambda U: anp.sum(autograd.grad(loss)(U) * V))(W)

            guess = taylor_1(W, G, made) if order == 1 else taylor_2(W, G, curvature, made)
            gaps.append(abs(true_removal_loss(lambda V: float(loss(V)), W, made).difference[1] - guess[1]))
        measured = np.polyfit(np.log(sizes), np.log(gaps), 1)[0]
        assert abs(measured - slope) < 0.1

    def test_squaring_the_first_order_gives_the_importance(self, rng):
        """[prune-importance]: the square of [prune-taylor-1], whose sign is gone."""
        W, G = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
        first = taylor_1(W, G, groups.heads(6, 3))
        assert error_in_u(importance(W, G, groups.heads(6, 3)), first**2, first**2) <= GOLD
        assert (first < 0).any()


class TestBadInput:
    def test_a_loss_is_a_function(self):
        with pytest.raises(ConfigError, match="loss must be a function of the weights, got float"):
            true_removal_loss(1.0, np.ones((2, 2)), groups.rows(2))

    def test_groups_and_shapes(self):
        with pytest.raises(GroupError, match="W is one value"):
            true_removal_loss(float, np.ones((2, 2)), groups.channels(2))
        with pytest.raises(ShapeError, match="axes"):
            true_removal_loss(float, np.ones(2), groups.rows(2))
        with pytest.raises(ShapeError, match=r"curvature gave shape \(2, 2\) for 'W', expected \(2, 3\)"):
            taylor_2(np.ones((2, 3)), np.ones((2, 3)), lambda V: V[:, :2], groups.rows(2))
        with pytest.raises(StateError, match="call backward first"):
            taylor_1(np.ones((2, 3)), None, groups.rows(2))
