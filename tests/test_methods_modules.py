"""Houlsby's and Pfeiffer's adapters and prompt tuning: values, gradients, placement, starts, libraries, bad input."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from hypothesis import given
from hypothesis import strategies as st

from lora_np.errors import ConfigError, DTypeError, ShapeError
from lora_np.methods import bottleneck, houlsby, method, pfeiffer, prompt_tuning
from lora_np.methods.bottleneck import ACTIVATIONS, BottleneckParams
from lora_np.methods.prompt_tuning import PromptTuningParams
from lora_np.nn.activations import activation as of_networks
from tests.naive import methods_modules as naive

PLACES = pytest.mark.parametrize("way", [houlsby, pfeiffer], ids=["houlsby", "pfeiffer"])
NAMES = pytest.mark.parametrize("activation", ACTIVATIONS)
TRACED = pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "gelu-erf"])
SIZES = st.sampled_from([1, 2, 3, 5])
DRAWS = {"N": st.sampled_from([0, 1, 4]), "k": SIZES, "r": SIZES, "seed": st.integers(0, 2**32 - 1)}


def integers(rng, *shape):
    return rng.integers(-4, 5, size=shape).astype(float)


def normal(rng, *shape):
    return rng.normal(size=shape)


def draw(rng, N=4, k=5, r=3, make=normal):
    p = BottleneckParams(make(rng, r, k), make(rng, r), make(rng, k, r), make(rng, k))
    return make(rng, N, k), p, make(rng, N, k)


def lists(X, p):
    return {"X": X.tolist(), **{name: tensor.tolist() for name, tensor in p._asdict().items()}}


# ---- the adapter -----------------------------------------------------------------------------------------------


@given(**DRAWS)
def test_with_relu_values_equal_plain_loops_exactly(N, k, r, seed):
    """[adapter-bottleneck] [net-relu]  On integers; r > k and empty batches included."""
    X, p, _ = draw(np.random.default_rng(seed), N, k, r, integers)
    Y, U = bottleneck.forward(X, p, activation="relu")
    assert Y.shape == X.shape
    assert U.shape == (N, r)
    assert Y.tolist() == naive.bottleneck(**lists(X, p), activation="relu")
    assert np.array_equal(U, X @ p.W_down.T + p.b_down)


@NAMES
@PLACES
def test_values_and_gradients_agree_with_many_digits(way, activation, rng):
    """[adapter-bottleneck] [adapter-bottleneck-grad] [net-gelu] [net-tanh]  On 80 digits, all tensors."""
    X, p, gY = draw(rng)
    Y, U = way.forward(X, p, activation=activation)
    gX, g = way.backward(gY, X, U, p, activation=activation)

    def forward(**tensors):
        return naive.bottleneck(**tensors, activation=activation, tanh=naive.tanh)

    assert isinstance(g, BottleneckParams)
    assert np.abs(Y - naive.values(forward, lists(X, p))).max() <= 1e-14
    for name, got in {"X": gX, **g._asdict()}.items():
        want = np.array(naive.slope(forward, lists(X, p), name, gY.tolist()))
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= 4e-14, name


@TRACED
def test_gradients_equal_those_of_autograd(activation, rng):
    """[adapter-bottleneck-grad]  Autograd goes through the network's own activation, written elsewhere."""
    X, p, gY = draw(rng, 6, 4, 7)

    def loss(X, W_down, b_down, W_up, b_up):
        F = of_networks(activation).apply(anp.dot(X, W_down.T) + b_down)
        return anp.sum(gY * (X + anp.dot(F, W_up.T) + b_up))

    U = bottleneck.forward(X, p, activation=activation)[1]
    gX, g = bottleneck.backward(gY, X, U, p, activation=activation)
    for i, got in enumerate((gX, *g)):
        assert np.abs(got - grad(loss, i)(X, *p)).max() <= 1e-13


@TRACED
def test_the_bent_functions_are_those_of_the_networks(activation, rng):
    """[net-relu] [net-gelu] [net-tanh]  Value and slope, bit for bit but for gelu's order of products."""
    U = np.concatenate([rng.normal(size=200) * 3, [0.0, -0.0, 30.0, -30.0, 1e-300]])
    ours, theirs = ACTIVATIONS[activation], of_networks(activation)
    assert np.array_equal(ours.value(U), theirs.apply(U))
    assert np.abs(ours.slope(U) - theirs.pullback(np.ones_like(U), U)).max() <= 1e-15


def test_the_exact_gelu_is_right_where_one_minus_one_would_cancel():
    """[adapter-gelu-erf]  Known values of Φ; at −8 the gate is 6e-16, of which 1 + erf would leave nothing."""
    known = {0.0: 0.5, 1.0: 0.8413447460685429, -2.0: 0.022750131948179207, -8.0: 6.220960574271786e-16}
    U = np.array(list(known))
    for u, got in zip(U, ACTIVATIONS["gelu-erf"].value(U), strict=True):
        want = u * known[u]  # u / √2 is rounded, which Φ(u) feels u² times
        assert abs(got - want) <= 2**-53 * (3 + u * u) * abs(want)
    assert np.abs(ACTIVATIONS["gelu-erf"].value(U) - ACTIVATIONS["gelu"].value(U)).max() < 5e-4
    assert ACTIVATIONS["gelu-erf"].value(np.ones((0, 3), np.float32)).dtype == np.float32


def test_each_place_has_the_function_its_authors_released(rng):
    """Houlsby's code has gelu in the tanh form, Pfeiffer's relu."""
    X, p, gY = draw(rng)
    for way, name in ((houlsby, "gelu"), (pfeiffer, "relu")):
        Y, U = way.forward(X, p)
        assert np.array_equal(Y, bottleneck.forward(X, p, activation=name)[0])
        gX = way.backward(gY, X, U, p)[0]
        assert np.array_equal(gX, bottleneck.backward(gY, X, U, p, activation=name)[0])
    assert (houlsby.PER_BLOCK, pfeiffer.PER_BLOCK) == (2, 1)
    assert method("houlsby") is houlsby


@PLACES
def test_leading_axes_are_a_batch(way, rng):
    """Two leading axes give what one does, none gives one row, and an empty batch gives gradients of zero."""
    X, p, gY = draw(rng, 6, make=integers)
    Y, U = way.forward(X, p, activation="relu")
    gX, g = way.backward(gY, X, U, p, activation="relu")
    Y2, U2 = way.forward(X.reshape(2, 3, 5), p, activation="relu")
    gX2, g2 = way.backward(gY.reshape(2, 3, 5), X.reshape(2, 3, 5), U2, p, activation="relu")
    assert np.array_equal(Y2.reshape(6, 5), Y)
    assert np.array_equal(gX2.reshape(6, 5), gX)
    assert all(np.array_equal(a, b) for a, b in zip(g2, g, strict=True))
    one, U1 = way.forward(X[0], p, activation="relu")
    assert np.array_equal(one, Y[0])
    assert np.array_equal(way.backward(gY[0], X[0], U1, p, activation="relu")[0], gX[0])
    none = way.backward(gY[:0], X[:0], U[:0], p, activation="relu")[1]
    assert not any(x.any() for x in none)


# ---- placement -------------------------------------------------------------------------------------------------


def norm(H):
    """Layer norm without gain or shift."""
    H = H - H.mean(axis=-1, keepdims=True)
    return H / np.sqrt((H**2).mean(axis=-1, keepdims=True) + 1e-5)


@PLACES
def test_an_adapter_that_adds_nothing_leaves_the_block_alone(way, rng):
    """[adapter-houlsby-place] [adapter-pfeiffer-place]  With W_up = 0 and b_up = 0 the sub-layer ends as before."""
    S, p, H = draw(rng)
    idle = p._replace(W_up=0 * p.W_up, b_up=0 * p.b_up)
    assert np.array_equal(way.place(S, H, idle, norm=norm), norm(H + S))
    assert np.abs(way.place(S, H, p, norm=norm) - norm(H + S)).max() > 0.1


def test_the_two_places_differ(rng):
    """[adapter-houlsby-place] [adapter-pfeiffer-place]  In plain loops: what is read, and where it is added."""
    S, p, H = draw(rng)
    tensors = lists(S, p)
    read_S = np.array(naive.bottleneck(**tensors, activation="tanh"))
    tensors["X"] = norm(H + S).tolist()
    read_norm = np.array(naive.bottleneck(**tensors, activation="tanh")) - norm(H + S)
    assert np.abs(houlsby.place(S, H, p, norm=norm, activation="tanh") - norm(H + read_S)).max() <= 1e-13
    assert (
        np.abs(pfeiffer.place(S, H, p, norm=norm, activation="tanh") - norm(H + S + read_norm)).max() <= 1e-13
    )


# ---- starting --------------------------------------------------------------------------------------------------


@PLACES
def test_adapters_start_near_the_identity(way, rng):
    """[adapter-init]  A Gaussian of 1e-2 cut at two deviations: nothing beyond, and the width that cutting leaves."""
    p = way.init(rng, 300, 64)
    for W in (p.W_down, p.W_up):
        assert np.abs(W).max() <= 2e-2
        assert np.abs(W).max() > 1.9e-2
        assert abs(W.std() / 1e-2 - 0.8796) < 0.02  # √(1 − 4 φ(2) / (2 Φ(2) − 1))
        assert abs(W.mean()) < 5e-4
    assert not p.b_down.any()
    assert not p.b_up.any()
    X = rng.normal(size=(4, 300))
    assert np.abs(way.forward(X, p)[0] - X).max() < 0.1
    assert way.init(rng, 4, 2, std=0.0, dtype=np.float32).W_up.dtype == np.float32
    assert not way.init(rng, 4, 2, std=0.0).W_down.any()


# ---- prompt tuning ---------------------------------------------------------------------------------------------


@given(
    N=st.sampled_from([0, 1, 3]), d=SIZES, k=SIZES, length=st.sampled_from([0, 1, 4]), seed=st.integers(0, 99)
)
def test_a_prompt_stands_before_the_rows(N, d, k, length, seed):
    """[prompt-rows] [prompt-grad]  Exactly, on integers; the gradients are those of the rows on their own."""
    rng = np.random.default_rng(seed)
    X, W0, bias = integers(rng, N, k), integers(rng, d, k), integers(rng, d)
    p, gY = PromptTuningParams(integers(rng, length, k)), integers(rng, length + N, d)
    Y, R = prompt_tuning.forward(X, W0, p, bias=bias)
    assert Y.shape == gY.shape
    assert Y.tolist() == naive.prompted(X.tolist(), W0.tolist(), p.P.tolist(), bias.tolist())
    assert R.tolist() == p.P.tolist() + X.tolist()
    gX, g = prompt_tuning.backward(gY, X, R, W0, p)
    assert g.P.tolist() == [[sum(u[o] * W0[o, c] for o in range(d)) for c in range(k)] for u in gY[:length]]
    assert gX.tolist() == [[sum(u[o] * W0[o, c] for o in range(d)) for c in range(k)] for u in gY[length:]]


def test_sequences_share_the_prompt_and_add_their_gradients(rng):
    """[prompt-grad]  Two leading axes of sequences, each with the prompt; gP is the sum over all, by autograd too."""
    X, W0, p = normal(rng, 2, 3, 4, 5), normal(rng, 6, 5), PromptTuningParams(normal(rng, 2, 5))
    gY = normal(rng, 2, 3, 6, 6)
    Y, R = prompt_tuning.forward(X, W0, p)
    gX, g = prompt_tuning.backward(gY, X, R, W0, p)
    total = np.zeros((2, 5))
    for i in np.ndindex(2, 3):
        Y1, R1 = prompt_tuning.forward(X[i], W0, p)
        gX1, g1 = prompt_tuning.backward(gY[i], X[i], R1, W0, p)
        assert np.abs(Y[i] - Y1).max() <= 1e-14
        assert np.abs(gX[i] - gX1).max() <= 1e-14
        total += g1.P
    assert np.abs(g.P - total).max() <= 1e-14

    def loss(X, P):
        sequences = [anp.concatenate([P, X[i]]) for i in np.ndindex(2, 3)]
        return sum(
            anp.sum(gY[i] * (rows @ W0.T)) for i, rows in zip(np.ndindex(2, 3), sequences, strict=True)
        )

    assert np.abs(gX - grad(loss, 0)(X, p.P)).max() <= 1e-14
    assert np.abs(g.P - grad(loss, 1)(X, p.P)).max() <= 1e-14


def test_a_prompt_starts_in_the_papers_range(rng):
    """[prompt-rows]  Uniform on [−0.5, 0.5)."""
    P = prompt_tuning.init(rng, 100, 50).P
    assert P.min() >= -0.5
    assert P.max() < 0.5
    assert abs(P.std() - 12**-0.5) < 0.01
    assert prompt_tuning.init(rng, 2, 3, dtype=np.float32).P.dtype == np.float32


# ---- libraries and bad input -----------------------------------------------------------------------------------


def test_every_library_gives_the_same_numbers(library, rng):
    """Same library out, arguments untouched; integers with relu are exact, the other functions agree to rounding."""
    X, p, gY = draw(rng, make=integers)
    W0, P = integers(rng, 4, 5), PromptTuningParams(integers(rng, 2, 5))
    g_rows = integers(rng, 6, 4)

    def everything(X, p, gY, W0, P, g_rows):
        results = []
        for activation in ACTIVATIONS:
            Y, U = bottleneck.forward(X, p, activation=activation)
            gX, g = bottleneck.backward(gY, X, U, p, activation=activation)
            places = (
                way.place(X, gY, p, norm=lambda x: x * 2.0, activation=activation)
                for way in (houlsby, pfeiffer)
            )
            results += [Y, U, gX, *g, *places]
        Y, R = prompt_tuning.forward(X, W0, P)
        gX, g = prompt_tuning.backward(g_rows, X, R, W0, P)
        return [*results, Y, R, gX, *g]

    make = library.asarray
    theirs = (
        make(X),
        BottleneckParams(*map(make, p)),
        make(gY),
        make(W0),
        PromptTuningParams(make(P.P)),
        make(g_rows),
    )
    got = everything(*theirs)
    for i, (one, other) in enumerate(zip(everything(X, p, gY, W0, P, g_rows), got, strict=True)):
        assert type(other) is type(theirs[0])
        assert np.abs(library.to_numpy(other) - one).max() <= (0 if i < 9 or i >= 36 else 1e-9)
    assert np.array_equal(library.to_numpy(theirs[0]), X)


def test_bad_adapters_are_named(rng):
    X, p, gY = draw(rng)
    U = X @ p.W_down.T

    def run(X=X, p=p, activation="relu"):
        return bottleneck.forward(X, p, activation=activation)

    cases = [
        (lambda: run(activation="silu"), ConfigError, "relu"),
        (lambda: run(p=tuple(p)), ConfigError, "BottleneckParams"),
        (lambda: run(X=X[:, :4]), ShapeError, "X has shape"),
        (lambda: run(X=X.astype("f4")), DTypeError, "X is float32"),
        (lambda: run(p=p._replace(W_down=p.W_down[0])), ShapeError, "W_down has 1 axes"),
        (
            lambda: run(p=p._replace(W_up=p.W_up.T)),
            ShapeError,
            r"W_up has shape \(3, 5\), expected \(k, r\) = \(5, 3\)",
        ),
        (lambda: run(p=p._replace(b_down=p.b_up)), ShapeError, "b_down"),
        (lambda: run(p=p._replace(b_up=p.b_down)), ShapeError, "b_up"),
        (lambda: run(p=p._replace(b_up=p.b_up.astype("f4"))), DTypeError, "b_up is float32"),
        (lambda: bottleneck.backward(gY[:2], X, U, p, activation="relu"), ShapeError, "batch axes"),
        (lambda: bottleneck.backward(gY[:, :2], X, U, p, activation="relu"), ShapeError, "gY has shape"),
        (lambda: bottleneck.backward(gY, X, U[:, :2], p, activation="relu"), ShapeError, "U has shape"),
        (
            lambda: bottleneck.backward(gY.astype("f4"), X, U, p, activation="relu"),
            DTypeError,
            "gY is float32",
        ),
        (lambda: houlsby.place(X, X[:2], p, norm=norm), ShapeError, "H has shape"),
        (lambda: pfeiffer.place(X, X[:2], p, norm=norm), ShapeError, "H has shape"),
        (lambda: pfeiffer.place(X.tolist(), X, p, norm=norm), DTypeError, "S must be an array"),
        (lambda: bottleneck.init(rng, 4, 0), ConfigError, "rank"),
        (lambda: bottleneck.init(rng, 4, 2, std=-1), ConfigError, "std"),
        (lambda: bottleneck.init(0, 4, 2), ConfigError, "default_rng"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words):
            call()


def test_bad_prompts_are_named(rng):
    X, W0, p = normal(rng, 3, 4), normal(rng, 2, 4), PromptTuningParams(normal(rng, 2, 4))
    R, gY = normal(rng, 5, 4), normal(rng, 5, 2)
    cases = [
        (lambda: prompt_tuning.forward(X[0], W0, p), ShapeError, r"expected \(..., N, 4\)"),
        (lambda: prompt_tuning.forward(X[:, :3], W0, p), ShapeError, "X has shape"),
        (lambda: prompt_tuning.forward(X, W0, p.P), ConfigError, "PromptTuningParams"),
        (lambda: prompt_tuning.forward(X, W0, PromptTuningParams(p.P[:, :3])), ShapeError, "P has shape"),
        (lambda: prompt_tuning.forward(X, W0, PromptTuningParams(p.P[0])), ShapeError, "P has 1 axes"),
        (lambda: prompt_tuning.forward(X, W0[0], p), ShapeError, "W0 has 1 axes"),
        (lambda: prompt_tuning.forward(X, W0, p, bias=W0[0]), ShapeError, "bias"),
        (lambda: prompt_tuning.forward(X.astype("f4"), W0, p), DTypeError, "X is float32"),
        (lambda: prompt_tuning.backward(gY[:4], X, R, W0, p), ShapeError, "gY has shape"),
        (lambda: prompt_tuning.backward(gY, X, R[:4], W0, p), ShapeError, "R has shape"),
        (lambda: prompt_tuning.backward(gY.astype("f4"), X, R, W0, p), DTypeError, "gY is float32"),
        (lambda: prompt_tuning.init(rng, -1, 3), ConfigError, "length"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words):
            call()
