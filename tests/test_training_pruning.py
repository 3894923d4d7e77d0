"""Pruning hidden units: every criterion against another road, masks, schedule, and the smaller network."""

from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from lora_np.errors import ConfigError, StateError
from lora_np.lora import LoraParams
from lora_np.nn import network
from lora_np.nn.dense import Dense
from lora_np.nn.losses import cross_entropy
from lora_np.nn.network import forward
from lora_np.training import loop, pruning, scores
from lora_np.training.loop import Settings, generator_at, loss_and_signals, start
from lora_np.training.pruning import PruneSettings, mask_units, physically_shrunk, prune_and_train, sparsity
from tests.test_training_loop import bytes_of, small_task

TRAINING = Settings(method="lora", steps=40, lr=0.02, report_every=5, batch=16)
SETTINGS = PruneSettings(ratio=0.5, every=5, training=TRAINING)


def adapted_network(seed=0, activation="tanh"):
    """Widths 6, 8, 10, 3, biases and both factors away from zero."""
    rng = np.random.default_rng(seed)
    net = network.with_adapters(network.init(rng, (6, 8, 10, 3), activation=activation), rng, rank=2, alpha=3)
    layers = tuple(Dense(layer.W, 0.3 * rng.normal(size=layer.b.shape)) for layer in net.layers)
    adapters = tuple(LoraParams(0.3 * rng.normal(size=p.B.shape), p.A) for p in net.adapters)
    return replace(net, layers=layers, adapters=adapters)


def seen_by(net, seed=0):
    task = small_task(seed)
    _, trace, signals = loss_and_signals(task.X, task.y, net)
    return scores.Seen(net, task.X, task.y, trace, signals, np.random.default_rng(7))


def in_use(net, at):
    """W0 + s B A, written out."""
    p = net.adapters[at]
    return net.layers[at].W + net.scale * p.B @ p.A


def spread(per_weight, hidden):
    """Sum what each weight scores over the rows of the maker and the columns of the reader."""
    return per_weight[hidden].sum(axis=1) + per_weight[hidden + 1].sum(axis=0)


class TestCriteria:
    """Every score against a derivation that shares no code with it: autograd, loops over units, dense formulas."""

    @pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
    def test_gradient_dot_is_the_derivative_by_a_gate_on_the_unit(self, activation):
        """[prune-group-dot] [prune-taylor-1]: Σ_S G W is how the loss changes when the unit's weights are scaled.

        Scaling row and bias by t multiplies the output H; scaling the reader's column multiplies the activation.
        Autograd differentiates by both gates at 1; to rounding, 1e-12 of the largest.
        """
        net = adapted_network(activation=activation)
        seen = seen_by(net)
        bend = {
            "relu": lambda h: anp.maximum(h, 0),
            "tanh": anp.tanh,
            "gelu": lambda h: 0.5 * h * (1 + anp.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3))),
        }[activation]

        def loss(before, after, hidden):
            X = seen.X
            for at in range(3):
                H = anp.dot(X, in_use(net, at).T) + net.layers[at].b
                X = bend(H * before) * after if at == hidden else bend(H)
            return -anp.mean(H[np.arange(len(seen.y)), seen.y] - anp.log(anp.sum(anp.exp(H), axis=1)))

        for hidden in (0, 1):
            ones = np.ones(net.widths[hidden + 1])
            dots = sum(autograd.grad(loss, argnum=i)(ones, ones, hidden) for i in (0, 1))
            got = scores.by_gradient_dot(seen, hidden)
            np.testing.assert_allclose(got, dots**2, rtol=0, atol=1e-12 * (dots**2).max())

    def test_gradient_squares_are_the_sum_over_weights(self):
        """[prune-group-sum], with autograd's gradient of the weights in use, written out whole."""
        net = adapted_network()
        seen = seen_by(net)
        merged = network.merged(net)

        def loss(W, at):
            layers = tuple(Dense(W, b) if i == at else Dense(V, b) for i, (V, b) in enumerate(merged.layers))
            return cross_entropy(forward(seen.X, replace(merged, layers=layers)).logits, seen.y)

        squares = [(autograd.grad(loss)(in_use(net, at), at) * in_use(net, at)) ** 2 for at in range(3)]
        for hidden in (0, 1):
            want = spread(squares, hidden)
            np.testing.assert_allclose(
                scores.by_gradient_squares(seen, hidden), want, rtol=0, atol=1e-12 * want.max()
            )

    def test_estimate_is_the_paper_s_formula(self):
        """[prune-estimate]: gB A + B gA − gB gA as whole matrices."""
        net = adapted_network()
        seen = seen_by(net)
        squares = []
        for at, (p, g) in enumerate(zip(net.adapters, seen.signals.adapters, strict=True)):
            squares.append(((g.B @ p.A + p.B @ g.A - g.B @ g.A) * in_use(net, at)) ** 2)
        for hidden in (0, 1):
            want = spread(squares, hidden)
            np.testing.assert_allclose(
                scores.by_estimate(seen, hidden), want, rtol=0, atol=1e-12 * want.max()
            )

    def test_released_normalizes_the_absolute_values_of_each_module(self):
        """[prune-released]: each module's sums over its norm, then added."""
        net = adapted_network()
        seen = seen_by(net)
        sizes = []
        for at, (p, g) in enumerate(zip(net.adapters, seen.signals.adapters, strict=True)):
            sizes.append(np.abs((g.B @ p.A + p.B @ g.A - g.B @ g.A) * in_use(net, at)))
        for hidden in (0, 1):
            rows, columns = sizes[hidden].sum(axis=1), sizes[hidden + 1].sum(axis=0)
            want = rows / (np.linalg.norm(rows) + 1e-8) + columns / (np.linalg.norm(columns) + 1e-8)
            np.testing.assert_allclose(scores.by_released(seen, hidden), want, rtol=1e-12)

    def test_magnitude_adds_up_the_weights_in_use(self):
        net = adapted_network()
        sizes = [np.abs(in_use(net, at)) for at in range(3)]
        for hidden in (0, 1):
            got = scores.by_magnitude(seen_by(net), hidden)
            np.testing.assert_allclose(got, spread(sizes, hidden), rtol=1e-13)

    def test_removal_is_the_loss_without_the_unit(self):
        """[prune-true]: the unit is silenced by a mask, another road than zeroing its weights; tanh(0) = 0."""
        net = adapted_network()
        seen = seen_by(net)
        for hidden in (0, 1):
            want = []
            for unit in range(net.widths[hidden + 1]):
                mask = np.arange(net.widths[hidden + 1]) != unit
                silenced = replace(net, masks=tuple(mask if h == hidden else None for h in (0, 1)))
                logits = forward(seen.X, silenced).logits
                want.append(
                    float(cross_entropy(logits, seen.y) - cross_entropy(seen.trace.logits, seen.y)) ** 2
                )
            got = scores.by_removal(seen, hidden)
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * max(want))

    def test_chance_follows_the_generator(self):
        seen = seen_by(adapted_network())
        again = seen._replace(rng=np.random.default_rng(7))
        assert scores.at_random(seen, 0).tolist() == scores.at_random(again, 0).tolist()
        assert scores.at_random(seen, 0).tolist() != scores.at_random(seen, 0).tolist()

    @pytest.mark.parametrize("criterion", scores.CRITERIA)
    def test_every_criterion_scores_every_unit_of_every_hidden_layer(self, criterion):
        found = scores.score(criterion, seen_by(adapted_network()))
        assert [s.shape for s in found] == [(8,), (10,)]
        assert all((s >= 0).all() and s.dtype == np.float64 for s in found)
        assert scores.CRITERIA[criterion].words

    @pytest.mark.parametrize("criterion", ["estimate", "released"])
    def test_what_reads_factors_needs_them(self, criterion):
        net = replace(adapted_network(), adapters=())
        with pytest.raises(StateError, match="layer 0 has no adapter"):
            scores.score(criterion, seen_by(net))

    @pytest.mark.parametrize("criterion", ["removal", "gradient-dot", "gradient-squares", "magnitude"])
    def test_the_others_do_not(self, criterion):
        """On merged weights they give what they give on adapted ones: the weight in use is what counts."""
        net = adapted_network()
        with_factors, without = (scores.score(criterion, seen_by(n)) for n in (net, network.merged(net)))
        for a, b in zip(with_factors, without, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * b.max())


class TestPruning:
    @pytest.mark.parametrize("criterion", scores.CRITERIA)
    def test_meets_the_ratio_exactly_and_gives_nothing_back(self, criterion):
        """[prune-mask] [prune-cubic]: of 8 and 10 units exactly 4 and 5 in the end; masks only lose units."""
        task, settings = small_task(), replace(SETTINGS, criterion=criterion)
        first = start(adapted_network(), task, TRAINING, np.random.default_rng(1))
        kept = [np.ones(8, bool), np.ones(10, bool)]
        for state in prune_and_train(first, task, settings):
            for before, now in zip(kept, state.network.masks, strict=True):
                assert not (now & ~before).any()
                assert (~now).sum() == int(len(now) * settings.ratio_at(state.step))
            kept = state.network.masks
        assert [int(m.sum()) for m in kept] == [4, 5]
        assert sparsity(state.network) == 0.5

    def test_scores_are_averaged_and_rank_the_units(self):
        """[prune-ema]: the first average is 0.1 of the scores of the first batch, before its step."""
        task, net = small_task(), adapted_network()
        settings = replace(SETTINGS, every=1, training=replace(TRAINING, steps=20, report_every=1))
        first = start(net, task, settings.training, np.random.default_rng(1))
        one, two = list(prune_and_train(first, task, settings))[:2]
        rng = generator_at(first.rng_state)
        averages = [0.0, 0.0]
        for state, at in ((one, net), (two, one.network)):
            X, y = loop.draw_batch(task, settings.training, rng)
            _, trace, signals = loss_and_signals(X, y, at)
            new = scores.score("gradient-dot", scores.Seen(at, X, y, trace, signals, rng))
            averages = [0.9 * a + 0.1 * s for a, s in zip(averages, new, strict=True)]
            for got, want in zip(state.scores, averages, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-13)

    def test_training_goes_on_while_units_go(self):
        task = small_task()
        first = start(adapted_network(), task, TRAINING, np.random.default_rng(1))
        final = list(prune_and_train(first, task, SETTINGS))[-1]
        assert final.accuracy >= 0.9 > first.accuracy
        frozen = zip(first.network.layers, final.network.layers, strict=True)
        assert all(a is b for old, new in frozen for a, b in zip(old, new, strict=True))

    @pytest.mark.parametrize("criterion", scores.CRITERIA)
    def test_taken_up_at_any_state_it_ends_with_the_same_bits(self, criterion):
        task, settings = small_task(), replace(SETTINGS, criterion=criterion)
        first = start(adapted_network(), task, TRAINING, np.random.default_rng(1))
        whole = list(prune_and_train(first, task, settings))
        for state in (first, whole[1], whole[4]):
            assert bytes_of(list(prune_and_train(state, task, settings))[-1]) == bytes_of(whole[-1])

    def test_a_ratio_of_zero_is_training(self):
        task = small_task()
        first = start(adapted_network(), task, TRAINING, np.random.default_rng(1))
        pruned = list(prune_and_train(first, task, replace(SETTINGS, ratio=0.0)))[-1]
        trained = list(loop.train(first, task, TRAINING))[-1]
        assert pruned.network.adapters[0].B.tobytes() == trained.network.adapters[0].B.tobytes()
        assert sparsity(pruned.network) == 0.0

    def test_equal_scores_go_by_lowest_index(self):
        net = adapted_network()
        masks = mask_units(net, (np.ones(8), np.ones(10)), 0.25).masks
        assert masks[0].tolist() == [False] * 2 + [True] * 6
        assert masks[1].tolist() == [False] * 2 + [True] * 8


class TestShrinking:
    @pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
    @pytest.mark.parametrize("hidden", [(0,), (1,), (0, 1)])
    def test_the_smaller_network_computes_what_the_masked_one_did(self, activation, hidden, rng):
        """[prune-shrink]: a sum without its zeros; rounding may differ, 1e-13 of the largest logit."""
        net = adapted_network(activation=activation)
        masks = tuple(rng.random(w) > 0.4 if h in hidden else None for h, w in enumerate((8, 10)))
        masked = replace(net, masks=masks)
        small = physically_shrunk(masked)
        X = rng.normal(size=(20, 6))
        want = forward(X, masked).logits
        assert np.abs(forward(X, small).logits - want).max() <= 1e-13 * np.abs(want).max()
        kept = [w if m is None else int(m.sum()) for m, w in zip(masks, (8, 10), strict=True)]
        assert small.widths == (6, *kept, 3)
        assert [p.B.shape[0] for p in small.adapters] == [*kept, 3]
        assert [p.A.shape[1] for p in small.adapters] == [6, *kept]

    def test_it_merges_and_trains_on(self, rng):
        net = mask_units(adapted_network(), (rng.random(8), rng.random(10)), 0.5)
        small = physically_shrunk(net)
        X = rng.normal(size=(5, 6))
        flat = network.merged(small)
        np.testing.assert_allclose(forward(X, flat).logits, forward(X, net).logits, rtol=0, atol=1e-12)
        task = small_task()
        states = loop.train(start(small, task, TRAINING, rng), task, TRAINING)
        assert list(states)[-1].network.widths == (6, 4, 5, 3)

    def test_without_masks_nothing_goes(self):
        net = adapted_network()
        assert physically_shrunk(net).widths == net.widths


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"criterion": "gradient-dott"}, "did you mean 'gradient-dot'"),
            ({"ratio": 1.0}, "ratio"),
            ({"ratio": -0.1}, "ratio"),
            ({"ratio": float("nan")}, "ratio must be finite"),
            ({"every": 0}, "every"),
            ({"decay": 1.0}, "decay"),
            ({"warmup": 0.8, "cooldown": 0.3}, "warmup"),
            ({"every": 41}, "would not be reached"),
            ({"every": 15, "cooldown": 0.1}, "would not be reached"),
        ],
    )
    def test_settings_that_cannot_be(self, change, message):
        with pytest.raises(ConfigError, match=message):
            replace(SETTINGS, **change)

    def test_a_ratio_that_would_empty_a_layer(self):
        """The ratio of 0.99 of 8 units is 7, so a unit remains; a layer of no units cannot be masked to one."""
        net = mask_units(adapted_network(), (np.ones(8), np.ones(10)), 0.99)
        assert [int(m.sum()) for m in net.masks] == [1, 1]

    def test_sparsity_without_hidden_layers_is_zero(self, rng):
        assert sparsity(network.init(rng, (3, 2))) == 0.0

    def test_the_module_ranks_each_layer_by_itself(self):
        """Scores of one layer a million times the other's change nothing: half of each goes."""
        net = pruning.mask_units(adapted_network(), (1e6 + np.arange(8.0), np.arange(10.0)), 0.5)
        assert [int(m.sum()) for m in net.masks] == [4, 5]
