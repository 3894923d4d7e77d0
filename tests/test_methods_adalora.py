"""AdaLoRA beyond its layer: the penalty on P and Q, the scores, the budget, and which triplets stay."""

import math
from fractions import Fraction

import autograd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.errors import ConfigError, DTypeError, NonFiniteError, RankError, RankWarning, ShapeError
from lora_np.methods import adalora
from lora_np.methods.adalora import AdaloraParams
from lora_np.methods.adalora_budget import (
    History,
    budget,
    keep,
    mask,
    sensitivity,
    smooth,
    start,
    triplet_scores,
)
from tests.exact import exact_error_in_u
from tests.naive import methods_low_rank as naive


def triplets(rng, d=5, r=3, k=4, *, integers=True, dtype=np.float64):
    def array(*shape):
        x = rng.integers(-3, 4, size=shape) if integers else rng.normal(size=shape)
        return x.astype(dtype)

    return AdaloraParams(array(d, r), array(r), array(r, k))


# ---- start and scale ---------------------------------------------------------------------------------------


def test_the_increment_starts_at_zero_with_random_directions():
    """[adalora-init]  lam = 0; P and Q are Gaussian of the given width: mean 0, variance sigma², kurtosis 3."""
    p = adalora.init(np.random.default_rng(1), 300, 400, 200, sigma=0.5)
    assert p.lam.shape == (200,)
    assert not p.lam.any()
    for x in (p.P, p.Q):
        n = x.size
        assert abs(x.mean()) < 5 * 0.5 / math.sqrt(n)
        assert abs(x.var() / 0.25 - 1) < 5 * math.sqrt(2 / n)
        assert abs((x**4).mean() / 0.5**4 - 3) < 5 * math.sqrt(96 / n)
    W0 = np.ones((300, 400))
    assert (adalora.merge(W0, p, scale=3.0) == W0).all()


def test_the_width_is_that_of_the_released_code_unless_given():
    """[adalora-init]"""
    small = adalora.init(np.random.default_rng(1), 30, 40, 20)
    assert np.allclose(
        small.P, 0.04 * adalora.init(np.random.default_rng(1), 30, 40, 20, sigma=0.5).P, rtol=1e-14
    )
    assert adalora.init(np.random.default_rng(1), 3, 4, 2, dtype=np.float32).Q.dtype == np.float32
    still = adalora.init(np.random.default_rng(1), 3, 4, 2, sigma=0)
    assert not still.P.any()
    assert not still.Q.any()
    with pytest.warns(RankWarning):
        empty = adalora.init(np.random.default_rng(1), 0, 0, 2)
    assert [x.shape for x in empty] == [(0, 2), (2,), (2, 0)]


@pytest.mark.parametrize(("alpha", "rank"), [(8, 4), (1, 3), (-2.5, 12), (0, 1)])
def test_the_released_scale_guards_its_division(alpha, rank):
    """[adalora-scale]  alpha / (r + 1e-5), each operation rounded once; alpha = 0 turns the increment off."""
    want = Fraction(alpha) / (rank + Fraction(1e-5))
    assert abs(Fraction(adalora.scaling(alpha, rank)) - want) <= 2 * Fraction(2) ** -53 * abs(want)


# ---- the penalty -------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_the_penalty_is_the_squared_distance_from_orthonormal(seed, d, r, k):
    """[adalora-penalty]  On small integers, the loops' number exactly; also for r > d and r > k."""
    p = triplets(np.random.default_rng(seed), d, r, k)
    assert float(adalora.penalty(p)) == naive.penalty(p.P.tolist(), p.Q.tolist())


def test_the_penalty_is_zero_exactly_where_both_factors_are_orthonormal(rng):
    """[adalora-penalty]  A permutation's columns are; the columns of P and the rows of Q, not the other way round."""
    tall = np.eye(5)[:, [3, 0, 4]]
    p = AdaloraParams(tall, np.ones(3), tall.T)
    assert float(adalora.penalty(p)) == 0.0
    assert not any(g.any() for g in adalora.penalty_gradient(p))
    assert float(adalora.penalty(p._replace(Q=2 * p.Q))) == 3 * 9.0


@pytest.mark.parametrize(("d", "r", "k"), [(5, 3, 4), (2, 3, 2), (1, 1, 1), (7, 2, 9)])
def test_the_penaltys_gradient_agrees_with_autograd(d, r, k, rng):
    """[adalora-penalty-grad]  HIPS autograd on the definition; lam has none."""
    p = triplets(rng, d, r, k, integers=False)

    def definition(P, Q):
        return ((P.T @ P - np.eye(r)) ** 2).sum() + ((Q @ Q.T - np.eye(r)) ** 2).sum()

    gP, gQ = autograd.grad(definition, argnum=(0, 1))(p.P, p.Q)
    g = adalora.penalty_gradient(p)
    assert not g.lam.any()
    for got, want, x in ((g.P, gP, abs(p.P)), (g.Q.T, gQ.T, abs(p.Q).T)):
        assert np.linalg.norm(want) > 1e-3
        assert error_in_u(got, want, 4 * x @ (x.T @ x + np.eye(r))) <= 2 * GOLD


def test_the_penalty_runs_in_every_library(library, rng):
    """[adalora-penalty] [adalora-penalty-grad]  Equal numbers; the same library out."""
    p = triplets(rng)
    theirs = AdaloraParams(*(library.asarray(x) for x in p))
    assert float(adalora.penalty(theirs)) == float(adalora.penalty(p))
    for got, want in zip(adalora.penalty_gradient(theirs), adalora.penalty_gradient(p), strict=True):
        assert type(got) is type(theirs.P)
        assert (library.to_numpy(got) == want).all()


# ---- the scores --------------------------------------------------------------------------------------------


def test_the_averages_follow_the_papers_order(rng):
    """[adalora-sensitivity] [adalora-smoothing]  Five steps, number by number, on Fractions.

    The strays are measured from the new mean; taking the old one gives other numbers.
    """
    steps = [(triplets(rng, integers=False), triplets(rng, integers=False)) for _ in range(5)]
    history = start(steps[0][0])
    for p, g in steps:
        history = smooth(history, p, g, beta1=0.75, beta2=0.625)
    b1, b2 = Fraction(3, 4), Fraction(5, 8)
    for field in AdaloraParams._fields:
        shape = getattr(history.mean, field).shape
        means, spreads = np.zeros(shape, dtype=object), np.zeros(shape, dtype=object)
        for index in np.ndindex(shape):
            mean = spread = Fraction(0)
            for p, g in steps:
                w, gw = (Fraction(float(getattr(x, field)[index])) for x in (p, g))
                mean, spread = naive.smooth(mean, spread, abs(w * gw), b1, b2)
            means[index], spreads[index] = mean, spread
        size = 2 * means.astype(float)
        assert exact_error_in_u(getattr(history.mean, field), means, size) <= GOLD
        assert (
            exact_error_in_u(getattr(history.spread, field), spreads, size + 2 * spreads.astype(float))
            <= GOLD
        )


def test_the_default_rates_are_the_papers():
    """[adalora-smoothing]  Both 0.85."""
    one = AdaloraParams(np.ones((1, 1)), np.ones(1), np.ones((1, 1)))
    history = smooth(start(one), one, one)
    assert history.mean.lam[0] == 1 - 0.85
    assert history.spread.lam[0] == (1 - 0.85) * (1 - (1 - 0.85))
    assert smooth(start(one), one, one, beta1=0.5).spread.lam[0] == (1 - 0.85) * 0.5
    assert smooth(start(one), one, one, beta2=0.5).mean.lam[0] == 1 - 0.85


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4]), st.integers(1, 4), st.sampled_from([1, 2, 8]))
def test_a_triplets_score_adds_averages_over_its_vectors(seed, d, r, k):
    """[adalora-score]  s(lam_i) + mean over column i of P + mean over row i of Q; powers of two divide exactly."""
    rng = np.random.default_rng(seed)
    mean, spread = triplets(rng, d, r, k), triplets(rng, d, r, k)
    got = triplet_scores(History(mean, spread))
    s = [a * b for a, b in zip(mean, spread, strict=True)]
    for i in range(r):
        want = naive.triplet_score(s[1].tolist()[i], s[0][:, i].tolist(), s[2][i].tolist())
        assert float(got[i]) == want


def test_at_the_start_no_triplet_has_a_score(rng):
    """[adalora-score]  With lam = 0 the gradients of P and Q vanish, and lam's own sensitivity is |0 g|: all tie."""
    p = adalora.init(rng, 5, 4, 3)
    X, W0, gY = rng.normal(size=(6, 4)), rng.normal(size=(5, 4)), rng.normal(size=(6, 5))
    Y, Z = adalora.forward(X, W0, p, scale=2.0)
    assert (Y == X @ W0.T).all()
    _, g = adalora.backward(gY, X, Z, W0, p, scale=2.0)
    assert g.lam.all()
    assert not g.P.any()
    scores = triplet_scores(smooth(start(p), p, g))
    assert not scores.any()
    assert keep([scores], 2)[0].tolist() == [True, True, False]


# ---- the budget --------------------------------------------------------------------------------------------


@given(
    st.integers(0, 60),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(1, 40),
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_the_budget_is_the_cubic_rounded_down(step, warmup, cooldown, length, final, more):
    """[adalora-budget]  Against Fractions: before, in and after the shrinking; ends, monotone, never outside."""
    total = warmup + length + cooldown
    settings = {
        "total": total,
        "initial": final + more,
        "final": final,
        "warmup": warmup,
        "cooldown": cooldown,
    }
    got = budget(step, **settings)
    if step <= warmup:
        want = final + more
    elif step >= total - cooldown:
        want = final
    else:
        want = math.floor(final + more * (1 - Fraction(step - warmup, length)) ** 3)
    assert type(got) is int
    assert got == want
    assert final <= budget(step + 1, **settings) <= got <= final + more


def test_where_the_cubic_is_whole_no_rounding_loses_one():
    """[adalora-budget]  125 (2/5)³ is 8 exactly; in floating point 0.4³ · 125 may come out below."""
    assert [budget(t, total=5, initial=129, final=4) for t in range(6)] == [129, 68, 31, 12, 5, 4]


def test_the_default_has_no_warm_up_and_no_cool_down():
    """[adalora-budget]"""
    assert budget(0, total=10, initial=10, final=1) == 10
    assert budget(1, total=10, initial=1001, final=1) == 730
    assert budget(9, total=10, initial=1001, final=1) == 2
    assert budget(10, total=10, initial=10, final=1) == 1


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=5), max_size=4), st.integers(0, 22))
def test_exactly_the_budget_is_kept_and_ties_go_to_the_earlier(scores, b):
    """[adalora-keep]  Property 70 for triplets: the loops take the best one at a time; many scores are equal."""
    got = keep([np.array(values) for values in scores], b)
    assert [m.tolist() for m in got] == naive.keep(scores, b)
    assert sum(int(m.sum()) for m in got) == min(b, sum(map(len, scores)))


def test_one_budget_serves_all_layers(rng):
    """[adalora-keep]  A layer may lose all its triplets and another none; the order is that of the numbers."""
    masks = keep([np.array([1.0, 2.0]), np.array([5.0, 9.0, 3.0])], 3)
    assert [m.tolist() for m in masks] == [[False, False], [True, True, True]]
    assert keep([np.array([-1.0, -2.0])], 1)[0].tolist() == [True, False]
    assert keep([], 3) == ()


def test_a_masked_triplet_loses_its_singular_value_only_and_can_come_back(rng, library):
    """[adalora-keep]  P and Q are untouched; the weight is that of the kept triplets; the arguments stay."""
    p = triplets(rng)
    theirs = AdaloraParams(*(library.asarray(x) for x in p))
    kept = keep([library.asarray(np.array([3.0, 1.0, 2.0]))], 2)[0]
    after = mask(theirs, kept)
    assert library.to_numpy(kept).tolist() == [True, False, True]
    assert library.to_numpy(after.lam).tolist() == [p.lam[0], 0.0, p.lam[2]]
    assert after.P is theirs.P
    assert after.Q is theirs.Q
    assert (library.to_numpy(theirs.lam) == p.lam).all()
    W = library.to_numpy(adalora.merge(library.asarray(np.zeros((5, 4))), after, scale=1.0))
    thin = AdaloraParams(p.P[:, [0, 2]], p.lam[[0, 2]], p.Q[[0, 2]])
    assert (adalora.merge(np.zeros((5, 4)), thin, scale=1.0) == W).all()


def test_the_scores_run_in_every_library(rng, library):
    """[adalora-sensitivity] [adalora-smoothing] [adalora-score]  Equal bits; the same library out."""
    p, g = triplets(rng), triplets(rng)
    theirs = [AdaloraParams(*(library.asarray(x) for x in t)) for t in (p, g)]
    mine = smooth(start(p), p, g, beta1=0.5, beta2=0.25)
    other = smooth(start(theirs[0]), *theirs, beta1=0.5, beta2=0.25)
    for ours, his in zip((*mine.mean, *mine.spread), (*other.mean, *other.spread), strict=True):
        assert type(his) is type(theirs[0].P)
        assert (library.to_numpy(his) == ours).all()
    assert np.allclose(library.to_numpy(triplet_scores(other)), triplet_scores(mine), rtol=1e-15)


def test_training_by_the_rule_gives_up_the_useless_layer(rng):
    """[adalora-keep] [adalora-budget]  Two layers, one whose output the loss never sees: it ends with no triplet."""
    X, W0 = rng.normal(size=(32, 6)), np.zeros((5, 6))
    target = X @ rng.normal(size=(6, 5))
    layers = [adalora.init(rng, 5, 6, 4, sigma=0.3) for _ in range(2)]
    histories = [start(p) for p in layers]
    for t in range(1, 61):
        Y, Z = adalora.forward(X, W0, layers[0], scale=1.0)
        _, g = adalora.backward((Y - target) / 32, X, Z, W0, layers[0], scale=1.0)
        grads = [g, AdaloraParams(*(0 * x for x in layers[1]))]
        histories = [smooth(*args) for args in zip(histories, layers, grads, strict=True)]
        layers = [
            AdaloraParams(*(w - 0.1 * gw for w, gw in zip(p, gp, strict=True)))
            for p, gp in zip(layers, grads, strict=True)
        ]
        b = budget(t, total=60, initial=8, final=3, warmup=10, cooldown=20)
        masks = keep([triplet_scores(history) for history in histories], b)
        layers = [mask(p, m) for p, m in zip(layers, masks, strict=True)]
    assert [int(m.sum()) for m in masks] == [3, 0]
    assert np.linalg.matrix_rank(adalora.merge(W0, layers[0], scale=1.0)) == 3


# ---- bad input ---------------------------------------------------------------------------------------------


def test_bad_budgets_are_named():
    """Rows of the bad inputs on numbers: which one, what came, what would do."""
    good = {"total": 10, "initial": 8, "final": 4, "warmup": 2, "cooldown": 3}
    cases = [
        ({"final": 9}, "final 9 exceeds initial 8"),
        ({"warmup": 7}, "leave no step of 10"),
        ({"total": 0}, "total must be a positive int, got 0"),
        ({"initial": 8.0}, "initial must be a non-negative int, got float 8.0"),
        ({"cooldown": -1}, "cooldown must be a non-negative int, got -1"),
        ({"warmup": True}, "warmup must be a non-negative int, got bool True"),
        ({"final": "4"}, "final must be a non-negative int, got str '4'"),
    ]
    for change, words in cases:
        with pytest.raises(ConfigError, match=words):
            budget(1, **{**good, **change})
    with pytest.raises(ConfigError, match="step"):
        budget(-1, **good)


def test_bad_triplets_are_named(rng):
    """Each tensor under its own name; nothing is stored that is not finite."""
    p, g = triplets(rng), triplets(rng)
    history, bad = start(p), AdaloraParams(p.P, np.array([1.0, np.nan, 2.0]), p.Q)
    cases = [
        (lambda: sensitivity(p, tuple(g)), ConfigError, "g must be AdaloraParams, got tuple"),
        (lambda: sensitivity(p, g._replace(P=g.P.T)), ShapeError, "g.P has shape .* looks transposed"),
        (
            lambda: sensitivity(p._replace(lam=p.lam[:2]), g),
            RankError,
            r"p.lam has shape \(2,\), expected \(r\) = \(3\)",
        ),
        (
            lambda: sensitivity(p, AdaloraParams(*(x.astype(np.float32) for x in g))),
            DTypeError,
            "g is float32",
        ),
        (lambda: smooth(history, p, bad), NonFiniteError, "the sensitivity of lam"),
        (lambda: smooth(p, p, g), ConfigError, "history must be a History"),
        (lambda: smooth(history, p, g, beta1=1.0), ConfigError, "beta1 must lie in"),
        (lambda: smooth(history, p, g, beta2=1.0), ConfigError, "beta2 must lie in"),
        (
            lambda: smooth(start(AdaloraParams(*(x.astype(np.float32) for x in p))), p, g),
            DTypeError,
            "history.mean is float32",
        ),
        (lambda: mask(tuple(p), np.array([True] * 3)), ConfigError, "p must be AdaloraParams, got tuple"),
        (lambda: mask(p._replace(P=p.P[:, :2]), np.array([True] * 3)), RankError, "p.lam has shape"),
        (lambda: smooth(history, p, g, beta2=-0.1), ConfigError, "beta2 must lie in"),
        (lambda: smooth(start(triplets(rng, r=2)), p, g), RankError, "history.mean.P"),
        (
            lambda: smooth(History(history.mean, start(triplets(rng, k=7)).mean), p, g),
            ShapeError,
            "history.spread.Q",
        ),
        (lambda: triplet_scores(p), ConfigError, "history must be a History"),
        (lambda: triplet_scores(start(triplets(rng, d=0))), ShapeError, "no numbers to average"),
        (
            lambda: triplet_scores(History(history.mean, start(triplets(rng, d=2)).mean)),
            ShapeError,
            "history.spread.P",
        ),
        (
            lambda: triplet_scores(History(history.mean, start(triplets(rng, dtype=np.float32)).mean)),
            DTypeError,
            "spread",
        ),
        (lambda: keep(np.ones(3), 1), ConfigError, "scores must be a list of arrays"),
        (lambda: keep([np.array([1.0, np.inf])], 1), NonFiniteError, r"scores\[0\]"),
        (lambda: keep([np.ones(2), np.ones((2, 2))], 1), ShapeError, r"scores\[1\] has 2 axes"),
        (lambda: keep([np.ones(2)], -1), ConfigError, "budget"),
        (lambda: mask(p, np.ones(3)), ConfigError, "array of bools"),
        (lambda: mask(p, [True] * 3), ConfigError, "array of bools"),
        (lambda: mask(p, np.array([True])), ShapeError, r"kept has shape \(1,\), expected \(3,\)"),
        (lambda: adalora.penalty(p._replace(Q=p.Q[:2])), RankError, "Q has shape"),
        (lambda: adalora.penalty_gradient((p.P, p.lam, p.Q)), ConfigError, "AdaloraParams"),
        (lambda: adalora.scaling(8, 0), ConfigError, "rank r"),
        (lambda: adalora.scaling("8", 2), ConfigError, "alpha"),
        (lambda: adalora.init(3, 2, 2, 1), ConfigError, "rng"),
        (lambda: adalora.init(rng, 2, 2, 1, sigma=-1), ConfigError, "sigma"),
        (lambda: adalora.init(rng, -2, 2, 1), ConfigError, "d must be"),
        (lambda: adalora.init(rng, 2, None, 1), ConfigError, "k must be"),
        (lambda: adalora.init(rng, 2, 2, 1, dtype=int), DTypeError, "int64"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words):
            call()
