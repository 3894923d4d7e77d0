"""LoHa and LoKr: increments that are products of small matrices in other ways than one behind the other."""

import numpy as np
import pytest
from autograd import grad
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraParams
from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.counts import count
from lora_np.errors import (
    ConfigError,
    DTypeError,
    NonFiniteError,
    OverflowInMergeError,
    RankError,
    RankWarning,
    ShapeError,
)
from lora_np.methods import dora, ia3, loha, lokr, oft
from lora_np.methods.loha import LohaParams
from lora_np.methods.lokr import LokrFactored, LokrFull, factorization
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import methods_products as naive
from tests.naive.lora import matmul

S = 1 / 3
STARTS = ("pissa", "milora", "olora")
POWER = 0.5  # a power of two: no rounding on small integers


def exact(x):
    return fractions_of(np.asarray(x))


def draw_loha(fill, N, d, k, r):
    """X, W0, p, gY, bias."""
    p = LohaParams(fill(d, r), fill(r, k), fill(d, r), fill(r, k))
    return fill(N, k), fill(d, k), p, fill(N, d), fill(d)


def draw_lokr(fill, N, d1, d2, k1, k2, r):
    """X, W0, p, gY, bias; r = 0 means that D is full."""
    p = LokrFactored(fill(d1, k1), fill(d2, r), fill(r, k2)) if r else LokrFull(fill(d1, k1), fill(d2, k2))
    return fill(N, k1 * k2), fill(d1 * d2, k1 * k2), p, fill(N, d1 * d2), fill(d1 * d2)


def filler(seed, kind, dtype=np.float64):
    """Small integers, on which arithmetic is exact, or normal numbers."""
    rng = np.random.default_rng(seed)
    if kind == "integers":
        return lambda *shape: rng.integers(-4, 5, size=shape).astype(dtype)
    return lambda *shape: rng.normal(size=shape).astype(dtype)


def weight(method, W0, p, s):
    """The weight in loops, from tensors of numbers of any kind."""
    if method is loha:
        return naive.loha_weight(W0, *p, s)
    return naive.lokr_weight(W0, p[0], p[1] if len(p) == 2 else matmul(p[1], p[2]), s)


SIZE = st.sampled_from([1, 2, 3])


@st.composite
def layers(draw, kinds=("integers", "normal"), dtypes=(np.float64, np.float32)):
    """A layer of one of the two methods: method, X, W0, p, gY, bias."""
    fill = filler(
        draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from(kinds)), draw(st.sampled_from(dtypes))
    )
    N = draw(st.sampled_from([1, 0, 2]))
    if draw(st.booleans()):
        return loha, *draw_loha(fill, N, *[draw(SIZE) for _ in range(3)])
    return lokr, *draw_lokr(fill, N, *[draw(SIZE) for _ in range(4)], draw(st.sampled_from([0, 1, 2, 5])))


def gradients(method, X, W0, p, gY, scale=S):
    """gX and the gradients by name."""
    _, kept = method.forward(X, W0, p, scale=scale)
    gX, g = method.backward(gY, X, kept, W0, p, scale=scale)
    assert type(g) is type(p)
    return {"X": gX, **g._asdict()}


def exact_gradients(method, X, W0, p, gY, s):
    """The loss is linear in each tensor: its gradient is the difference of two values, exactly."""
    parts = {"X": exact(X), **{name: exact(x) for name, x in p._asdict().items()}}
    base, upstream = exact(W0), exact(gY)

    def loss(name, tensor):
        t = {**parts, name: tensor}
        return naive.loss(upstream, naive.apply(t["X"], weight(method, base, [t[n] for n in p._fields], s)))

    return {name: naive.linear_gradient(lambda x, n=name: loss(n, x), part) for name, part in parts.items()}


class TestAgainstLoops:
    @given(layers(kinds=("integers",)))
    def test_small_integers_come_out_exactly(self, layer):
        """[loha-delta] [lokr-delta] [lokr-vec] [loha-grad] [lokr-grad]  Properties 76 and 77, every bit."""
        method, X, W0, p, gY, bias = layer
        W = weight(method, exact(W0), [exact(x) for x in p], exact(POWER))
        merged = method.merge(W0, p, scale=POWER)
        assert exact(merged) == W
        assert (method.unmerge(merged, p, scale=POWER) == W0).all()
        Y, _ = method.forward(X, W0, p, scale=POWER, bias=bias)
        assert Y.dtype == merged.dtype == X.dtype
        assert Y.shape == gY.shape
        if len(X):
            assert exact(Y) == naive.apply(exact(X), W, exact(bias))
        got, want = (
            gradients(method, X, W0, p, gY, POWER),
            exact_gradients(method, X, W0, p, gY, exact(POWER)),
        )
        for name, x in {"X": X, **p._asdict()}.items():
            assert got[name].shape == x.shape
            assert exact(got[name]) == want[name], name

    @given(layers())
    def test_every_number_is_within_16_u(self, layer):
        """[loha-delta] [lokr-delta] [loha-grad] [lokr-grad]  Measured against the same formulas of absolute values."""
        method, X, W0, p, gY, bias = layer
        sizes = [
            type(p)(*(abs(x).astype(float) for x in p)),
            *(abs(x).astype(float) for x in (X, W0, gY, bias)),
        ]
        q, aX, aW0, agY, abias = sizes
        W = weight(method, exact(W0), [exact(x) for x in p], exact(S))
        size = method.merge(aW0, q, scale=S)
        merged = method.merge(W0, p, scale=S)
        assert exact_error_in_u(merged, W, size) <= GOLD
        back = method.unmerge(merged, p, scale=S)
        assert exact_error_in_u(back, exact(W0), 2 * size - aW0) <= GOLD
        if len(X):
            Y, _ = method.forward(X, W0, p, scale=S, bias=bias)
            want = naive.apply(exact(X), W, exact(bias))
            assert exact_error_in_u(Y, want, aX @ size.T + abias) <= GOLD
        got, want = gradients(method, X, W0, p, gY), exact_gradients(method, X, W0, p, gY, exact(S))
        bounds = gradients(method, aX, aW0, q, agY)
        for name in got:
            if got[name].size:
                assert exact_error_in_u(got[name], want[name], bounds[name]) <= GOLD, name


@pytest.mark.parametrize("make", ["loha", "full", "factored"])
def test_gradients_agree_with_autograd(make, rng):
    """[loha-grad] [lokr-grad]  On a larger batch, with sizes that are all different."""
    fill = filler(3, "normal")
    method = loha if make == "loha" else lokr
    X, W0, p, gY, _ = (
        draw_loha(fill, 9, 5, 7, 3)
        if make == "loha"
        else draw_lokr(fill, 9, 2, 3, 5, 4, 2 * (make == "factored"))
    )

    def increment(*t):
        if method is loha:
            return (t[0] @ t[1]) * (t[2] @ t[3])
        D = t[1] if len(t) == 2 else t[1] @ t[2]
        return (t[0][:, None, :, None] * D[None, :, None, :]).reshape(W0.shape)

    def loss(X, *t):
        return (gY * (X @ (W0 + S * increment(*t)).T)).sum()

    wants = grad(loss, argnum=tuple(range(len(p) + 1)))(X, *p)
    bounds = gradients(method, abs(X), abs(W0), type(p)(*map(abs, p)), abs(gY))
    for (name, got), want in zip(gradients(method, X, W0, p, gY).items(), wants, strict=True):
        assert error_in_u(got, want, bounds[name]) <= 2 * GOLD, name


class TestLoha:
    def test_it_is_the_product_of_two_lora_increments(self, rng):
        """[loha-delta]  Property 76: entry by entry, and its rank goes up to r²."""
        _, W0, p, _, _ = draw_loha(filler(1, "normal"), 1, 12, 11, 3)
        delta = loha.merge(0 * W0, p, scale=1.0)
        assert (delta == (p.B1 @ p.A1) * (p.B2 @ p.A2)).all()
        assert np.linalg.matrix_rank(delta) == 9
        assert np.linalg.matrix_rank(p.B1 @ p.A1) == 3

    @pytest.mark.parametrize("scheme", loha.INIT_SCHEMES)
    def test_it_starts_as_the_frozen_layer(self, scheme, rng):
        """[loha-delta]  The increment is zero, and one factor gets a gradient."""
        X, W0, _, gY, _ = draw_loha(filler(2, "normal"), 4, 50, 60, 3)
        p = loha.init(rng, 50, 60, 3, scheme=scheme)
        assert (loha.merge(W0, p, scale=S) == W0).all()
        g = gradients(loha, X, W0, p, gY)
        silent = {"lycoris": "B2", "kaiming": "A2"}[scheme]
        assert {name for name in p._fields if g[name].any()} == {silent}
        spread = {name: x.std() for name, x in p._asdict().items()}
        if scheme == "lycoris":
            wants = {"B1": 0.1, "A1": 1.0, "A2": 1.0, "B2": 0.0}
        else:  # U(±a) has the deviation a / √3
            wants = {"B1": 1 / 3, "A1": 1 / np.sqrt(180), "B2": 1 / 3, "A2": 0.0}
        assert spread == pytest.approx(wants, rel=0.2)
        assert loha.init(rng, 3, 2, 1, scheme=scheme, dtype=np.float32).A1.dtype == np.float32

    def test_the_two_pairs_may_have_different_ranks(self, rng):
        """[loha-delta]"""
        fill = filler(4, "integers")
        p = LohaParams(fill(3, 2), fill(2, 4), fill(3, 1), fill(1, 4))
        assert exact(loha.merge(fill(3, 4) * 0, p, scale=1.0)) == naive.loha_weight(
            exact(np.zeros((3, 4))), *(exact(x) for x in p), 1
        )

    def test_bad_input_is_named(self, rng):
        """[loha-delta]"""
        X, W0, p, gY, _ = draw_loha(filler(5, "normal"), 2, 3, 4, 2)
        _, kept = loha.forward(X, W0, p, scale=S)
        cases = [
            (ConfigError, "B1, A1, B2, A2", lambda: loha.merge(W0, p[:2], scale=S)),
            (RankError, "rank", lambda: loha.merge(W0, p._replace(B2=p.B2[:, :1]), scale=S)),
            (ShapeError, "do not fit", lambda: loha.merge(W0, p._replace(A1=p.A1[:, :1]), scale=S)),
            (ConfigError, "kept", lambda: loha.backward(gY, X, X, W0, p, scale=S)),
            (ShapeError, "kept.first", lambda: loha.backward(gY, X, kept._replace(first=X), W0, p, scale=S)),
            (NonFiniteError, "adapter's A2", lambda: loha.merge(W0, p._replace(A2=p.A2 / 0.0), scale=S)),
            (OverflowInMergeError, "merging", lambda: loha.merge(W0, p._replace(A2=p.A2 * 1e308), scale=1e5)),
            (ConfigError, "scheme", lambda: loha.init(rng, 3, 4, 2, scheme="peft")),
            (ConfigError, "rng", lambda: loha.init(0, 3, 4, 2)),
        ]
        for error, words, call in cases:
            with np.errstate(all="ignore"), pytest.raises(error, match=words):
                call()
        with pytest.warns(RankWarning):
            loha.init(rng, 3, 4, 5)


class TestLokr:
    def test_the_product_is_that_of_numpy(self, rng):
        """[lokr-delta]  Property 77: np.kron, and its rank is the product of the ranks."""
        C, D = rng.normal(size=(4, 5)), rng.normal(size=(3, 2)) @ rng.normal(size=(2, 7))
        assert (lokr.kron(C, D) == np.kron(C, D)).all()
        assert np.linalg.matrix_rank(lokr.kron(C, D)) == 4 * 2

    def test_the_vec_identity(self, rng):
        """[lokr-vec]  Property 77: (C ⊗ D) vec(X) = vec(C X Dᵀ), rows one after the other."""
        fill = filler(6, "integers")
        C, D, X = fill(2, 3), fill(4, 5), fill(3, 5)
        assert (np.kron(C, D) @ X.ravel() == (C @ X @ D.T).ravel()).all()
        Y, Z = lokr.forward(X.reshape(1, 15), np.zeros((8, 15)), LokrFull(C, D), scale=1.0)
        assert (Y[0] == (C @ X @ D.T).ravel()).all()
        assert (Z[0] == X @ D.T).all()

    def test_the_sides_are_not_exchangeable(self, rng):
        """[lokr-delta]  C ⊗ D and D ⊗ C hold the same numbers in other places."""
        C, D = rng.normal(size=(2, 3)), rng.normal(size=(4, 5))
        one, other = (lokr.merge(np.zeros((8, 15)), LokrFull(*pair), scale=1.0) for pair in ((C, D), (D, C)))
        assert np.sort(one.ravel()) == pytest.approx(np.sort(other.ravel()))
        assert (one != other).any()

    def test_leading_axes_are_batch_axes(self, rng):
        """[lokr-vec] [lokr-grad] [loha-grad]"""
        fill = filler(7, "integers")
        for method, layer in ((lokr, draw_lokr(fill, 6, 2, 3, 3, 2, 1)), (loha, draw_loha(fill, 6, 6, 6, 2))):
            X, W0, p, gY, bias = layer
            Y, _ = method.forward(X, W0, p, scale=POWER, bias=bias)
            deep, kept = method.forward(X.reshape(2, 3, 6), W0, p, scale=POWER, bias=bias)
            assert (deep.reshape(Y.shape) == Y).all()
            got = method.backward(gY.reshape(2, 3, 6), X.reshape(2, 3, 6), kept, W0, p, scale=POWER)
            want = gradients(method, X, W0, p, gY, POWER)
            assert (got[0].reshape(X.shape) == want["X"]).all()
            assert all((x == want[name]).all() for name, x in got[1]._asdict().items())

    @pytest.mark.parametrize("n", [1, 2, 7, 12, 30, 36, 97, 128, 768, 11008])
    def test_a_split_is_two_factors_the_smaller_first(self, n):
        """[lokr-split]  Property 77: their product is n; with −1 no other two are nearer to the root."""
        divisors = [m for m in range(1, n + 1) if n % m == 0]
        small, large = factorization(n)
        assert small * large == n
        assert small == max(m for m in divisors if m * m <= n)
        for factor in range(40):
            small, large = factorization(n, factor)
            assert small * large == n
            assert small == max(m for m in divisors if m * m <= n and m <= max(factor, 1))

    @pytest.mark.interop
    def test_a_split_is_the_one_of_peft_up_to_the_root(self):
        """[lokr-split]  Above it PEFT 0.21 takes a factor that divides n, which then stands first and is the larger."""
        peft = pytest.importorskip("peft.tuners.lokr.layer", reason="PEFT is not installed")
        for n in range(1, 200):
            for factor in [-1, *range(1, 40)]:
                theirs = peft.factorization(n, factor)
                taken = factor * factor > n and n % factor == 0 and factor > 0
                assert theirs == ((factor, n // factor) if taken else factorization(n, factor))

    @pytest.mark.parametrize("scheme", lokr.INIT_SCHEMES)
    @pytest.mark.parametrize("second", ["full", "factored"])
    def test_it_starts_as_the_frozen_layer(self, scheme, second, rng):
        """[lokr-delta] [lokr-split]  Which factor starts at zero is the difference between the two programs."""
        p = lokr.init(rng, 12, 30, 2, second=second, scheme=scheme)
        assert type(p) is {"full": LokrFull, "factored": LokrFactored}[second]
        zero = [name for name, x in p._asdict().items() if not x.any()]
        assert zero == ["C" if scheme == "peft" else "D" if second == "full" else "A"]
        W0 = rng.normal(size=(12, 30))
        assert (lokr.merge(W0, p, scale=S) == W0).all()
        for x in p:
            assert (abs(x) <= 1 / np.sqrt(x.shape[1])).all()

    def test_the_second_is_factored_where_that_is_smaller(self, rng):
        """[lokr-split]  2r < max(d2, k2): 64 = 8 · 8, so at r = 4 it is full."""
        assert type(lokr.init(rng, 64, 64, 3)) is LokrFactored
        assert type(lokr.init(rng, 64, 64, 4)) is LokrFull
        assert [x.shape for x in lokr.init(rng, 64, 32, 1, factor=4, dtype=np.float32)] == [
            (4, 4),
            (16, 1),
            (1, 8),
        ]

    def test_bad_input_is_named(self, rng):
        """[lokr-delta]"""
        X, W0, p, gY, _ = draw_lokr(filler(8, "normal"), 2, 2, 3, 2, 2, 2)
        cases = [
            (ConfigError, "C, B, A", lambda: lokr.merge(W0, (p.C,), scale=S)),
            (ConfigError, "C, B, A", lambda: lokr.merge(W0, None, scale=S)),
            (RankError, "B has rank 1", lambda: lokr.merge(W0, p._replace(B=p.B[:, :1]), scale=S)),
            (
                ShapeError,
                r"⊗ D \(3, 1\).*factorization\(6\)",
                lambda: lokr.merge(W0, p._replace(A=p.A[:, :1]), scale=S),
            ),
            (ShapeError, "C has 1 axes", lambda: lokr.merge(W0, p._replace(C=p.C[0]), scale=S)),
            (DTypeError, "C is float32", lambda: lokr.merge(W0, p._replace(C=p.C.astype("f4")), scale=S)),
            (ShapeError, "Z has shape", lambda: lokr.backward(gY, X, X, W0, p, scale=S)),
            (ConfigError, "scale", lambda: lokr.merge(W0, p, scale="1")),
            (NonFiniteError, "adapter's B", lambda: lokr.unmerge(W0, p._replace(B=p.B / 0.0), scale=S)),
            (ConfigError, "factor", lambda: factorization(6, -2)),
            (ConfigError, "n must be", lambda: factorization(0)),
            (ConfigError, "second", lambda: lokr.init(rng, 4, 4, 1, second="low")),
        ]
        for error, words, call in cases:
            with np.errstate(all="ignore"), pytest.raises(error, match=words):
                call()


def test_every_library_gives_the_same_bits(library):
    """[loha-grad] [lokr-grad]  On small integers; same library out, arguments untouched."""
    fill = filler(9, "integers")
    layers = [
        (loha, draw_loha(fill, 3, 4, 6, 2)),
        (lokr, draw_lokr(fill, 3, 2, 2, 3, 2, 0)),
        (lokr, draw_lokr(fill, 3, 2, 2, 3, 2, 1)),
    ]

    def everything(method, X, W0, p, gY, bias):
        Y, kept = method.forward(X, W0, p, scale=POWER, bias=bias)
        gX, g = method.backward(gY, X, kept, W0, p, scale=POWER)
        W = method.merge(W0, p, scale=POWER)
        return [Y, gX, *g, W, method.unmerge(W, p, scale=POWER)]

    for method, (X, W0, p, gY, bias) in layers:
        theirs = [library.asarray(x) for x in (X, W0, gY, bias)]
        q = type(p)(*(library.asarray(x) for x in p))
        got = everything(method, theirs[0], theirs[1], q, theirs[2], theirs[3])
        for one, other in zip(everything(method, X, W0, p, gY, bias), got, strict=True):
            assert type(other) is type(theirs[0])
            assert (library.to_numpy(other) == one).all()
        assert (library.to_numpy(theirs[1]) == W0).all()


@pytest.mark.parametrize(
    ("name", "tensors", "options"),
    [
        ("dora", lambda rng: dora.init(rng, np.ones((768, 768)), 4), {"rank": 4}),
        ("loha", lambda rng: loha.init(rng, 768, 768, 4), {"rank": 4}),
        ("lokr", lambda rng: lokr.init(rng, 768, 768, 4), {"rank": 4}),  # 24 · 32 each way: factored
        ("lokr", lambda rng: lokr.init(rng, 768, 768, 16), {"rank": 16}),  # full
        ("ia3", lambda rng: ia3.init(768, 768, feedforward=False), {}),
        ("oft", lambda rng: oft.init(768, 32), {"block": 32}),
        *[
            (name, lambda rng: LoraParams(np.ones((768, 4)), np.ones((4, 768))), {"rank": 4})
            for name in STARTS
        ],
    ],
)
def test_the_count_is_the_size_of_the_tensors(name, tensors, options, rng):
    """[dora-weight] [loha-delta] [lokr-delta] [ia3-output] [oft-weight]  On the values of GPT-2's 12 blocks."""
    size = sum(x.size for x in tensors(rng))
    assert count("gpt2", name, targets="v", **options).trainable == 12 * size
