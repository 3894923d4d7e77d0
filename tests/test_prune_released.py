"""LoRAPrune's released program: its scores against loops, its schedule's outcome, and where it parts from the paper."""

import numpy as np
import pytest

from lora_np import LoraParams, backward, forward
from lora_np.conformance.bounds import GOLD
from lora_np.errors import ConfigError, GroupError, StateError
from lora_np.prune import Adapted, Part, gradients, groups, importance, mask, released, true_removal_loss
from tests.naive import prune as naive


def integers(rng, *shape):
    """Small integers as floats: sums and products of them are exact."""
    return rng.integers(-4, 5, size=shape).astype(float)


def module(rng, d, k, r=2, draw=integers):
    """W0, factors, and any pair of matrices for their gradients."""
    p, g = (LoraParams(draw(rng, d, r), draw(rng, r, k)) for _ in range(2))
    return draw(rng, d, k), p, g


def blocks(labels, axis, shape, count):
    """The entries (i, j) of each group of one matrix."""
    found = naive.entries_of_groups({"W": (labels, axis)}, count, {"W": shape})
    return [[(i, j) for _, i, j in group] for group in found]


class TestScores:
    """Σ |Ĝ W| over a group, over the module's norm.  [prune-released]"""

    @pytest.mark.parametrize("axis", [0, 1])
    def test_equal_plain_loops(self, axis, rng):
        """Heads of 2 rows, or 2 columns of o; a scale that is not 1, in the weight and not in the gradient."""
        W0, p, g = module(rng, 6, 6)
        labels = [0, 0, 1, 1, 2, 2]
        got = released.module_scores(W0, p, g, Part(labels, axis), 3, scale=0.5)
        nested = [x.tolist() for x in (W0, *p, *g)]
        want = naive.released_scores(*nested, 0.5, blocks(labels, axis, (6, 6), 3))
        np.testing.assert_allclose(got, want, rtol=GOLD * 2.0**-53)
        assert abs(np.linalg.norm(got) - 1) < 1e-8

    def test_add_up_over_the_modules_that_share_groups(self, rng):
        made = groups.attention(4, 2)
        modules = {name: module(rng, 8, 8) for name in "qkvo"}
        got = released.sensitivity(modules, made, scale=0.5)
        want = sum(
            released.module_scores(*modules[name], part, 4, scale=0.5) for name, part in made.parts.items()
        )
        np.testing.assert_allclose(got, want, rtol=1e-15)
        assert got.max() <= 4

    def test_normalizing_lets_a_small_module_vote_as_loudly_as_a_large_one(self, rng):
        """A gate with 1024 times the gradient would decide the plain sum; here it changes nothing."""
        made = groups.channels(3)
        modules = {"gate": module(rng, 3, 5), "up": module(rng, 3, 5), "down": module(rng, 5, 3)}
        W0, p, g = modules["gate"]
        still = LoraParams(0 * p.B, p.A)  # B = 0 and gA = 0: the estimate is gB A, linear in gB
        scores = [
            released.sensitivity(
                modules | {"gate": (W0, still, LoraParams(c * g.B, 0 * g.A))}, made, scale=0.5
            )
            for c in (1.0, 1024.0)
        ]
        np.testing.assert_allclose(*scores, rtol=1e-6)

    def test_the_scale_is_in_the_weight_and_not_in_the_gradient(self, rng):
        """With gB, gA fixed, doubling s changes W0 + s B A alone; at W0 = 0 normalizing hides even that."""
        W0, p, g = module(rng, 6, 5)
        one, two = (released.module_scores(W0, p, g, Part(range(6)), 6, scale=s) for s in (1.0, 2.0))
        assert np.abs(one - two).max() > 1e-3
        one, two = (released.module_scores(0 * W0, p, g, Part(range(6)), 6, scale=s) for s in (1.0, 2.0))
        np.testing.assert_allclose(one, two, rtol=1e-6)

    def test_a_module_of_zeros_scores_zero_and_not_nan(self):
        p = LoraParams(np.zeros((2, 1)), np.zeros((1, 3)))
        assert released.module_scores(np.zeros((2, 3)), p, p, Part([0, 1]), 2, scale=1.0).tolist() == [0, 0]

    def test_run_on_every_array_library(self, library, rng):
        W0, p, g = module(rng, 4, 3)
        here = released.module_scores(W0, p, g, Part(range(4)), 4, scale=0.5)
        there = [library.asarray(W0), *(LoraParams(*map(library.asarray, q)) for q in (p, g))]
        got = library.to_numpy(released.module_scores(*there, Part(range(4)), 4, scale=0.5))
        np.testing.assert_allclose(got, here, rtol=1e-15)


class TestAgainstTheExactGradient:
    """What the estimate and the criterion change, on one layer with a known loss."""

    def layer(self, rng, N=64, d=12, k=10, r=3):
        """Least squares towards a random target; alpha / r is not 1."""
        X, W0 = rng.normal(size=(N, k)), rng.normal(size=(d, k))
        p, s = LoraParams(rng.normal(size=(d, r)) / 3, rng.normal(size=(r, k)) / 3), 2.0
        T = X @ rng.normal(size=(d, k)).T
        Y, Z = forward(X, W0, p, scale=s)
        _, g = backward((Y - T) / N, X, Z, W0, p, scale=s)
        return (
            Adapted(W0, p, s),
            p,
            g,
            gradients.exact((Y - T) / N, X),
            lambda W: 0.5 / N * ((X @ W.T - T) ** 2).sum(),
        )

    def test_the_estimate_points_elsewhere_than_the_gradient(self, rng):
        """Its cosine to G is far from 1: a projection of rank 2r, less a term that is quadratic."""
        _, p, g, G, _ = self.layer(rng)
        estimate = gradients.estimated(p, g)
        cosine = (estimate * G).sum() / np.linalg.norm(estimate) / np.linalg.norm(G)
        assert abs(cosine) < 0.8

    def test_the_exact_gradient_ranks_nearer_to_the_truth(self):
        """Mean rank correlation with the measured loss change over 20 layers: squared dot, then sum of squares, then
        the released score.  An illustration on small layers, not a law."""

        def ranks(x):
            return np.argsort(np.argsort(x)).astype(float)

        found = np.zeros(3)
        for seed in range(20):
            W, p, g, G, loss = self.layer(np.random.default_rng(seed))
            whole, made = W.W0 + W.scale * (p.B @ p.A), groups.rows(12)
            truth = true_removal_loss(loss, whole, made).squared
            scores = [
                importance(whole, G, made),
                importance(whole, G, made, form="sum-squared"),
                released.module_scores(W.W0, p, g, made.parts["W"], 12, scale=W.scale),
            ]
            found += [np.corrcoef(ranks(score), ranks(truth))[0, 1] / 20 for score in scores]
        assert found[0] > found[1]
        assert found[0] > found[2]


class TestDecisions:
    """[prune-ema] [prune-mask] [prune-cubic]"""

    def test_average_is_nine_to_one_and_skips_an_update_with_a_nan(self):
        before = np.array([1.0, 2.0])
        np.testing.assert_allclose(released.update(before, np.array([11.0, 2.0])), [2.0, 2.0], rtol=1e-15)
        assert released.update(before, np.array([np.nan, 2.0])) is before

    def test_an_infinity_gets_through(self):
        assert released.update(np.zeros(2), np.array([np.inf, 1.0]))[0] == np.inf

    def test_a_group_that_scores_zero_swaps_with_a_pruned_one(self):
        """Group 2 was pruned and returns, as group 0 scores zero too and comes first; our mask does not do that."""
        average, kept = np.array([0.0, 5.0, 7.0]), np.array([True, True, False])
        assert released.prune_once(average, kept, 0.4, target=0.5).tolist() == [False, True, True]
        assert mask(average, 0.4, kept=kept).tolist() == [True, True, False]

    def test_a_pruned_group_counts_as_zero_whatever_its_average(self):
        average, kept = np.array([3.0, 5.0, 7.0]), np.array([True, True, False])
        assert released.prune_once(average, kept, 0.4, target=0.5).tolist() == [True, True, False]

    def test_counts_are_cut_and_not_rounded(self):
        """int(3 · 0.6) = 1, where 1.8 is nearer to 2."""
        got = released.prune_once(np.array([3.0, 5.0, 7.0]), np.ones(3, bool), 0.6, target=0.9)
        assert got.tolist() == [False, True, True]

    def test_it_stops_once_the_target_share_is_gone(self):
        kept = np.array([True, False])
        assert released.prune_once(np.array([1.0, 2.0]), kept, 0.9, target=0.5) is kept
        assert released.prune_once(np.zeros(0), np.zeros(0, bool), 0.9, target=0.5).shape == (0,)

    @pytest.mark.parametrize(("target", "counts"), [(0.5, [15, 5503]), (0.2, [6, 2201])])
    def test_one_half_of_32_heads_is_15(self, target, counts):
        """The last ratio is strictly below the target, and int() cuts: 15 heads, 5503 of 11008 channels."""
        found, last = released.outcome([32, 11008], target, total=312)
        assert found == counts
        assert 0.999 * target < last < target

    def test_a_short_run_stops_well_short(self):
        """100 steps, every 10th: the last is step 80, 0.5 (1 − (1/8)³) = 0.49902."""
        assert released.outcome([1000], 0.5, total=100) == ([499], 0.5 * (1 - 1 / 512))

    def test_what_is_left_of_llama_7b(self):
        """28 of 32 layers are pruned; the totals that the released program ends with."""
        total, head, channel = 6_738_415_616, 4 * 128 * 4096, 3 * 4096
        for target, want in [(0.5, 3_964_227_584), (0.2, 5_628_809_216)]:
            heads, channels = released.outcome([32, 11008], target, total=312)[0]
            assert total - 28 * (heads * head + channels * channel) == want

    def test_run_on_every_array_library(self, library):
        average, kept = (
            library.asarray(np.array([3.0, 1.0, 2.0])),
            library.asarray(np.array([True, True, True])),
        )
        got = released.prune_once(average, kept, 0.4, target=0.5)
        assert library.to_numpy(got).tolist() == [True, False, True]
        assert library.to_numpy(released.update(average, average)).shape == (3,)


class TestBadInput:
    def test_names_gradients_and_numbers(self, rng):
        one = module(rng, 3, 5)
        with pytest.raises(GroupError, match=r"modules has parts \['up'\]"):
            released.sensitivity({"up": one}, groups.channels(3), scale=1.0)
        with pytest.raises(StateError, match=r"the gradient of 'W' is None.*call backward first"):
            released.sensitivity({"W": (one[0], one[1], None)}, groups.rows(3), scale=1.0)
        with pytest.raises(ConfigError, match="non-negative ints"):
            released.outcome([-1], 0.5, total=10)
        with pytest.raises(ConfigError, match="ratio"):
            released.prune_once(np.ones(2), np.ones(2, bool), 1.5, target=0.5)
