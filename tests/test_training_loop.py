"""Training as a generator of states: methods, determinism, taking a run up again, and what it must reach."""

from dataclasses import replace

import autograd
import numpy as np
import pytest

from lora_np.errors import ConfigError, NonFiniteError, ShapeError, StateError
from lora_np.nn import network
from lora_np.nn.losses import cross_entropy
from lora_np.nn.network import forward
from lora_np.training import plans
from lora_np.training.loop import OPTIMIZERS, Settings, evaluate, generator_at, loss_and_signals, start, train
from lora_np.training.tasks import SHIFTS, Task, digit_tasks

SHORT = Settings(steps=12, report_every=4, batch=16)


def small_task(seed=0, rows=60, classes=3, width=6):
    """Points around random centres: learnt in a moment."""
    rng = np.random.default_rng(seed)
    centres = 2 * rng.normal(size=(classes, width))
    y = rng.integers(0, classes, size=rows)
    X = centres[y] + 0.3 * rng.normal(size=(rows, width))
    half = rows // 2
    return Task(X[:half], y[:half], X[half:], y[half:])


def small_network(seed=0, *, adapted=False):
    rng = np.random.default_rng(seed)
    net = network.init(rng, (6, 8, 3))
    return network.with_adapters(net, rng, rank=2, alpha=4) if adapted else net


def states(net, settings, *, seed=1, task=None):
    task = small_task() if task is None else task
    return list(train(start(net, task, settings, np.random.default_rng(seed)), task, settings))


def bytes_of(state):
    """Every number of a state, to the last bit."""
    net = state.network
    arrays = [a for layer in net.layers for a in layer]
    arrays += [a for p in net.adapters if p is not None for a in p]
    arrays += [m for m in net.masks if m is not None]
    arrays += [a for field in state.optimizer[1:] for a in field] + list(state.scores)
    numbers = (state.step, state.optimizer.step, state.loss, state.test_loss, state.accuracy)
    return [a.tobytes() for a in arrays], numbers, repr(state.rng_state)


class TestPlans:
    @pytest.mark.parametrize(
        ("method", "trainable"),
        [
            ("full", 8 * 6 + 8 + 3 * 8 + 3),
            ("lora", 2 * (8 + 6) + 2 * (3 + 8)),
            ("bias", 8 + 3),
            ("probe", 3 * 8 + 3),
        ],
    )
    def test_count_what_trains(self, method, trainable):
        """By hand for widths 6, 8, 3: r (d + k) for each adapter of rank 2."""
        net = small_network(adapted=True)
        total = 8 * 6 + 8 + 3 * 8 + 3
        assert plans.count_trainable(net, plans.plan_for(method, net)) == (
            trainable,
            total,
            trainable / total,
        )

    @pytest.mark.parametrize("method", plans.METHODS)
    def test_what_is_taken_out_can_be_put_back(self, method):
        net = small_network(adapted=True)
        plan = plans.plan_for(method, net)
        doubled = plans.with_parameters(net, plan, tuple(2 * a for a in plans.parameters(net, plan)))
        pairs = zip(plans.parameters(doubled, plan), plans.parameters(net, plan), strict=True)
        assert all((a == 2 * b).all() for a, b in pairs)
        everything = tuple(plans.Trains(True, True, True) for _ in net.layers)
        changed = [
            not np.array_equal(a, b)
            for a, b in zip(
                plans.parameters(doubled, everything), plans.parameters(net, everything), strict=True
            )
        ]
        chosen = [flag for t in plan for flag in (t.weight, t.bias, t.adapter or t.only_b, t.adapter)]
        assert not any(c and not flag for c, flag in zip(changed, chosen, strict=True))

    @pytest.mark.parametrize("method", plans.METHODS)
    def test_gradients_are_autograd_s_in_the_order_of_parameters(self, method, rng):
        """[net-backward] [net-cross-entropy], on a network whose adapters have left zero."""
        net, task = small_network(adapted=True), small_task()
        net = replace(net, adapters=tuple(type(p)(rng.normal(size=p.B.shape), p.A) for p in net.adapters))
        plan = plans.plan_for(method, net)
        flat = plans.parameters(net, plan)
        _, trace, signals = loss_and_signals(task.X, task.y, net)

        def loss(*values):
            return cross_entropy(forward(task.X, plans.with_parameters(net, plan, values)).logits, task.y)

        got = plans.gradients(trace, signals, plan)
        assert len(got) == len(flat)
        for i, g in enumerate(got):
            want = autograd.grad(loss, argnum=i)(*flat)
            assert np.abs(want).max() > 1e-4
            np.testing.assert_allclose(g, want, rtol=0, atol=1e-12 * np.abs(want).max())

    def test_lora_without_adapters_is_named(self):
        with pytest.raises(StateError, match="call with_adapters first"):
            plans.plan_for("lora", small_network())


class TestTrain:
    @pytest.mark.parametrize("method", plans.METHODS)
    def test_frozen_parameters_keep_their_bytes(self, method):
        """Property 27: only what the plan names moves, and no array that went in is written."""
        net = small_network(adapted=True)
        everything = tuple(plans.Trains(True, True, True) for _ in net.layers)
        before = [a.tobytes() for a in plans.parameters(net, everything)]
        final = states(net, replace(SHORT, method=method))[-1].network
        assert [a.tobytes() for a in plans.parameters(net, everything)] == before
        after = [a.tobytes() for a in plans.parameters(final, everything)]
        plan = plans.plan_for(method, net)
        chosen = [f for t in plan for f in (t.weight, t.bias, t.adapter or t.only_b, t.adapter)]
        assert [a != b for a, b in zip(after, before, strict=True)] == chosen

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_learns_a_small_task_with_every_optimizer(self, optimizer):
        lr = {"sgd": 0.3, "momentum": 0.05}.get(optimizer, 0.03)
        found = states(
            small_network(), Settings(steps=150, report_every=75, batch=16, optimizer=optimizer, lr=lr)
        )
        assert [state.step for state in found] == [75, 150]
        assert found[-1].accuracy >= 0.95
        assert found[-1].test_loss < 0.2

    def test_the_first_step_of_sgd_is_done_by_hand(self):
        """p − lr g with the gradient of the very batch that the generator draws; nothing of the loop is used."""
        net, task, settings = (
            small_network(),
            small_task(),
            Settings(steps=1, batch=16, optimizer="sgd", lr=0.5),
        )
        state = states(net, settings)[0]
        batch = np.random.default_rng(1).choice(30, 16, replace=False)

        def loss(W):
            layers = (net.layers[0]._replace(W=W), net.layers[1])
            return cross_entropy(forward(task.X[batch], replace(net, layers=layers)).logits, task.y[batch])

        W = net.layers[0].W
        np.testing.assert_allclose(
            state.network.layers[0].W, W - 0.5 * autograd.grad(loss)(W), rtol=0, atol=1e-14
        )
        assert state.loss == pytest.approx(float(loss(W)), rel=1e-14)

    def test_the_learning_rate_falls_to_zero_in_equal_steps(self):
        """With a gradient that never changes (SGD, all rows, one unit of bias) the steps are lr times 3/3, 2/3, 1/3."""
        task = Task(np.ones((4, 1)), np.zeros(4, int), np.ones((1, 1)), np.zeros(1, int))
        net = network.Network((network.Dense(np.zeros((2, 1)), np.array([-60.0, 60.0])),))
        settings = Settings("bias", steps=3, lr=1.0, optimizer="sgd", batch=4, report_every=1)
        biases = [-60.0, *(float(s.network.layers[0].b[0]) for s in states(net, settings, task=task))]
        np.testing.assert_allclose(np.diff(biases), [1, 2 / 3, 1 / 3], rtol=1e-12)

    def test_the_same_seed_gives_the_same_run_and_another_another(self):
        first, again, other = (states(small_network(), SHORT, seed=seed)[-1] for seed in (1, 1, 2))
        assert bytes_of(first) == bytes_of(again)
        assert bytes_of(first)[0] != bytes_of(other)[0]

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    @pytest.mark.parametrize("method", ["full", "lora"])
    def test_a_run_taken_up_at_any_state_ends_with_the_same_bits(self, method, optimizer):
        net, task = small_network(adapted=True), small_task()
        settings = replace(SHORT, method=method, optimizer=optimizer, lr=0.01)
        first = start(net, task, settings, np.random.default_rng(1))
        whole = list(train(first, task, settings))
        assert [state.step for state in whole] == [4, 8, 12]
        for state in (first, *whole[:-1]):
            assert bytes_of(list(train(state, task, settings))[-1]) == bytes_of(whole[-1])

    def test_a_paused_generator_goes_on_where_it_stood(self):
        task = small_task()
        running = train(start(small_network(), task, SHORT, np.random.default_rng(1)), task, SHORT)
        kept = next(running)
        before = bytes_of(kept)
        rest = list(running)
        assert bytes_of(kept) == before
        assert bytes_of(rest[-1]) == bytes_of(states(small_network(), SHORT)[-1])

    def test_nothing_is_left_to_do_after_the_last_step(self):
        task = small_task()
        final = states(small_network(), SHORT)[-1]
        assert list(train(final, task, SHORT)) == []
        assert evaluate(final.network, task) == (final.test_loss, final.accuracy)

    def test_starting_uses_up_no_random_numbers(self):
        rng = np.random.default_rng(3)
        start(small_network(), small_task(), SHORT, rng)
        assert rng.random() == np.random.default_rng(3).random()


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"method": "lorra"}, "did you mean 'lora'"),
            ({"optimizer": "adamm"}, "did you mean"),
            ({"steps": 0}, "steps must be a positive int"),
            ({"batch": 2.0}, "batch must be a positive int"),
            ({"report_every": True}, "report_every"),
            ({"lr": float("nan")}, "lr must be finite"),
            ({"weight_decay": -1.0}, "weight_decay"),
        ],
    )
    def test_settings_that_cannot_be(self, change, message):
        with pytest.raises(ConfigError, match=message):
            Settings(**change)

    def test_a_batch_larger_than_the_task(self, rng):
        with pytest.raises(ConfigError, match="batch is 31, but the task has 30"):
            start(small_network(), small_task(), replace(SHORT, batch=31), rng)

    def test_random_numbers_that_cannot_be_saved(self):
        for rng, message in (
            (7, "numpy.random.Generator"),
            (np.random.Generator(np.random.SFC64(1)), "SFC64"),
        ):
            with pytest.raises(ConfigError, match=message):
                start(small_network(), small_task(), SHORT, rng)
        with pytest.raises(StateError, match="MT19937"):
            generator_at({"bit_generator": "MT19937"})
        with pytest.raises(StateError, match="not a state"):
            generator_at({"bit_generator": "PCG64", "state": {}})

    def test_a_state_of_another_optimizer(self):
        state = states(small_network(), SHORT)[0]
        with pytest.raises(StateError, match=r"AdamState.*'sgd'"):
            next(train(state, small_task(), replace(SHORT, optimizer="sgd")))

    def test_a_task_of_another_width(self, rng):
        with pytest.raises(ShapeError, match="X has shape"):
            start(small_network(), small_task(width=5), SHORT, rng)

    def test_a_network_that_holds_nan_stops_at_the_first_step(self, rng):
        net = small_network()
        net.layers[0].W[0, 0] = np.nan
        with np.errstate(invalid="ignore"), pytest.raises(NonFiniteError, match="gradient"):
            states(net, SHORT)


class TestTasks:
    @pytest.mark.parametrize("shift", SHIFTS)
    def test_both_tasks_hold_out_the_same_digits(self, shift):
        base, other = digit_tasks(np.random.default_rng(0), shift=shift)
        for task in (base, other):
            assert task.X.shape == (len(task.y), 64)
            assert task.X_test.shape == (len(task.y_test), 64)
            assert 0 <= task.X.min() <= task.X.max() <= 1
        if shift != "new-classes":
            assert len(base.y_test) == len(other.y_test) == 359
        assert not {row.tobytes() for row in base.X} & {row.tobytes() for row in base.X_test}

    def test_the_shifts_do_what_they_say(self):
        made = {shift: digit_tasks(np.random.default_rng(0), shift=shift) for shift in SHIFTS}
        upright = made["inverted"][0]
        assert (made["inverted"][1].X == 1 - upright.X).all()
        turned = made["rotated-90"][1].X.reshape(-1, 8, 8)
        assert (np.rot90(upright.X.reshape(-1, 8, 8), 1, axes=(1, 2)) == turned).all()
        assert (made["renamed"][1].y == (3 * upright.y + 1) % 10).all()
        assert set(made["new-classes"][0].y.tolist()) == set(range(5))
        assert set(made["new-classes"][1].y_test.tolist()) == set(range(5, 10))

    def test_an_unknown_shift_is_named(self, rng):
        with pytest.raises(ConfigError, match="rotated-90"):
            digit_tasks(rng, shift="rotated-9")
