"""The optimizers against sums written out in loops, exact numbers, worked examples and torch."""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraParams, optim
from lora_np.conformance.bounds import gamma_in_u, unit_roundoff
from lora_np.errors import ConfigError, DTypeError, NonFiniteError, ShapeError, StateError
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import optim as naive

INITS = {
    "sgd": optim.sgd_init,
    "momentum": optim.momentum_init,
    "adam": optim.adam_init,
    "adamw": optim.adam_init,
}
STEPS = {
    "sgd": optim.sgd_step,
    "momentum": optim.momentum_step,
    "adam": optim.adam_step,
    "adamw": optim.adamw_step,
}


def run(name, params, grads, **options):
    """Take one step for each of the gradients; return the last parameters and state."""
    state = INITS[name](params)
    for g in grads:
        params, state = STEPS[name](params, g, state, **options)
    return params, state


def drawn(rng, T, n=6, dtype=np.float64):
    """Parameters and the gradients of T steps, as vectors."""
    return rng.normal(size=n).astype(dtype), [rng.normal(size=n).astype(dtype) for _ in range(T)]


# ---- worked by hand ----------------------------------------------------------------------------------------


def test_a_first_step_of_sgd_by_hand():
    """[optim-sgd]  p = 1, g = 4, lr = 0.25: 1 − 0.25 · 4 = 0."""
    (p,), state = run("sgd", (np.array([1.0]),), [(np.array([4.0]),)], lr=0.25)
    assert p == 0
    assert state == optim.SgdState(1)


def test_two_steps_of_momentum_by_hand():
    """[optim-momentum]  p = 1, μ = 1/2, lr = 1/4, gradients 4 then 2.

    v = 4, p = 1 − 4/4 = 0; then v = 4/2 + 2 = 4, p = 0 − 4/4 = −1.
    """
    (p,), state = run(
        "momentum", (np.array([1.0]),), [(np.array([g]),) for g in (4.0, 2.0)], lr=0.25, momentum=0.5
    )
    assert p == -1
    assert state.step == 2
    assert state.velocity[0] == 4


def test_the_rate_stands_outside_the_velocity():
    """[optim-momentum]  After a step at lr = 1 with g = 1, a step with g = 0 at lr = 0 moves nothing."""
    one, zero = (np.ones(1),), (np.zeros(1),)
    p, state = optim.momentum_step(one, one, optim.momentum_init(one), lr=1.0, momentum=0.5)
    q, _ = optim.momentum_step(p, zero, state, lr=0.0, momentum=0.5)
    assert q[0] == p[0]


def test_two_steps_of_adam_by_hand():
    """[optim-adam]  β1 = 1/2, β2 = 3/4, eps = 1, lr = 2, p = 1, gradients 3 then 3.

    m = 3/2, v = 9/4; without bias m̂ = 3, v̂ = 9; p = 1 − 2 · 3 / (3 + 1) = −1/2.
    m = 9/4, v = 27/16 + 9/4 = 63/16; m̂ = 9/4 : 3/4 = 3, v̂ = 63/16 : 7/16 = 9; p = −1/2 − 3/2 = −2.
    """
    (p,), state = run("adam", (np.ones(1),), [(np.full(1, 3.0),)] * 2, lr=2.0, betas=(0.5, 0.75), eps=1.0)
    assert abs(p[0] + 2) <= 8 * 2.0**-53
    assert state.first[0] == 9 / 4
    assert state.second[0] == 63 / 16


def test_a_first_step_of_adam_has_the_size_of_the_rate(rng):
    """[optim-adam]  Without bias m̂ = g and √v̂ = |g|, so the first step is lr sign(g) whatever the size of g."""
    g = rng.normal(size=50) * 10.0 ** rng.uniform(-3, 6, size=50)
    (p,), _ = run("adam", (np.zeros(50),), [(g,)], lr=0.5, eps=1e-30)
    assert abs(p + 0.5 * np.sign(g)).max() <= 16 * 2.0**-53


def test_the_decay_of_adamw_stands_beside_the_averages():
    """[optim-adamw]  With g = 0 only the decay acts: p = 1 · (1 − 0.5 · 0.5)² = 0.5625, and the averages stay 0."""
    (p,), state = run("adamw", (np.ones(1),), [(np.zeros(1),)] * 2, lr=0.5, weight_decay=0.5)
    assert p == 0.5625
    assert state.first[0] == state.second[0] == 0


def test_lora_plus_by_hand():
    """[optim-lora-plus]  lr = 0.25, ratio 8: B moves with 2, A with 0.25."""
    assert optim.lora_plus(0.25, ratio=8) == LoraParams(B=2.0, A=0.25)
    p, g = (LoraParams(np.full((2, 1), x), np.full((1, 3), x)) for x in (0.0, 1.0))
    moved, _ = run("sgd", p, [g], lr=optim.lora_plus(0.25, ratio=8))
    assert (moved.B == -2).all()
    assert (moved.A == -0.25).all()


# ---- against sums written out ------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), T=st.integers(1, 5))
def test_gradient_descent_and_momentum_are_exact_on_dyadic_numbers(seed, T):
    """[optim-sgd] [optim-momentum]  With integers and powers of two no rounding happens: equal to Fractions."""
    rng = np.random.default_rng(seed)
    p, *grads = (rng.integers(-9, 10, size=4).astype(float) for _ in range(T + 1))
    exact = fractions_of(p), [fractions_of(g) for g in grads]
    (moved,), _ = run("sgd", (p,), [(g,) for g in grads], lr=0.125)
    assert fractions_of(moved) == naive.sgd(*exact, Fraction(1, 8))
    (moved,), _ = run("momentum", (p,), [(g,) for g in grads], lr=0.125, momentum=0.75)
    assert fractions_of(moved) == naive.momentum(*exact, Fraction(1, 8), Fraction(3, 4))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("T", [1, 2, 10])
def test_gradient_descent_and_momentum_stay_within_their_bounds(rng, T, dtype):
    """[optim-sgd] [optim-momentum]  A step rounds lr, a product and a sum; momentum μ, a product and a sum more."""
    p, grads = drawn(rng, T, dtype=dtype)
    exact = fractions_of(p), [fractions_of(g) for g in grads]
    sizes = [abs(x) for x in exact[0]], [[-abs(x) for x in g] for g in exact[1]]
    lr, mu = 0.1, 0.9
    (moved,), _ = run("sgd", (p,), [(g,) for g in grads], lr=lr)
    S = [float(x) for x in naive.sgd(*sizes, Fraction(lr))]
    error = exact_error_in_u(moved, naive.sgd(*exact, Fraction(lr)), S)
    assert error <= gamma_in_u(T + 2, dtype)
    (moved,), _ = run("momentum", (p,), [(g,) for g in grads], lr=lr, momentum=mu)
    S = [float(x) for x in naive.momentum(*sizes, Fraction(lr), Fraction(mu))]
    error = exact_error_in_u(moved, naive.momentum(*exact, Fraction(lr), Fraction(mu)), S)
    assert error <= gamma_in_u(4 * T + 2, dtype)


def adam_errors_in_u(moved, p, grads, lr, betas, eps, decay=0.0):
    """The distance of a run of Adam from fifty decimal digits, in units of u and of the sum of its terms."""
    with localcontext() as context:
        context.prec = 50
        exact = [Decimal(float(x)) for x in p], [[Decimal(float(x)) for x in g] for g in grads]
        numbers = [Decimal(x) for x in (lr, *betas, eps)]
        want = naive.adam(*exact, *numbers, Decimal.sqrt, Decimal(decay))
        S = [float(x) for x in naive.adam_size(*exact, *numbers, Decimal.sqrt)]
        return exact_error_in_u(moved, [Fraction(x) for x in want], S)


def adam_roundings(T):
    """How many roundings stand between a gradient and the parameter that T steps of Adam or AdamW make of it.

    m: 2 a step and two of the coefficients; its bias 6.  √v̂: half as many, and 3.  Quotient, rate: 3.  Then a step
    of the sum, three more with a decay.
    """
    return 8 * T + 20


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("T", [1, 2, 3, 10])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_and_adamw_stay_within_their_bounds(rng, T, dtype, decay):
    """[optim-adam] [optim-adamw]  Against fifty decimal digits, one step to ten, with and without decay."""
    p, grads = drawn(rng, T, dtype=dtype)
    name, more = ("adamw", {"weight_decay": decay}) if decay else ("adam", {})
    (moved,), _ = run(name, (p,), [(g,) for g in grads], lr=0.1, **more)
    error = adam_errors_in_u(moved, p, grads, 0.1, (0.9, 0.999), 1e-8, decay)
    assert error <= gamma_in_u(adam_roundings(T), dtype)


def test_the_bias_of_a_long_average_keeps_every_digit(rng):
    """[optim-adam]  β2 = 0.99999: 1 − β2² as a difference would be thousands of units off; the bound is 36."""
    p, (g, h) = np.zeros(6), drawn(rng, 2)[1]
    betas = (0.9, 0.99999)
    (moved,), _ = run("adam", (p,), [(g,), (h,)], lr=1.0, betas=betas)
    assert adam_errors_in_u(moved, p, [g, h], 1.0, betas, 1e-8) <= gamma_in_u(adam_roundings(2), np.float64)


def test_without_decay_adamw_is_adam(rng):
    """[optim-adamw]  λ = 0: the same numbers, bit for bit."""
    p, grads = drawn(rng, 4)
    grads = [(g,) for g in grads]
    plain, decayed = run("adam", (p,), grads, lr=0.1), run("adamw", (p,), grads, lr=0.1, weight_decay=0)
    assert (plain[0][0] == decayed[0][0]).all()


@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-20, 20))
def test_adam_does_not_see_the_scale_of_the_loss(seed, power):
    """[optim-adam]  Loss and eps times a power of two: the same steps, bit for bit."""
    p, grads = drawn(np.random.default_rng(seed), 3)
    factor = 2.0**power
    plain, _ = run("adam", (p,), [(g,) for g in grads], lr=0.1, eps=1e-3)
    scaled, _ = run("adam", (p,), [(factor * g,) for g in grads], lr=0.1, eps=1e-3 * factor)
    assert (plain[0] == scaled[0]).all()


@pytest.mark.interop
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", list(STEPS))
def test_trajectories_agree_with_torch(rng, name, dtype):
    """[optim-sgd] [optim-momentum] [optim-adam] [optim-adamw]  Twenty steps, both within the derived bound.

    torch takes 1 − βᵗ as a difference, in double precision: that loses β^t / (1 − β^t) units more.
    """
    torch = pytest.importorskip("torch", reason="torch is not installed")
    T, lr = 20, 0.05
    p, grads = drawn(rng, T, dtype=dtype)
    theirs = torch.tensor(p.copy(), requires_grad=True)
    optimizer, more = {
        "sgd": (torch.optim.SGD([theirs], lr=lr), {}),
        "momentum": (torch.optim.SGD([theirs], lr=lr, momentum=0.9), {"momentum": 0.9}),
        "adam": (torch.optim.Adam([theirs], lr=lr), {}),
        "adamw": (torch.optim.AdamW([theirs], lr=lr, weight_decay=0.1), {"weight_decay": 0.1}),
    }[name]
    for g in grads:
        theirs.grad = torch.tensor(g)
        optimizer.step()
    (ours,), _ = run(name, (p,), [(g,) for g in grads], lr=lr, **more)
    start, history = p.tolist(), [g.tolist() for g in grads]
    if name in ("sgd", "momentum"):
        negative = [[-abs(x) for x in g] for g in history]
        S = naive.momentum([abs(x) for x in start], negative, lr, 0.9 if name == "momentum" else 0)
        units = 2 * (4 * T + 2)
    else:
        S = naive.adam_size(start, history, lr, 0.9, 0.999, 1e-8, np.sqrt)
        lost = max(0.999**t / (1 - 0.999**t) / 2 + 0.9**t / (1 - 0.9**t) for t in range(1, T + 1))
        units = 2 * adam_roundings(T) + (lost if dtype == "float64" else 1)
    gap = abs(ours.astype(float) - theirs.detach().numpy().astype(float))
    assert (gap <= units * unit_roundoff(dtype) * np.array(S)).all()


# ---- tuples, rates, libraries ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(STEPS))
def test_a_step_is_a_map_over_the_fields(rng, name):
    """[optim-sgd]  What comes back has the type that went in, and every field moves as if it were alone."""
    p, g = (LoraParams(rng.normal(size=(5, 2)), rng.normal(size=(2, 3))) for _ in range(2))
    moved, state = run(name, p, [g, g], lr=0.1)
    assert type(moved) is LoraParams
    assert all(type(kept) is LoraParams for kept in state[1:])
    for i in range(2):
        (alone,), _ = run(name, (p[i],), [(g[i],), (g[i],)], lr=0.1)
        assert (moved[i] == alone).all()
    plain, _ = run(name, tuple(p), [tuple(g)] * 2, lr=0.1)
    assert type(plain) is tuple


@pytest.mark.parametrize("name", list(STEPS))
def test_a_rate_of_zero_freezes_its_field_only(rng, name):
    """[optim-lora-plus]  One rate for each field, in the order of the fields."""
    p, g = (LoraParams(rng.normal(size=(5, 2)), rng.normal(size=(2, 3))) for _ in range(2))
    moved, _ = run(name, p, [g], lr=LoraParams(B=0.0, A=0.1))
    assert (moved.B == p.B).all()
    assert (moved.A != p.A).all()


@pytest.mark.parametrize("name", list(STEPS))
def test_steps_run_on_every_library_and_write_into_nothing(library, rng, name):
    """[optim-adam]  Equal to NumPy bit for bit, the same element type, arguments as they were."""
    p, g = (LoraParams(rng.normal(size=(4, 2)), rng.normal(size=(2, 3))) for _ in range(2))
    theirs = [LoraParams(*(library.asarray(x) for x in pair)) for pair in (p, g)]
    want, want_state = run(name, p, [g, g], lr=optim.lora_plus(0.1))
    got, got_state = run(name, theirs[0], [theirs[1]] * 2, lr=optim.lora_plus(0.1))
    exact = library.name != "cupy"
    for one, other in zip((*want, *sum(want_state[1:], ())), (*got, *sum(got_state[1:], ())), strict=True):
        assert type(other) is type(theirs[0].B)
        assert abs(library.to_numpy(other) - one).max() <= (0 if exact else 1e-15)
    assert (library.to_numpy(theirs[0].B) == p.B).all()


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (2, 3, 4)])
def test_arrays_of_any_shape(shape):
    """[optim-sgd]  Also with no axes and with no numbers."""
    for name in STEPS:
        (moved,), _ = run(name, (np.ones(shape),), [(np.ones(shape),)], lr=0.5)
        assert moved.shape == shape


def test_an_empty_tuple_has_nothing_to_move():
    """[optim-sgd]"""
    for name in STEPS:
        assert run(name, (), [()], lr=0.5)[0] == ()


# ---- bad input ---------------------------------------------------------------------------------------------

P, G = LoraParams(np.ones((2, 1)), np.ones((1, 3))), LoraParams(np.ones((2, 1)), np.ones((1, 3)))
NAN = LoraParams(np.ones((2, 1)), np.array([[1.0, np.nan, 1.0]]))

BAD = {  # name -> (changed arguments, error, words of the message)
    "list": ({"params": [1.0]}, ConfigError, ["tuple of arrays", "list"]),
    "array": ({"params": np.ones(2)}, ConfigError, ["tuple of arrays", "ndarray", "(W,)"]),
    "number": ({"params": (1.0,)}, DTypeError, ["params[0]", "float"]),
    "integers": ({"params": (np.arange(2),)}, DTypeError, ["params[0]", "int64"]),
    "too few": ({"grads": (np.ones((2, 1)),)}, ShapeError, ["grads", "2 arrays (B, A)", "1"]),
    "grads list": ({"grads": [1, 2]}, ShapeError, ["grads", "tuple", "list"]),
    "swapped": ({"grads": (G.A, G.B)}, ShapeError, ["grads of B", "(1, 3)", "(2, 1)", "order"]),
    "mixed": ({"grads": (G.B.astype(np.float32), G.A)}, DTypeError, ["float32", "float64", "promote"]),
    "nan": ({"grads": NAN}, NonFiniteError, ["gradient of A", "[0, 1]", "nan"]),
    "inf": ({"grads": (np.full((2, 1), np.inf), G.A)}, NonFiniteError, ["gradient of B", "2", "inf"]),
    "state": ({"state": None}, StateError, ["state", "NoneType", "init"]),
    "lr negative": ({"lr": -0.1}, ConfigError, ["lr", "-0.1"]),
    "lr nan": ({"lr": float("nan")}, ConfigError, ["lr", "finite"]),
    "lr text": ({"lr": "0.1"}, ConfigError, ["lr", "str"]),
    "lr three": ({"lr": (0.1, 0.1, 0.1)}, ConfigError, ["3 rates for 2", "B, A"]),
    "lr pair": ({"lr": LoraParams(B=0.1, A=-1.0)}, ConfigError, ["lr of A", "-1"]),
}


@pytest.mark.parametrize("case", list(BAD))
@pytest.mark.parametrize("name", list(STEPS))
def test_bad_arguments_are_named_and_change_nothing(name, case):
    changed, error, words = BAD[case]
    arguments = {"params": P, "grads": G, "state": INITS[name](P), "lr": 0.1} | changed
    before = [x.tobytes() for x in (*P, *G)]
    lr = arguments.pop("lr")
    with pytest.raises(error) as caught:
        STEPS[name](*arguments.values(), lr=lr)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert [x.tobytes() for x in (*P, *G)] == before


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("momentum", {"momentum": 1.0}, ["momentum", "[0, 1)", "1"]),
        ("momentum", {"momentum": -0.1}, ["momentum", "-0.1"]),
        ("adam", {"betas": (0.9, 1.0)}, ["betas[1]", "[0, 1)"]),
        ("adam", {"betas": 0.9}, ["betas", "two numbers"]),
        ("adam", {"betas": (0.9,)}, ["betas", "two numbers"]),
        ("adam", {"eps": 0.0}, ["eps"]),
        ("adamw", {"weight_decay": -1}, ["weight_decay", "-1"]),
        ("adamw", {"eps": float("inf")}, ["eps", "finite"]),
    ],
)
def test_bad_hyper_parameters_are_named(name, options, words):
    with pytest.raises(ConfigError) as caught:
        run(name, P, [G], lr=0.1, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("ratio", [0, -1, float("nan"), "16"])
def test_a_ratio_of_lora_plus_is_positive(ratio):
    """[optim-lora-plus]"""
    with pytest.raises(ConfigError, match="ratio"):
        optim.lora_plus(0.1, ratio=ratio)


def test_a_state_of_another_optimizer_or_model_is_refused():
    with pytest.raises(StateError, match=r"AdamState.*MomentumState"):
        optim.adam_step(P, G, optim.momentum_init(P), lr=0.1)
    with pytest.raises(ShapeError, match=r"state.velocity of B has shape \(4, 1\)"):
        optim.momentum_step(P, G, optim.momentum_init((np.ones((4, 1)), P.A)), lr=0.1)
    with pytest.raises(ConfigError, match=r"state\.step"):
        optim.sgd_step(P, G, optim.SgdState(-1), lr=0.1)


def test_a_square_that_overflows_is_named_before_it_freezes_the_field():
    """[optim-adam]  g² = inf would make every later step of that number zero, in silence."""
    huge = (np.array([1.0, 1e25], dtype=np.float32),)
    with pytest.raises(NonFiniteError, match=r"squared gradient of params\[0\].*inf.*index \[1\]"):
        run("adam", huge, [huge], lr=0.1)


def test_an_eps_that_vanishes_in_the_element_type_is_refused():
    """[optim-adam]  1e-8 is 0 in float16, and a zero gradient would make 0 / 0."""
    half = (np.ones(2, dtype=np.float16),)
    with pytest.raises(ConfigError, match=r"eps = 1e-08 vanishes in float16.*params\[0\]"):
        run("adam", half, [half], lr=0.1)
    assert np.isfinite(run("adam", half, [half], lr=0.1, eps=1e-3)[0][0]).all()
