"""Prefix tuning: attention with extra keys and values, and the network that makes them while training."""

import math

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from hypothesis import given
from hypothesis import strategies as st

from lora_np.errors import ConfigError, DTypeError, ShapeError
from lora_np.methods import prefix_tuning
from lora_np.methods.prefix_tuning import PrefixParams, Reparametrization
from tests.naive import methods_modules as naive


def draw(rng, N=3, T=4, length=2, dh=3):
    Q, K, V, gY = (rng.normal(size=(n, dh)) for n in (N, T, T, N))
    return Q, K, V, PrefixParams(*rng.normal(size=(2, length, dh))), gY


def draw_network(rng, length=3, e=2, h=4, dh=2):
    sizes = [(length, e), (h, e), (h,), (2 * dh, h), (2 * dh,)]
    return Reparametrization(*(rng.normal(size=size) for size in sizes))


def lists(Q, K, V, p):
    return {name: x.tolist() for name, x in {"Q": Q, "K": K, "V": V, **p._asdict()}.items()}


def attention(Q, K, V, P_k, P_v):
    return naive.attention(Q, K, V, P_k, P_v, exp=lambda x: x.exp(), sqrt=lambda n: type(Q[0][0])(n).sqrt())


# ---- attention -------------------------------------------------------------------------------------------------


@given(
    N=st.sampled_from([0, 1, 3]),
    T=st.integers(0, 3),
    length=st.integers(0, 3),
    dh=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_values_equal_plain_loops(N, T, length, dh, seed):
    """[prefix-attention]  Prefix alone, tokens alone, both; the rows of S are weights."""
    if T + length == 0:
        return
    Q, K, V, p, _ = draw(np.random.default_rng(seed), N, T, length, dh)
    Y, S = prefix_tuning.forward(Q, K, V, p)
    want = np.array(naive.attention(**lists(Q, K, V, p))).reshape(N, dh)
    assert S.shape == (N, length + T)
    assert np.abs(Y - want).max(initial=0) <= 2e-14
    assert np.abs(S.sum(axis=1) - 1).max(initial=0) <= 1e-15
    assert (S >= 0).all()


def test_values_and_gradients_agree_with_many_digits(rng):
    """[prefix-attention] [prefix-attention-grad]  Plain loops on 80 digits; queries, keys, values and the prefix."""
    Q, K, V, p, gY = draw(rng)
    Y, S = prefix_tuning.forward(Q, K, V, p)
    given_, g = prefix_tuning.backward(gY, Q, S, K, V, p)
    tensors = lists(Q, K, V, p)
    assert np.abs(Y - naive.values(attention, tensors)).max() <= 2e-15
    for name, got in {**given_._asdict(), **g._asdict()}.items():
        want = np.array(naive.slope(attention, tensors, name, gY.tolist()))
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= 4e-15, name


def test_gradients_equal_those_of_autograd(rng):
    """[prefix-attention-grad]  On larger arrays."""
    Q, K, V, p, gY = draw(rng, 7, 9, 5, 8)

    def loss(Q, K, V, P_k, P_v):
        weights = anp.exp(Q @ anp.concatenate([P_k, K]).T / math.sqrt(8))
        return anp.sum(gY * (weights @ anp.concatenate([P_v, V]) / anp.sum(weights, axis=1, keepdims=True)))

    S = prefix_tuning.forward(Q, K, V, p)[1]
    given_, g = prefix_tuning.backward(gY, Q, S, K, V, p)
    for i, got in enumerate((*given_, *g)):
        assert np.abs(got - grad(loss, i)(Q, K, V, *p)).max() <= 1e-13


def test_without_a_prefix_it_is_attention_and_a_heavy_prefix_takes_over(rng):
    """[prefix-attention]  Zero prefix tokens change nothing; keys that point along every query give P_v itself."""
    Q, K, V, p, _ = draw(rng)
    none = PrefixParams(np.zeros((0, 3)), np.zeros((0, 3)))
    as_prefix = prefix_tuning.forward(Q, K[:0], V[:0], PrefixParams(K, V))[0]
    assert np.array_equal(prefix_tuning.forward(Q, K, V, none)[0], as_prefix)
    Q = np.abs(Q) + 1
    heavy = PrefixParams(np.full((1, 3), 1e4), p.P_v[:1])
    assert np.array_equal(prefix_tuning.forward(Q, K, V, heavy)[0], np.repeat(p.P_v[:1], 3, axis=0))


def test_large_scores_do_not_overflow(rng):
    """[prefix-attention]  Scores of ±1e5: the largest is subtracted first."""
    Q, K, V, p, gY = draw(rng)
    Y, S = prefix_tuning.forward(1e5 * Q, K, V, p)
    given_, g = prefix_tuning.backward(gY, 1e5 * Q, S, K, V, p)
    assert all(np.isfinite(x).all() for x in (Y, S, *given_, *g))


def test_adding_the_same_to_all_keys_changes_nothing(rng):
    """[prefix-attention-grad]  Softmax does not see it, so the gradients of all keys add up to zero."""
    Q, K, V, p, gY = draw(rng)
    shift = rng.normal(size=3)
    Y, S = prefix_tuning.forward(Q, K, V, p)
    moved = prefix_tuning.forward(Q, K + shift, V, p._replace(P_k=p.P_k + shift))[0]
    assert np.abs(moved - Y).max() <= 1e-14
    given_, g = prefix_tuning.backward(gY, Q, S, K, V, p)
    assert np.abs(g.P_k.sum(axis=0) + given_.K.sum(axis=0)).max() <= 1e-14


def test_leading_axes_of_the_queries_are_a_batch(rng):
    Q, K, V, p, gY = draw(rng, 6)
    Y, S = prefix_tuning.forward(Q, K, V, p)
    given_, g = prefix_tuning.backward(gY, Q, S, K, V, p)
    Y2, S2 = prefix_tuning.forward(Q.reshape(2, 3, 3), K, V, p)
    given2, g2 = prefix_tuning.backward(gY.reshape(2, 3, 3), Q.reshape(2, 3, 3), S2, K, V, p)
    assert np.abs(Y2.reshape(6, 3) - Y).max() <= 1e-15
    assert np.abs(given2.Q.reshape(6, 3) - given_.Q).max() <= 1e-15
    assert all(
        np.abs(a - b).max() <= 1e-14 for a, b in zip((*given2[1:], *g2), (*given_[1:], *g), strict=True)
    )


# ---- the network that makes the prefix -------------------------------------------------------------------------


def test_the_reparametrization_agrees_with_many_digits(rng):
    """[prefix-reparam] [prefix-reparam-grad]  All five tensors, plain loops on 80 digits."""
    q = draw_network(rng)
    p, T = prefix_tuning.reparametrize(q)
    gp = PrefixParams(*rng.normal(size=(2, 3, 2)))
    g = prefix_tuning.reparametrize_backward(gp, T, q)
    tensors = {name: x.tolist() for name, x in q._asdict().items()}

    def forward(**tensors):
        return naive.reparametrize(**tensors, tanh=naive.tanh)

    assert np.abs(np.concatenate(p, axis=1) - naive.values(forward, tensors)).max() <= 4e-15
    for name, got in g._asdict().items():
        want = np.array(naive.slope(forward, tensors, name, np.concatenate(gp, axis=1).tolist()))
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= 1e-14, name


def test_both_ways_to_train_meet_in_the_prefix(rng):
    """[prefix-reparam-grad]  The loss of the attention, pulled through the prefix to E, by autograd in one go."""
    Q, K, V, _, gY = draw(rng, dh=2)
    q = draw_network(rng)

    def loss(E):
        both = anp.tanh(E @ q.W1.T + q.b1) @ q.W2.T + q.b2
        weights = anp.exp(Q @ anp.concatenate([both[:, :2], K]).T / math.sqrt(2))
        return anp.sum(
            gY * (weights @ anp.concatenate([both[:, 2:], V]) / anp.sum(weights, axis=1, keepdims=True))
        )

    p, T = prefix_tuning.reparametrize(q)
    S = prefix_tuning.forward(Q, K, V, p)[1]
    gp = prefix_tuning.backward(gY, Q, S, K, V, p)[1]
    assert np.abs(prefix_tuning.reparametrize_backward(gp, T, q).E - grad(loss)(q.E)).max() <= 1e-14


def test_a_prefix_starts_as_a_standard_gaussian(rng):
    """[prefix-attention]  Keys and values drawn apart."""
    p = prefix_tuning.init(rng, 100, 64)
    assert p.P_k.shape == p.P_v.shape == (100, 64)
    assert abs(p.P_k.std() - 1) < 0.03
    assert abs(np.corrcoef(p.P_k.ravel(), p.P_v.ravel())[0, 1]) < 0.05
    assert prefix_tuning.init(rng, 2, 3, dtype=np.float32).P_v.dtype == np.float32


# ---- libraries and bad input -----------------------------------------------------------------------------------


def test_every_library_gives_the_same_numbers(library, rng):
    """Same library out, arguments untouched."""
    Q, K, V, p, gY = draw(rng, dh=2)
    q = draw_network(rng)

    def everything(Q, K, V, p, gY, q):
        Y, S = prefix_tuning.forward(Q, K, V, p)
        given_, g = prefix_tuning.backward(gY, Q, S, K, V, p)
        made, T = prefix_tuning.reparametrize(q)
        return Y, S, *given_, *g, *made, T, *prefix_tuning.reparametrize_backward(made, T, q)

    make = library.asarray
    theirs = [make(x) for x in (Q, K, V, gY)]
    got = everything(*theirs[:3], PrefixParams(*map(make, p)), theirs[3], Reparametrization(*map(make, q)))
    for one, other in zip(everything(Q, K, V, p, gY, q), got, strict=True):
        assert type(other) is type(theirs[0])
        assert np.abs(library.to_numpy(other) - one).max() <= 1e-14
    assert np.array_equal(library.to_numpy(theirs[0]), Q)


def test_bad_prefixes_are_named(rng):
    Q, K, V, p, gY = draw(rng)
    S = prefix_tuning.forward(Q, K, V, p)[1]
    empty = PrefixParams(p.P_k[:0], p.P_v[:0])
    thin = PrefixParams(p.P_k[:, :0], p.P_v[:, :0])
    cases = [
        (lambda: prefix_tuning.forward(Q, K, V, (p.P_k, p.P_v)), ConfigError, "PrefixParams"),
        (lambda: prefix_tuning.forward(Q[:, :2], K, V, p), ShapeError, "Q has shape"),
        (lambda: prefix_tuning.forward(Q, K[0], V, p), ShapeError, "K has 1 axes"),
        (lambda: prefix_tuning.forward(Q, K, V, p._replace(P_k=p.P_k[:, :2])), ShapeError, "P_k has shape"),
        (lambda: prefix_tuning.forward(Q, K, V[:2], p), ShapeError, "V has shape"),
        (lambda: prefix_tuning.forward(Q, K, V, p._replace(P_v=p.P_v[:1])), ShapeError, "P_v has shape"),
        (lambda: prefix_tuning.forward(Q, K, V, p._replace(P_k=p.P_k[0])), ShapeError, "P_k has 1 axes"),
        (lambda: prefix_tuning.forward(Q.astype("f4"), K, V, p), DTypeError, "Q is float32"),
        (lambda: prefix_tuning.forward(Q, K[:0], V[:0], empty), ShapeError, r"0 \+ 0 keys"),
        (lambda: prefix_tuning.forward(Q[:, :0], K[:, :0], V[:, :0], thin), ShapeError, "keys of 0"),
        (lambda: prefix_tuning.backward(gY[:2], Q, S, K, V, p), ShapeError, "batch axes"),
        (lambda: prefix_tuning.backward(gY, Q, S[:, :3], K, V, p), ShapeError, "S has shape"),
        (lambda: prefix_tuning.backward(gY[:, :2], Q, S, K, V, p), ShapeError, "gY has shape"),
        (lambda: prefix_tuning.backward(gY.astype("f4"), Q, S, K, V, p), DTypeError, "gY is float32"),
        (lambda: prefix_tuning.init(rng, 2, 0), ConfigError, "dh"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words):
            call()


def test_bad_reparametrizations_are_named(rng):
    q = draw_network(rng)
    p, T = prefix_tuning.reparametrize(q)
    cases = [
        (lambda: prefix_tuning.reparametrize(tuple(q)), ConfigError, "Reparametrization"),
        (lambda: prefix_tuning.reparametrize(q._replace(E=q.E[:, :1])), ShapeError, "E has shape"),
        (lambda: prefix_tuning.reparametrize(q._replace(b1=q.b2[:3])), ShapeError, "b1 has shape"),
        (lambda: prefix_tuning.reparametrize(q._replace(W2=q.W2[:, :1])), ShapeError, "W2 has shape"),
        (lambda: prefix_tuning.reparametrize(q._replace(b2=q.b2[:2])), ShapeError, "b2 has shape"),
        (
            lambda: prefix_tuning.reparametrize(q._replace(W2=q.W2[:3], b2=q.b2[:3])),
            ShapeError,
            "even number",
        ),
        (lambda: prefix_tuning.reparametrize(q._replace(W1=q.W1.astype("f4"))), DTypeError, "W1 is float32"),
        (lambda: prefix_tuning.reparametrize_backward(p, T[:1], q), ShapeError, "T has shape"),
        (lambda: prefix_tuning.reparametrize_backward(p._replace(P_v=p.P_v[:1]), T, q), ShapeError, "gP_v"),
        (lambda: prefix_tuning.reparametrize_backward(tuple(p), T, q), ConfigError, "PrefixParams"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words):
            call()
