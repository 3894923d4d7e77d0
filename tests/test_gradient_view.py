"""LoRA as an optimizer on the full gradient, and the update that it makes, exactly."""

import numpy as np
import pytest
from autograd import grad
from hypothesis import given
from hypothesis import strategies as st

import lora_np
from lora_np import LoraParams, gradient_view, optim
from lora_np.conformance.bounds import gamma_in_u
from lora_np.errors import ConfigError, DTypeError, LoraNpError, NonFiniteError, RankError, ShapeError
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import gradient_view as naive
from tests.naive.lora import full_gradient
from tests.strategies import layers

S, LR = 0.25, 2.0**-6  # powers of two: no rounding on small integers
SMALL = 2.0**-10  # a rate at which training on such integers is stable


def integers(rng, *shape):
    return rng.integers(-4, 5, size=shape).astype(float)


def problem(rng, N=6, d=5, k=4, r=2):
    """Rows, targets, a frozen weight and factors of small integers."""
    return (
        integers(rng, N, k),
        integers(rng, N, d),
        integers(rng, d, k),
        LoraParams(integers(rng, d, r), integers(rng, r, k)),
    )


def rounded(p):
    """Factors on a grid of 2**-8, so that gradients of the next step are exact."""
    return LoraParams(*(np.round(x * 256) / 256 for x in p))


# ---- the optimizer view is training ------------------------------------------------------------------------


def trained_directly(X, T, W0, p, step, steps):
    """Train B and A through the layer on half the squared error, by its own backward."""
    for _ in range(steps):
        Y, Z = lora_np.forward(X, W0, p, scale=S)
        _, g = lora_np.backward(Y - T, X, Z, W0, p, scale=S)
        p = rounded(step(p, g))
    return p


def trained_by_autograd(X, T, W0, p, step, steps):
    """Train B and A with gradients that autograd takes of the loss."""

    def loss(B, A):
        return ((X @ (W0 + S * (B @ A)).T - T) ** 2).sum() / 2

    for _ in range(steps):
        p = rounded(step(p, LoraParams(grad(loss, 0)(*p), grad(loss, 1)(*p))))
    return p


def trained_in_the_view(X, T, W0, p, view_step, steps):
    """Hold the adapted weight only, and let the optimizer project its full gradient."""
    W = lora_np.merge(W0, p, scale=S)
    for _ in range(steps):
        gW = (X @ W.T - T).T @ X
        _, moved = view_step(W, p, gW)
        W = gradient_view.weight_step(W, p, rounded(moved), scale=S)
        p = rounded(moved)
    return p, W


class Steps:
    """One optimizer twice: on the factors' gradients, and on the weight's full gradient; it keeps Adam's state."""

    def __init__(self, name, p):
        self.name, self.state = name, optim.adam_init(p)

    def on_factors(self, p, g):
        if self.name == "sgd":
            return optim.sgd_step(p, g, optim.sgd_init(p), lr=SMALL)[0]
        p, self.state = optim.adam_step(p, g, self.state, lr=LR)
        return p

    def on_full_gradient(self, W, p, gW):
        if self.name == "sgd":
            return gradient_view.sgd_step(W, p, gW, scale=S, lr=SMALL)
        W, p, self.state = gradient_view.adam_step(W, p, gW, self.state, scale=S, lr=LR)
        return W, p


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("start", ["kaiming", "zero-A", "symmetric"])
def test_the_view_is_training_bit_for_bit(rng, name, start):
    """[view-sgd] [view-adam] [view-weight-step]  Properties 47 and 51.

    Factors are put back on a grid after every step, so that every gradient is exact: three roads (the projection of
    the full gradient, the layer's backward, autograd) then agree in every bit, and the weight is W0 + s B A.
    """
    X, T, W0, p = problem(rng)
    if start != "symmetric":
        p = p._replace(**{"B" if start == "kaiming" else "A": 0 * (p.B if start == "kaiming" else p.A)})
    seen, W = trained_in_the_view(X, T, W0, p, Steps(name, p).on_full_gradient, 5)
    for road in (trained_directly, trained_by_autograd):
        other = road(X, T, W0, p, Steps(name, p).on_factors, 5)
        assert (seen.B == other.B).all()
        assert (seen.A == other.A).all()
    assert (W == W0 + S * (seen.B @ seen.A)).all()
    assert 0.01 < abs(seen.B - p.B).max() < 10, "the trajectory must move, and stay"


def test_one_step_from_a_batch_by_hand():
    """[view-sgd]  s = 2, lr = 1/4, B = A = 1, gW = 3: gB = gA = 6, both factors reach −1/2, W = 5 − 2 + 2/4 = 3.5."""
    one = np.ones((1, 1))
    W, p = gradient_view.sgd_step(5 * one, LoraParams(one, one), 3 * one, scale=2.0, lr=0.25)
    assert p == (-0.5, -0.5)
    assert W == 3.5


@given(layer=layers(dtypes=st.just(np.float64), rows=st.integers(1, 4)))
def test_one_step_equals_the_step_in_fractions(layer):
    """[view-sgd]  Property 47: from the batch, through lora-2, within the rounding of its sums."""
    X, W0, p, gY, _, s = layer
    (d, k), r, N, lr = W0.shape, p.A.shape[0], X.shape[0], 0.125
    _, Z = lora_np.forward(X, W0, p, scale=s)
    _, g = lora_np.backward(gY, X, Z, W0, p, scale=s)
    direct, _ = optim.sgd_step(p, g, optim.sgd_init(p), lr=lr)
    _, viewed = gradient_view.sgd_step(W0, p, gY.T @ X, scale=s, lr=lr)
    gW = full_gradient(fractions_of(gY), fractions_of(X))
    exact = naive.sgd_step(fractions_of(p.B), fractions_of(p.A), gW, fractions_of(s), fractions_of(lr))
    size = abs(gY).T @ abs(X)
    sizes = abs(p.B) + lr * abs(s) * size @ abs(p.A).T, abs(p.A) + lr * abs(s) * abs(p.B).T @ size
    for want, S, *got in zip(exact, sizes, direct, viewed, strict=True):
        for array in got:
            error = exact_error_in_u(array, want, S, roundings=8 * (d + k + r + N))
            assert error <= gamma_in_u(d + k + r + N + 6, np.float64)


def test_the_steps_of_the_weight_telescope(rng):
    """[view-weight-step]  Property 48: summed over the steps, only the last increment and the first remain."""
    _, _, W0, p = problem(rng)
    W, first, total = W0, p, 0
    for _ in range(3):
        before = W
        W, p = gradient_view.sgd_step(W, p, integers(rng, 5, 4), scale=S, lr=0.5)
        total = total + (W - before)
    last = S * (p.B @ p.A - first.B @ first.A)
    assert (total == last).all()
    assert (W0 + last == W).all()


def test_a_symmetric_start_moves_both_factors(rng):
    """[lora-symmetric] [view-sgd]  Property 46: the weight starts as W0, and neither gradient is zero."""
    _, _, W0, p = problem(rng)
    shifted = lora_np.symmetric_base(W0, p, scale=S)
    assert (lora_np.merge(shifted, p, scale=S) == W0).all()
    W, moved = gradient_view.sgd_step(W0, p, integers(rng, 5, 4), scale=S, lr=0.5)
    assert all((a != b).any() for a, b in zip(moved, p, strict=True))
    assert (shifted + S * (moved.B @ moved.A) == W).all()


def test_both_factors_at_zero_never_leave_it(rng):
    """[view-sgd]  The effective gradient is zero there, whatever the full one is."""
    p = LoraParams(np.zeros((5, 2)), np.zeros((2, 4)))
    W0, gW = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    W, moved = gradient_view.sgd_step(W0, p, gW, scale=S, lr=0.5)
    assert (W == W0).all()
    assert not moved.B.any()
    assert not moved.A.any()


def test_the_state_of_adam_is_as_large_as_the_factors(rng):
    """[view-adam]  Property 51: two averages of r (d + k) numbers, where full fine-tuning keeps two of d k."""
    d, k, r = 7, 6, 2
    p = LoraParams(rng.normal(size=(d, r)), rng.normal(size=(r, k)))
    *_, state = gradient_view.adam_step(
        np.zeros((d, k)), p, np.ones((d, k)), optim.adam_init(p), scale=S, lr=0.1
    )
    assert sum(x.size for x in (*state.first, *state.second)) == 2 * r * (d + k)


def test_the_rates_of_lora_plus_pass_through(rng):
    """[view-sgd] [optim-lora-plus]"""
    _, _, W0, p = problem(rng)
    gW = integers(rng, 5, 4)
    _, moved = gradient_view.sgd_step(W0, p, gW, scale=S, lr=optim.lora_plus(0.5, ratio=4))
    assert (p.B - 2 * S * (gW @ p.A.T) == moved.B).all()
    assert (p.A - 0.5 * S * (p.B.T @ gW) == moved.A).all()


# ---- the effective update ----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 6), k=st.integers(1, 6), r=st.integers(1, 7))
def test_the_update_is_an_identity_over_the_rationals(seed, d, k, r):
    """[view-update] [view-first-order]  Property 49: with s ≠ 1, in every bit, on integers and powers of two."""
    rng = np.random.default_rng(seed)
    p, gW = LoraParams(integers(rng, d, r), integers(rng, r, k)), integers(rng, d, k)
    B, A, G, s, lr = *(fractions_of(x) for x in (*p, gW)), fractions_of(S), fractions_of(LR)
    exact = naive.change_of_increment(B, A, *naive.sgd_step(B, A, G, s, lr), s)
    update = gradient_view.effective_update(gW, p, scale=S, lr=LR)
    assert fractions_of(update) == exact
    first = gradient_view.first_order_update(gW, p, scale=S, lr=LR)
    assert fractions_of(first) == naive.first_order(B, A, G, s, lr)
    second = gradient_view.second_order_update(gW, p, scale=S, lr=LR)
    assert (first + second == update).all()
    W, _ = gradient_view.sgd_step(np.zeros((d, k)), p, gW, scale=S, lr=LR)
    assert (update == W).all()


@given(layer=layers(dtypes=st.just(np.float64), magnitudes=st.sampled_from(["normal", "wide", "integers"])))
def test_the_update_stays_within_its_bound(layer):
    """[view-update]  Property 49 for any floats: the longest path sums over d and k or twice over r."""
    _, gW, p, _, _, s = layer
    (d, k), r, lr = gW.shape, p.A.shape[0], 0.1
    B, A, G = (fractions_of(x) for x in (*p, gW))
    step = naive.sgd_step(B, A, G, fractions_of(s), fractions_of(lr))
    exact = naive.change_of_increment(B, A, *step, fractions_of(s))
    positive = LoraParams(abs(p.B), abs(p.A))
    S = -gradient_view.first_order_update(abs(gW), positive, scale=abs(s), lr=lr)
    S = S + gradient_view.second_order_update(abs(gW), positive, scale=abs(s), lr=lr)
    got = gradient_view.effective_update(gW, p, scale=s, lr=lr)
    assert exact_error_in_u(got, exact, S) <= gamma_in_u(d + k + r + 10, np.float64)


def test_what_the_first_order_leaves_out_falls_with_the_square_of_the_rate(rng):
    """[view-first-order]  Property 50: a line of slope 2 in the logarithms."""
    p = LoraParams(rng.normal(size=(6, 2)), rng.normal(size=(2, 5)))
    gW, zero = rng.normal(size=(6, 5)), np.zeros((6, 5))
    rates = 2.0 ** -np.arange(3, 11)
    left = []
    for lr in rates:
        W, _ = gradient_view.sgd_step(zero, p, gW, scale=0.7, lr=lr)
        left.append(np.linalg.norm(W - gradient_view.first_order_update(gW, p, scale=0.7, lr=lr)))
    slope = np.polyfit(np.log(rates), np.log(left), 1)[0]
    assert abs(slope - 2) <= 0.01


def test_the_factors_own_gradients_know_the_effective_gradient(rng):
    """[view-projected]  Property 65: gB A + B gA = s (gW AᵀA + B Bᵀ gW), exactly; s times that is effective."""
    _, _, _, p = problem(rng)
    gW = integers(rng, 5, 4)
    g = lora_np.project_gradient(gW, p, scale=S)
    seen = g.B @ p.A + p.B @ g.A
    assert (seen == S * (gW @ p.A.T @ p.A + p.B @ p.B.T @ gW)).all()
    assert (S * seen == gradient_view.effective_gradient(gW, p, scale=S)).all()


def test_at_the_usual_start_only_the_rows_of_a_see_the_gradient(rng):
    """[view-first-order]  B = 0: the effective gradient is s² gW AᵀA, of rank r, and the update has no second order."""
    _, _, _, p = problem(rng)
    p, gW = p._replace(B=0 * p.B), integers(rng, 5, 4)
    seen = gradient_view.effective_gradient(gW, p, scale=S)
    assert (seen == S**2 * (gW @ (p.A.T @ p.A))).all()
    assert np.linalg.matrix_rank(seen) == 2
    assert not gradient_view.second_order_update(gW, p, scale=S, lr=LR).any()


def test_at_full_rank_with_orthogonal_factors_it_is_the_full_gradient(rng):
    """[view-first-order]  AᵀA = B Bᵀ = c I is possible for r ≥ d, k only; then it is 2 c s² gW."""
    c, gW = 4.0, integers(rng, 3, 3)
    swap = np.eye(3)[[2, 0, 1]]
    p = LoraParams(2 * swap, 2 * swap.T)
    assert (gradient_view.effective_gradient(gW, p, scale=S) == 2 * c * S**2 * gW).all()


# ---- libraries and bad input -------------------------------------------------------------------------------

CALLS = {
    "sgd_step": lambda W, p, gW: gradient_view.sgd_step(W, p, gW, scale=S, lr=LR),
    "adam_step": lambda W, p, gW: gradient_view.adam_step(W, p, gW, optim.adam_init(p), scale=S, lr=LR)[:2],
    "weight_step": lambda W, p, gW: (gradient_view.weight_step(W, p, p, scale=S),),
    "effective_gradient": lambda W, p, gW: (gradient_view.effective_gradient(gW, p, scale=S),),
    "first_order_update": lambda W, p, gW: (gradient_view.first_order_update(gW, p, scale=S, lr=LR),),
    "second_order_update": lambda W, p, gW: (gradient_view.second_order_update(gW, p, scale=S, lr=LR),),
    "effective_update": lambda W, p, gW: (gradient_view.effective_update(gW, p, scale=S, lr=LR),),
}


def flat(result):
    return [x for part in result for x in (part if isinstance(part, tuple) else (part,))]


@pytest.mark.parametrize("name", list(CALLS))
def test_every_library_gives_the_same_bits(library, rng, name):
    """[view-sgd]  Same library out, arguments untouched."""
    _, _, W, p = problem(rng)
    gW = integers(rng, 5, 4)
    theirs = library.asarray(W), LoraParams(*map(library.asarray, p)), library.asarray(gW)
    want, got = flat(CALLS[name](W, p, gW)), flat(CALLS[name](*theirs))
    for one, other in zip(want, got, strict=True):
        assert type(other) is type(theirs[0])
        close = abs(library.to_numpy(other) - one).max()
        assert close == 0 or (library.name == "cupy" and close <= 1e-14)
    assert (library.to_numpy(theirs[0]) == W).all()


def _bad(what):
    rng = np.random.default_rng(1)
    _, _, W, p = problem(rng)
    gW = integers(rng, 5, 4)
    return {
        "W 1-D": (W[0], p, gW, ShapeError, ["1 axes", "(d, k)"]),
        "swapped": (W, LoraParams(p.A, p.B), gW, ShapeError, ["swapped"]),
        "ranks": (W, p._replace(A=np.ones((3, 4))), gW, RankError, ["rank 2", "rank 3"]),
        "mixed": (W.astype(np.float32), p, gW, DTypeError, ["float32", "float64"]),
        "integers": (W.astype(int), p, gW, DTypeError, ["int64"]),
    }[what]


@pytest.mark.parametrize("case", ["W 1-D", "swapped", "ranks", "mixed", "integers"])
@pytest.mark.parametrize("name", list(CALLS))
def test_bad_arguments_are_named(name, case):
    W, p, gW, error, words = _bad(case)
    if "update" in name or "gradient" in name:
        W, gW = gW, W
    with pytest.raises(error) as caught:
        CALLS[name](W, p, gW)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_full_gradient_of_another_shape_or_not_finite_is_named(rng):
    _, _, W, p = problem(rng)
    gW = integers(rng, 5, 4)
    with pytest.raises(ShapeError, match="weight of shape"):
        gradient_view.sgd_step(W, p, gW.T, scale=S, lr=LR)
    gW[1, 2] = np.nan
    for call in (CALLS["sgd_step"], CALLS["adam_step"]):
        with pytest.raises(NonFiniteError, match="gradient of B"):
            call(W, p, gW)


@pytest.mark.parametrize("lr", [-1.0, float("nan"), "0.1", None])
@pytest.mark.parametrize(
    "name", ["sgd_step", "first_order_update", "second_order_update", "effective_update"]
)
def test_a_bad_rate_is_named(rng, name, lr):
    _, _, W, p = problem(rng)
    arguments = (W, p, W) if name == "sgd_step" else (W, p)
    with pytest.raises(ConfigError, match="lr"):
        getattr(gradient_view, name)(*arguments, scale=S, lr=lr)


@pytest.mark.parametrize("scale", [float("inf"), "1", True])
def test_a_bad_scale_is_named(rng, scale):
    _, _, W, p = problem(rng)
    for call in (
        lambda: gradient_view.sgd_step(W, p, W, scale=scale, lr=LR),
        lambda: gradient_view.effective_update(W, p, scale=scale, lr=LR),
    ):
        with pytest.raises(LoraNpError, match="scale"):
            call()
