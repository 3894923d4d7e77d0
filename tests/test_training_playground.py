"""Runs to be looked at: the teacher's task, the recipes of methods, and every point of a run by another road."""

from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from lora_np.errors import ConfigError, DTypeError, RankError, ShapeError
from lora_np.nn import losses, network
from lora_np.nn.dense import Dense
from lora_np.nn.network import Network, forward, merged
from lora_np.rank import svd
from lora_np.training import plans, watched
from lora_np.training.recipes import RECIPES, adapted
from lora_np.training.tasks import Regression, Task, teacher_student
from lora_np.training.watched import WatchSettings, increment, student, watch

SMALL = WatchSettings(rank=2, alpha=4.0, steps=12, optimizer="sgd", lr=0.05)


def small_task(*, seed=0, rank=2, noise=0.0):
    return teacher_student(np.random.default_rng(seed), rank=rank, d=5, k=7, rows=9, noise=noise)


def points(task, settings):
    return list(watch(student(task), task, settings))


def outcome(task, settings):
    """The points of a run and what it returns."""
    run, found = watch(student(task), task, settings), []
    while True:
        try:
            found.append(next(run))
        except StopIteration as ended:
            return found, ended.value


class TestSquaredError:
    """[net-squared-error]"""

    def test_by_plain_loops(self, rng):
        Y, T = rng.normal(size=(2, 4, 3))
        total = sum((Y[n, i] - T[n, i]) ** 2 for n in range(4) for i in range(3))
        assert float(losses.squared_error(Y, T)) == pytest.approx(total / 8, rel=1e-15)

    def test_gradient_is_autograd_s(self, rng):
        Y, T = rng.normal(size=(2, 4, 3))
        want = autograd.grad(lambda Y: anp.sum((Y - T) ** 2) / (2 * 4))(Y)
        np.testing.assert_allclose(losses.squared_error_gradient(Y, T), want, rtol=1e-15)

    def test_writes_into_nothing_and_runs_on_every_library(self, library, rng):
        Y, T = rng.normal(size=(2, 4, 3))
        got = losses.squared_error_gradient(library.asarray(Y), library.asarray(T))
        np.testing.assert_array_equal(library.to_numpy(got), (Y - T) / 4)

    def test_what_does_not_fit_is_named(self):
        with pytest.raises(ShapeError, match="expected equal"):
            losses.squared_error(np.zeros((2, 3)), np.zeros((3, 2)))
        with pytest.raises(ShapeError, match="with rows"):
            losses.squared_error(np.zeros((0, 3)), np.zeros((0, 3)))
        with pytest.raises(DTypeError):
            losses.squared_error_gradient(np.zeros((2, 3)), np.zeros((2, 3), np.float32))


class TestTeacher:
    """[net-teacher]"""

    @pytest.mark.parametrize(("rank", "sigma"), [(1, [3.0]), (2, [3.0, 1.0]), (4, [3.0, 7 / 3, 5 / 3, 1.0])])
    def test_the_change_has_the_rank_and_the_strengths_that_are_said(self, rank, sigma):
        """Equal steps from 3 to 1, by this package's own SVD (the task was made without one)."""
        task = teacher_student(np.random.default_rng(3), rank=rank)
        found = svd(task.delta).sigma
        np.testing.assert_allclose(found[:rank], sigma, rtol=1e-13)
        assert found[rank] < 1e-14

    def test_targets_by_plain_loops(self):
        task = small_task()
        for X, T in ((task.X, task.T), (task.X_test, task.T_test)):
            for n in range(9):
                for i in range(5):
                    want = sum(X[n, j] * (task.W0[i, j] + task.delta[i, j]) for j in range(7))
                    assert T[n, i] == pytest.approx(want, rel=1e-13, abs=1e-14)

    def test_noise_is_on_what_is_trained_alone_and_as_large_as_said(self):
        clean, noisy = (
            teacher_student(np.random.default_rng(1), rank=2, rows=500, noise=noise) for noise in (0.0, 0.3)
        )
        np.testing.assert_array_equal(clean.T_test, noisy.T_test)
        added = noisy.T - clean.T
        assert abs(added.mean()) < 0.01
        assert added.std() == pytest.approx(0.3, rel=0.05)

    def test_what_cannot_be_is_named(self):
        rng = np.random.default_rng(0)
        with pytest.raises(RankError, match="choose rank <= 5"):
            teacher_student(rng, rank=6, d=5, k=7)
        with pytest.raises(ConfigError, match="noise"):
            teacher_student(rng, rank=1, noise=-1.0)
        with pytest.raises(ConfigError, match="rows"):
            teacher_student(rng, rank=1, rows=0)


class TestPlans:
    def test_names_and_rates_follow_the_parameters(self):
        """[optim-lora-plus]"""
        plan = (plans.Trains(weight=True, bias=True), plans.Trains(adapter=True), plans.Trains(only_b=True))
        assert plans.names(plan) == ((0, "W"), (0, "b"), (1, "B"), (1, "A"), (2, "B"))
        assert plans.rates(plan, 0.5, ratio=16) == (0.5, 0.5, 8.0, 0.5, 8.0)

    def test_a_layer_without_an_adapter_keeps_none(self, rng):
        net = network.with_adapters(network.init(rng, (4, 3, 2)), rng, rank=1, alpha=1, layers=[1])
        for method in ("lora", "lora-fa"):
            plan = plans.plan_for(method, net)
            again = plans.with_parameters(net, plan, plans.parameters(net, plan))
            assert again.adapters[0] is None
            assert again.adapters[1].B is net.adapters[1].B


class TestRecipes:
    @pytest.mark.parametrize("method", RECIPES)
    @pytest.mark.parametrize("scheme", ["kaiming", "zero-A", "both-zero", "symmetric"])
    def test_outputs_stay_as_they_were(self, method, scheme, rng):
        """[lora-init] [lora-symmetric] [net-lora]: whatever the start, training begins at the frozen network."""
        net, X = network.init(rng, (7, 6, 3)), rng.normal(size=(4, 7))
        ready = adapted(net, rng, method=method, rank=2, alpha=4, scheme=scheme)
        np.testing.assert_allclose(forward(X, ready).logits, forward(X, net).logits, rtol=0, atol=1e-13)

    def test_starts_at_singular_parts_are_lapack_s(self, rng):
        """[pissa-start] [milora-start]: the factors' product is the largest, or the smallest, part of the weight."""
        net = network.init(rng, (7, 6))
        W = net.layers[0].W
        U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
        for method, part in (("pissa", slice(0, 2)), ("milora", slice(4, 6))):
            ready = adapted(net, rng, method=method, rank=2, alpha=6)
            B, A = ready.adapters[0]
            np.testing.assert_allclose(3.0 * B @ A, (U[:, part] * sigma[part]) @ Vt[part], atol=1e-13)

    def test_the_scale_and_the_rank_are_the_method_s(self, rng):
        """[lora-scale] [lora-scale-rs]; a layer of three outputs has an adapter of rank 3 at most."""
        net = network.init(rng, (7, 6, 3))
        lora, rslora = (adapted(net, rng, method=name, rank=4, alpha=8) for name in ("lora", "rslora"))
        assert (lora.scale, rslora.scale) == (2.0, 4.0)
        assert [p.A.shape for p in lora.adapters] == [(4, 7), (3, 6)]
        assert adapted(net, rng, method="full", rank=4, alpha=8) is net

    def test_an_unknown_method_is_named(self, rng):
        with pytest.raises(ConfigError, match="method"):
            adapted(network.init(rng, (3, 2)), rng, method="magic", rank=1, alpha=1)

    @pytest.mark.parametrize("method", ["lora", "pissa", "olora", "full"])
    def test_the_increment_is_what_merging_would_add(self, method, rng):
        """[lora-delta] [net-update]: also where a part of the weight moved into the factors first."""
        net = network.init(rng, (7, 6))
        ready = adapted(net, rng, method=method, rank=2, alpha=4)
        plan = plans.plan_for(RECIPES[method].trains, ready)
        moved = plans.with_parameters(ready, plan, tuple(a + 0.1 for a in plans.parameters(ready, plan)))
        want = merged(moved).layers[0].W - net.layers[0].W
        np.testing.assert_allclose(increment(moved, net, 0), want, atol=1e-14)


def by_hand(task, settings, steps):
    """Losses of a run on the teacher's task, its layer written out and its gradients autograd's; SGD only."""
    recipe = RECIPES[settings.method]
    ready = adapted(
        student(task),
        np.random.default_rng(settings.seed),
        method=settings.method,
        rank=settings.rank,
        alpha=settings.alpha,
        scheme=settings.scheme,
    )
    (W, b), p = ready.layers[0], ready.adapters[0]
    values = {"W": W, "b": b} if p is None else {"W": W, "b": b, "B": p.B, "A": p.A}
    trains = {"full": "Wb", "lora": "BA", "lora-fa": "B", "bias": "b", "probe": "Wb"}[recipe.trains]

    def loss(values, X, T):
        weight = values["W"]
        if "B" in values:
            weight = weight + ready.scale * anp.dot(values["B"], values["A"])
        return anp.sum((anp.dot(X, weight.T) + values["b"] - T) ** 2) / (2 * X.shape[0])

    seen = []
    for _ in range(steps + 1):
        slopes = autograd.grad(loss)(values, task.X, task.T)
        sizes = {name: np.linalg.norm(slopes[name]) for name in trains}
        seen.append((loss(values, task.X, task.T), loss(values, task.X_test, task.T_test), sizes))
        rates = {name: settings.lr * (recipe.ratio if name == "B" else 1) for name in values}
        values = {n: v - rates[n] * slopes[n] if n in trains else v for n, v in values.items()}
    return seen


class TestWatch:
    @pytest.mark.parametrize("method", RECIPES)
    def test_losses_and_gradients_are_those_of_a_run_by_hand(self, method):
        """[net-backward] [net-squared-error] [lora-grad-a] [lora-grad-b] with autograd's gradients."""
        task, settings = small_task(noise=0.1), replace(SMALL, method=method, lr=0.02)
        got = points(task, settings)
        want = by_hand(task, settings, settings.steps)
        assert [point.step for point in got] == list(range(13))
        for point, (loss, held_out, sizes) in zip(got, want, strict=True):
            assert point.loss == pytest.approx(loss, rel=1e-10)
            assert point.held_out == pytest.approx(held_out, rel=1e-10)
            assert point.layers[0].gradients == pytest.approx(sizes, rel=1e-9, abs=1e-13)

    def test_the_spectrum_is_of_the_increment(self):
        """The singular values of s B A by this package's SVD, on a full fine-tuning run of one step by hand."""
        task = small_task()
        settings = replace(SMALL, method="full", steps=1, lr=0.5)
        gW = (task.X @ task.W0.T - task.T).T @ task.X / 9
        last = points(task, settings)[-1]
        np.testing.assert_allclose(last.layers[0].sigma, svd(-0.5 * gW).sigma, rtol=1e-10, atol=1e-13)
        assert last.layers[0].sizes["W"] == pytest.approx(0.5 * np.linalg.norm(gW), rel=1e-12)

    def test_adam_moves_every_number_by_the_rate_at_first(self):
        """[optim-adam]: its first step is the rate times the sign, so B, from zero, has the norm lr √(d r)."""
        last = points(small_task(), replace(SMALL, optimizer="adam", steps=1))[-1]
        assert last.layers[0].sizes["B"] == pytest.approx(0.05 * np.sqrt(5 * 2), rel=1e-5)

    def test_both_zero_never_moves(self):
        """[lora-init]: both gradients are exactly zero, with every optimizer."""
        for optimizer in ("sgd", "momentum", "adam"):
            got = points(small_task(), replace(SMALL, scheme="both-zero", optimizer=optimizer, steps=40))
            assert len({(p.loss, p.held_out) for p in got}) == 1
            assert all(p.layers[0].gradients == {"B": 0.0, "A": 0.0} for p in got)
            assert all((p.layers[0].sigma == 0).all() for p in got)

    def test_which_factor_is_zero_decides_which_one_moves_first(self):
        """[lora-grad-a] [lora-grad-b]: from one and the same loss, by different first steps."""
        b_zero, a_zero = (points(small_task(), replace(SMALL, scheme=name)) for name in ("kaiming", "zero-A"))
        assert b_zero[0].loss == a_zero[0].loss
        assert b_zero[0].layers[0].gradients["A"] == 0 < b_zero[0].layers[0].gradients["B"]
        assert a_zero[0].layers[0].gradients["B"] == 0 < a_zero[0].layers[0].gradients["A"]
        assert b_zero[1].loss != a_zero[1].loss

    def test_enough_rank_learns_the_teacher_and_less_stays_on_a_shelf(self):
        """At the default: r = 4 and 8 learn rank 4; r = 2 leaves what two directions weigh, ½ (σ3² + σ4²) ≈ 1.9."""
        task = teacher_student(np.random.default_rng(0), rank=4)
        two, four, eight = (points(task, WatchSettings(rank=rank))[-1] for rank in (2, 4, 8))
        assert four.held_out < 1e-4
        assert eight.held_out < 1e-4
        assert 1.0 < two.held_out < 4.0
        assert [int((p.layers[0].sigma > 0.05).sum()) for p in (two, four, eight)] == [2, 4, 4]

    def test_more_rank_learns_noise(self):
        """Bigger is not better: with noise, r = 32 fits the training rows more closely and the truth less."""
        task = teacher_student(np.random.default_rng(0), rank=4, noise=1.0)
        four, full = (points(task, WatchSettings(rank=rank))[-1] for rank in (4, 32))
        assert full.loss < 0.6 * four.loss
        assert full.held_out > 1.5 * four.held_out

    def test_alpha_is_not_the_learning_rate(self):
        task = teacher_student(np.random.default_rng(0), rank=4)
        usual = WatchSettings(steps=50)
        runs = [usual, replace(usual, alpha=16.0), replace(usual, lr=0.02)]
        plain, strong, fast = ([p.loss for p in points(task, each)] for each in runs)
        assert plain[0] == strong[0] == fast[0]
        assert min(abs(a - b) / a for a, b in zip(strong[2:], fast[2:], strict=True)) > 1e-3
        assert strong[-1] != plain[-1] != fast[-1]

    @pytest.mark.parametrize(
        "change", [{"optimizer": "sgd", "lr": 0.3}, {"optimizer": "sgd", "lr": 1e200}, {"lr": 1e3}]
    )
    def test_a_run_that_diverges_ends_with_finite_numbers(self, change):
        """No warning, no exception, no number that is not finite; the step is told."""
        task = teacher_student(np.random.default_rng(0), rank=4)
        found, left_at = outcome(task, replace(WatchSettings(), **change))
        assert left_at is not None
        assert found[-1].step < left_at < 20
        numbers = [v for p in found for v in (p.loss, p.held_out, *p.layers[0].sigma)]
        assert np.isfinite(numbers).all()

    def test_a_run_that_ends_tells_nothing(self):
        assert outcome(small_task(), SMALL)[1] is None

    def test_gradients_that_are_not_finite_end_a_run_too(self, monkeypatch):
        from lora_np.errors import NonFiniteError

        def refuse(*_args):
            raise NonFiniteError("a gradient is not finite", fix="")

        monkeypatch.setattr(watched, "_loss_and_gradients", refuse)
        assert outcome(small_task(), SMALL) == ([], 0)

    def test_the_same_settings_give_the_same_numbers_and_write_into_nothing(self):
        task = small_task()
        before = [a.tobytes() for a in task]
        batched = replace(SMALL, batch=4)
        runs = [points(task, batched) for _ in range(2)]
        assert [p.loss for p in runs[0]] == [p.loss for p in runs[1]]
        assert [a.tobytes() for a in task] == before
        assert [p.loss for p in runs[0]] != [p.loss for p in points(task, replace(batched, seed=1))]
        whole = [[p.loss for p in points(task, replace(SMALL, batch=b))] for b in (0, 9, 1000)]
        assert whole[0] == whole[1] == whole[2]

    def test_a_task_of_classes_is_learnt_by_cross_entropy(self, rng):
        """[net-cross-entropy]: at step 0, the mean surprise written out."""
        X, y = rng.normal(size=(8, 7)), rng.integers(0, 3, size=8)
        net = Network((Dense(rng.normal(size=(3, 7)), np.zeros(3)),))
        first, *_, last = watch(net, Task(X, y, X, y), replace(SMALL, steps=60, optimizer="adam", lr=0.1))
        logits = X @ net.layers[0].W.T
        want = -np.mean([row[c] - np.log(np.exp(row).sum()) for row, c in zip(logits, y, strict=True)])
        assert first.loss == pytest.approx(want, rel=1e-12)
        assert last.loss < 0.2 * first.loss

    def test_points_are_few_whatever_the_length(self):
        """Every step at first; then a hundred or so; the last one always."""
        for steps in (1, 7, 50, 99, 300, 1000, 1999):
            seen = WatchSettings(steps=steps).points
            assert seen[0] == 0
            assert seen[-1] == steps
            assert seen[:10] == tuple(range(min(10, steps + 1)))
            assert len(seen) <= 215

    @pytest.mark.parametrize(
        "wrong",
        [
            {"method": "magic"},
            {"optimizer": "magic"},
            {"steps": 0},
            {"batch": -1},
            {"seed": -1},
            {"lr": float("nan")},
            {"lr": -1.0},
        ],
    )
    def test_settings_that_cannot_be_are_named(self, wrong):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            WatchSettings(**wrong)

    def test_a_student_starts_at_the_frozen_weight(self):
        task = small_task()
        net = student(task)
        assert net.layers[0].W is task.W0
        assert isinstance(task, Regression)
        assert not net.layers[0].b.any()
