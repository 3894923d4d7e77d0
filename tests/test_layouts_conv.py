"""LoRA on a convolution, in both ways to factor a kernel: exact values and gradients, merging, torch, bad input."""

from fractions import Fraction
from typing import NamedTuple

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from hypothesis import assume, given
from hypothesis import strategies as st

from lora_np import lora, merging
from lora_np.conformance.bounds import GOLD
from lora_np.errors import ConfigError, DTypeError, RankError, RankWarning, ShapeError
from lora_np.layouts import conv2d, conv2d_reshaped
from lora_np.layouts.convolution import Geometry, convolve, output_size, pull_to_input, pull_to_kernel
from lora_np.lora import LoraParams
from tests.exact import exact_error_in_u, floats_of, fractions_of
from tests.naive import layouts as naive

S = 0.25  # a power of two: on small integers every result is exact


def integers(rng, *shape):
    return rng.integers(-4, 5, size=shape).astype(float)


def normal(rng, *shape):
    return rng.normal(size=shape)


class Sizes(NamedTuple):
    """Everything that decides a shape; d, k and r are those of one group."""

    N: int
    d: int
    k: int
    r: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    geometry: Geometry
    groups: int


@st.composite
def sizes(draw, square=False):
    """Small images with any stride, padding, dilation and groups, where the kernel fits."""
    small = st.integers(1, 2)
    pair = st.tuples(small, small)
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    kernel = (kernel[0], kernel[0]) if square else kernel
    geometry = Geometry(
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
        draw(pair),
    )
    size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    spans = [dilation * (n - 1) + 1 for dilation, n in zip(geometry.dilation, kernel, strict=True)]
    assume(all(s <= n + 2 * p for s, n, p in zip(spans, size, geometry.padding, strict=True)))
    return Sizes(
        draw(st.integers(0, 2)),
        draw(small),
        draw(small),
        draw(small),
        size,
        kernel,
        geometry,
        draw(st.integers(1, 3)),
    )


def draw(way, z, rng, make=integers):
    """X, W0, p, gY and bias of a layer of these sizes."""
    d, k, r, (kh, kw) = z.d * z.groups, z.k * z.groups, z.r * z.groups, z.kernel
    windows = output_size(z.size, z.kernel, z.geometry)
    shapes = {
        conv2d: ((d, z.r, 1, 1), (r, k, kh, kw)),
        conv2d_reshaped: ((z.d * kh, r * kh), (r * kh, k * kh)),
    }[way]
    p = LoraParams(*(make(rng, *shape) for shape in shapes))
    return make(rng, z.N, k, *z.size), make(rng, d, z.k, kh, kw), p, make(rng, z.N, d, *windows), make(rng, d)


def options(z):
    return {**z.geometry._asdict(), "groups": z.groups}


def loops(way):
    """The same layer in plain loops, on nested lists named by tensor."""
    return {conv2d: naive.lora_conv2d, conv2d_reshaped: naive.reshaped_conv2d}[way]


def kept_and_backward(way, gY, X, W0, p, s, z):
    Y, kept = way.forward(X, W0, p, scale=s, **options(z))
    second = (W0,) if way is conv2d else ()
    return Y, way.backward(gY, X, kept, *second, p, scale=s, **options(z))


WAYS = pytest.mark.parametrize("way", [conv2d, conv2d_reshaped], ids=["bottleneck", "reshaped"])
USUAL = Sizes(2, 2, 3, 2, (5, 4), (3, 3), Geometry((2, 1), (1, 0), (1, 1)), 2)
SEEDS = st.integers(0, 2**32 - 1)


# ---- convolution itself ----------------------------------------------------------------------------------------


@given(z=sizes(), seed=SEEDS)
def test_a_convolution_equals_plain_loops_exactly(z, seed):
    """[layout-conv]  Every stride, padding, dilation and number of groups, empty batches included."""
    rng = np.random.default_rng(seed)
    X = integers(rng, z.N, z.k * z.groups, *z.size)
    W = integers(rng, z.d * z.groups, z.k, *z.kernel)
    Y = convolve(X, W, z.geometry, groups=z.groups)
    assert Y.shape == (z.N, z.d * z.groups, *output_size(z.size, z.kernel, z.geometry))
    assert Y.tolist() == naive.conv2d(X.tolist(), W.tolist(), groups=z.groups, **z.geometry._asdict())


@given(z=sizes(), seed=SEEDS)
def test_the_pullbacks_are_the_adjoints(z, seed):
    """[layout-conv-grad]  <gY, conv(X, W)> = <pull_to_input, X> = <pull_to_kernel, W>, exactly on integers."""
    rng = np.random.default_rng(seed)
    X = integers(rng, z.N, z.k * z.groups, *z.size)
    W = integers(rng, z.d * z.groups, z.k, *z.kernel)
    Y = convolve(X, W, z.geometry, groups=z.groups)
    gY = integers(rng, *Y.shape)
    gX = pull_to_input(gY, z.size, W, z.geometry, groups=z.groups)
    gW = pull_to_kernel(gY, X, z.kernel, z.geometry, groups=z.groups)
    assert gX.shape == X.shape
    assert gW.shape == W.shape
    assert (gY * Y).sum() == (gX * X).sum() == (gW * W).sum()


# ---- the layer -------------------------------------------------------------------------------------------------


@WAYS
@given(data=st.data(), seed=SEEDS)
def test_values_equal_plain_loops_exactly(way, data, seed):
    """[layout-conv] [layout-conv-reshaped]"""
    z = data.draw(sizes(square=way is conv2d_reshaped))
    X, W0, p, gY, bias = draw(way, z, np.random.default_rng(seed))
    Y, kept = way.forward(X, W0, p, scale=S, bias=bias, **options(z))
    lists = [x.tolist() for x in (X, W0, *p)]
    assert Y.shape == gY.shape
    assert Y.tolist() == loops(way)(*lists, S, bias=bias.tolist(), **options(z))
    assert kept.shape == (W0.shape if way is conv2d_reshaped else (z.N, z.r * z.groups, *Y.shape[2:]))


@WAYS
@given(data=st.data(), seed=SEEDS)
def test_gradients_are_the_adjoints_of_the_layer(way, data, seed):
    """[layout-conv-grad] [layout-conv-reshaped]  Y is linear in X (no bias), and affine in each factor: exactly."""
    z = data.draw(sizes(square=way is conv2d_reshaped))
    X, W0, p, gY, _ = draw(way, z, np.random.default_rng(seed))
    Y, (gX, g) = kept_and_backward(way, gY, X, W0, p, S, z)
    zero = LoraParams(np.zeros_like(p.B), p.A)
    branch = (gY * (Y - way.forward(X, W0, zero, scale=S, **options(z))[0])).sum()
    assert gX.shape == X.shape
    assert (g.B.shape, g.A.shape) == (p.B.shape, p.A.shape)
    assert (gY * Y).sum() == (gX * X).sum()
    assert branch == (g.B * p.B).sum() == (g.A * p.A).sum()


@WAYS
@pytest.mark.parametrize(
    "z",
    [
        Sizes(1, 1, 1, 2, (4, 3), (2, 2), Geometry((2, 1), (1, 0), (1, 1)), 2),
        Sizes(2, 1, 2, 1, (3, 4), (2, 2), Geometry((1, 2), (0, 1), (2, 1)), 1),
    ],
)
def test_gradients_equal_differences_of_plain_loops_exactly(way, z, rng):
    """[layout-conv-grad] [layout-conv-reshaped]  Every entry, through nothing but the plain forward."""
    X, W0, p, gY, _ = draw(way, z, rng)
    _, (gX, g) = kept_and_backward(way, gY, X, W0, p, S, z)
    tensors = {"X": X.tolist(), "W0": W0.tolist(), "B": p.B.tolist(), "A": p.A.tolist()}

    def forward(X, W0, B, A):
        return loops(way)(X, W0, B, A, S, **options(z))

    for name, got in {"X": gX, "B": g.B, "A": g.A}.items():
        assert got.tolist() == naive.gradient(forward, tensors, name, gY.tolist()), name


@WAYS
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rounding_stays_within_the_gold_level(way, dtype, rng):
    """Values, gradients and the merged kernel against Fractions, at a scale that is no power of two."""
    z, s = Sizes(1, 1, 2, 2, (3, 3), (2, 2), Geometry((1, 2), (1, 0), (1, 1)), 2), 1 / 3
    X, W0, p, gY, _ = draw(way, z, rng, make=lambda rng, *shape: rng.normal(size=shape).astype(dtype))
    Y, (gX, g) = kept_and_backward(way, gY, X, W0, p, s, z)

    def forward(X, W0, B, A):
        return loops(way)(X, W0, B, A, Fraction(s), **options(z))

    tensors = {"X": X, "W0": W0, "B": p.B, "A": p.A}
    exact = {name: fractions_of(x) for name, x in tensors.items()}
    large = {name: fractions_of(np.abs(x)) for name, x in tensors.items()}
    assert Y.dtype == gX.dtype == g.A.dtype == dtype
    assert exact_error_in_u(Y, forward(**exact), floats_of(forward(**large))) <= GOLD
    for name, got in {"X": gX, "B": g.B, "A": g.A}.items():
        want = naive.gradient(forward, exact, name, fractions_of(gY))
        bound = floats_of(naive.gradient(forward, large, name, fractions_of(np.abs(gY))))
        assert exact_error_in_u(got, want, bound) <= GOLD, name


@WAYS
def test_gradients_equal_those_of_autograd(way, rng):
    """[layout-conv-grad]  Autograd goes through windows cut out one by one."""
    z = Sizes(2, 2, 3, 2, (5, 4), (2, 2), Geometry((2, 1), (0, 0), (1, 2)), 1)
    X, W0, p, gY, _ = draw(way, z, rng, make=normal)

    def loss(X, B, A):
        if way is conv2d:
            W = W0 + 0.7 * anp.einsum("oq,qcij->ocij", B[:, :, 0, 0], A)
        else:
            W = W0 + 0.7 * anp.reshape(B @ A, W0.shape)
        return sum(
            anp.sum(
                gY[:, :, y, x] * anp.einsum("ncij,ocij->no", X[:, :, 2 * y : 2 * y + 2, x : x + 3 : 2], W)
            )
            for y in range(gY.shape[2])
            for x in range(gY.shape[3])
        )

    _, (gX, g) = kept_and_backward(way, gY, X, W0, p, 0.7, z)
    for got, argument in zip((gX, *g), range(3), strict=True):
        assert np.abs(got - grad(loss, argument)(X, *p)).max() <= 1e-13


def test_a_one_by_one_kernel_is_the_plain_layer_on_pixels(rng):
    """[layout-conv]  Every pixel is a row."""
    X, W0, p = (
        integers(rng, 2, 3, 4, 2),
        integers(rng, 5, 3),
        LoraParams(integers(rng, 5, 2), integers(rng, 2, 3)),
    )
    pixels = np.moveaxis(X, 1, -1)
    want = np.moveaxis(lora.forward(pixels, W0, p, scale=S)[0], -1, 1)
    images = LoraParams(p.B[:, :, None, None], p.A[:, :, None, None])
    assert np.array_equal(conv2d.forward(X, W0[:, :, None, None], images, scale=S)[0], want)


# ---- merging ---------------------------------------------------------------------------------------------------


@WAYS
@given(data=st.data(), seed=SEEDS)
def test_the_merged_kernel_computes_what_the_layer_does(way, data, seed):
    """[layout-conv-merge] [layout-conv-reshaped]  One kernel, the bottleneck's for one group; unmerging undoes it."""
    z = data.draw(sizes(square=way is conv2d_reshaped))
    X, W0, p, _, _ = draw(way, z, np.random.default_rng(seed))
    W = way.merge(W0, p, scale=S, groups=z.groups)
    groups = 1 if way is conv2d else z.groups
    assert W.shape == (W0.shape[0], W0.shape[1] * z.groups // groups, *z.kernel)
    Y = way.forward(X, W0, p, scale=S, **options(z))[0]
    assert np.array_equal(convolve(X, W, z.geometry, groups=groups), Y)
    assert np.array_equal(way.unmerge(W, p, scale=S, groups=z.groups), W0)


@WAYS
def test_what_is_left_out_is_one_of_each(way, rng):
    """[layout-conv]  Stride 1, no padding, dilation 1, one group: in every function."""
    z = USUAL._replace(kernel=(2, 2), geometry=Geometry(), groups=1)
    X, W0, p, gY, _ = draw(way, z, rng)
    Y, kept = way.forward(X, W0, p, scale=S)
    assert np.array_equal(Y, way.forward(X, W0, p, scale=S, **options(z))[0])
    second = (W0,) if way is conv2d else ()
    gX = way.backward(gY, X, kept, *second, p, scale=S)[0]
    assert np.array_equal(gX, kept_and_backward(way, gY, X, W0, p, S, z)[1][0])
    W = way.merge(W0, p, scale=S)
    assert np.array_equal(W, way.merge(W0, p, scale=S, groups=1))
    assert np.array_equal(way.unmerge(W, p, scale=S), W0)


def test_the_merged_kernel_is_within_the_bound_of_merging(rng):
    """[layout-conv-merge]  γ(r + 3) of |W0| + |s| |B| |A|, entry by entry, against Fractions."""
    _, W0, p, _, _ = draw(conv2d, USUAL, rng, make=normal)
    W = conv2d.merge(W0, p, scale=0.7, groups=2)
    for o, c, i, j in np.ndindex(W.shape):
        group = o // 2
        terms = [
            Fraction(float(p.B[o, q, 0, 0])) * Fraction(float(p.A[group * 2 + q, c, i, j])) * Fraction(0.7)
            for q in range(2)
        ]
        base = Fraction(float(W0[o, c % 3, i, j])) if c // 3 == group else Fraction(0)
        gap = abs(Fraction(float(W[o, c, i, j])) - base - sum(terms))
        assert gap <= 7 * Fraction(2) ** -53 * (abs(base) + sum(map(abs, terms)))


# ---- starting --------------------------------------------------------------------------------------------------


def test_both_ways_start_as_the_frozen_convolution(rng):
    """[layout-conv] [layout-conv-reshaped]  B is zero, A has the width of its inputs."""
    X, W0 = normal(rng, 2, 6, 4, 4), normal(rng, 4, 3, 3, 3)
    want = convolve(X, W0, Geometry(), groups=2)
    for way, p in (
        (conv2d, conv2d.init(rng, 4, 6, 3, 2, groups=2)),
        (conv2d_reshaped, conv2d_reshaped.init(rng, 4, 6, 3, 2, groups=2)),
    ):
        assert np.array_equal(way.forward(X, W0, p, scale=2.0, groups=2)[0], want)
        assert p.A.all()
    assert (
        0.9 / 96**0.5
        < np.abs(conv2d.init(rng, 4, 16, (2, 3), 4, dtype=np.float32).A).max()
        <= 1.001 / 96**0.5
    )
    assert 0.9 / 48**0.5 < np.abs(conv2d_reshaped.init(rng, 4, 16, 3, 4).A).max() <= 1 / 48**0.5
    assert conv2d.init(rng, 4, 6, 3, 2).B.shape == (4, 2, 1, 1)
    assert conv2d_reshaped.init(rng, 4, 6, 3, 2).B.shape == (12, 6)
    for way in (conv2d, conv2d_reshaped):
        single = [float(way.init(rng, 1, 1, 1, 1).A.item()) for _ in range(60)]
        assert 0.9 < max(single) <= 1
        assert -1 <= min(single) < -0.9
    with pytest.warns(RankWarning, match="exceeds"):
        conv2d.init(rng, 2, 6, 3, 4)


# ---- other libraries -------------------------------------------------------------------------------------------


@WAYS
def test_every_library_gives_the_same_bits(way, library, rng):
    """Same library out, arguments untouched (one of the libraries is read-only)."""
    X, W0, p, gY, bias = draw(way, USUAL, rng)

    def everything(X, W0, p, gY, bias):
        Y, kept = way.forward(X, W0, p, scale=S, bias=bias, **options(USUAL))
        _, (gX, g) = kept_and_backward(way, gY, X, W0, p, S, USUAL)
        W = way.merge(W0, p, scale=S, groups=2)
        return Y, kept, gX, *g, W, way.unmerge(W, p, scale=S, groups=2)

    theirs = [library.asarray(x) for x in (X, W0, gY, bias)]
    before = [library.to_numpy(x).tobytes() for x in theirs]
    got = everything(theirs[0], theirs[1], LoraParams(*map(library.asarray, p)), *theirs[2:])
    for one, other in zip(everything(X, W0, p, gY, bias), got, strict=True):
        assert type(other) is type(theirs[0])
        assert np.array_equal(library.to_numpy(other), one)
    assert [library.to_numpy(x).tobytes() for x in theirs] == before


@pytest.mark.interop
@WAYS
def test_torch_computes_the_same_convolutions(way, rng):
    """[layout-conv] [layout-conv-reshaped]  torch's conv2d forward and its autograd, as one more road."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    X, W0, p, gY, _ = draw(way, USUAL, rng, make=normal)
    tX, tW, tB, tA = (torch.tensor(x, requires_grad=True) for x in (X, W0, *p))
    geometry = {name: tuple(value) for name, value in USUAL.geometry._asdict().items()}
    if way is conv2d:
        Y = F.conv2d(tX, tW, groups=2, **geometry) + 0.7 * F.conv2d(
            F.conv2d(tX, tA, **geometry), tB, groups=2
        )
    else:
        Y = F.conv2d(tX, tW + 0.7 * (tB @ tA).view(tW.shape), groups=2, **geometry)
    Y.backward(torch.tensor(gY))
    got, (gX, g) = kept_and_backward(way, gY, X, W0, p, 0.7, USUAL)
    for mine, theirs in zip((got, gX, *g), (Y.detach(), tX.grad, tB.grad, tA.grad), strict=True):
        assert np.abs(mine - theirs.numpy()).max() <= 1e-13


# ---- bad input -------------------------------------------------------------------------------------------------


def test_bad_convolutions_are_named(rng):
    X, W0, p, gY, bias = draw(conv2d, USUAL, rng)
    good = {"scale": S, "stride": (2, 1), "padding": (1, 0), "groups": 2}
    Z = conv2d.forward(X, W0, p, **good)[1]

    def run(X=X, W0=W0, p=p, **changed):
        return conv2d.forward(X, W0, p, **{**good, **changed})

    cases = [
        (lambda: run(groups=3), ShapeError, "groups = 3 must divide d = 4"),
        (lambda: run(groups=0), ConfigError, "groups"),
        (lambda: run(groups=1), ShapeError, "A has shape"),
        (lambda: run(p=(p.B, p.A[:3])), RankError, "divide the rank r = 3; for example r = 2"),
        (lambda: run(p=(p.B[:3], p.A)), ShapeError, "B has shape"),
        (lambda: run(p=p.A), ConfigError, "pair"),
        (lambda: run(X=X[0]), ShapeError, "N, k, H, W"),
        (lambda: run(X=X[:, :4]), ShapeError, r"expected \(N, 6, H, W\)"),
        (lambda: run(X=X.astype("f4")), DTypeError, "X is float32"),
        (lambda: run(W0=W0[:, :, 0]), ShapeError, "W0 has 3 axes"),
        (lambda: run(W0=W0[:, :, :0]), ShapeError, "no places"),
        (lambda: run(X=X[:, :, :, :2]), ShapeError, r"spans \(3, 3\) does not fit an input of \(7, 2\)"),
        (lambda: run(dilation=4), ShapeError, r"spans \(9, 9\)"),
        (lambda: run(stride=0), ConfigError, "stride must be a positive int, got 0"),
        (lambda: run(stride=(1, 2, 3)), ConfigError, "one int or two, got 3"),
        (lambda: run(stride=(1, 2.0)), ConfigError, r"stride\[1\]"),
        (lambda: run(padding=-1), ConfigError, "padding"),
        (lambda: run(padding="same"), ConfigError, "padding"),
        (lambda: run(dilation=True), ConfigError, "dilation"),
        (lambda: run(scale=None), ConfigError, "scale"),
        (lambda: run(bias=bias[:2]), ShapeError, "bias"),
        (lambda: run(bias=bias.astype("f4")), DTypeError, "bias is float32"),
        (lambda: conv2d.backward(gY[:, :2], X, Z, W0, p, **good), ShapeError, "gY has shape"),
        (lambda: conv2d.backward(gY, X, Z[:1], W0, p, **good), ShapeError, "Z has shape"),
        (lambda: conv2d.backward(gY.astype("f4"), X, Z, W0, p, **good), DTypeError, "gY is float32"),
        (lambda: conv2d.unmerge(W0, p, scale=S, groups=2), ShapeError, "must divide|A has shape"),
        (lambda: conv2d.init(rng, 4, 6, 3, 3, groups=2), RankError, "rank r = 3"),
        (lambda: conv2d.init(rng, 4, 6, 0, 2), ConfigError, "kernel"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words):
            call()


def test_bad_reshaped_convolutions_are_named(rng):
    X, W0, p, gY, _ = draw(conv2d_reshaped, USUAL, rng)
    good = {"scale": S, "stride": (2, 1), "padding": (1, 0), "groups": 2}
    W = conv2d_reshaped.forward(X, W0, p, **good)[1]

    def run(X=X, W0=W0, p=p, **changed):
        return conv2d_reshaped.forward(X, W0, p, **{**good, **changed})

    cases = [
        (lambda: run(W0=W0[:, :, :, :2]), ShapeError, "square kernel"),
        (lambda: run(groups=3), ShapeError, "groups = 3 must divide d = 4"),
        (lambda: run(p=LoraParams(p.B[:, :10], p.A[:10])), ShapeError, "A has 10 rows, expected r · kh"),
        (lambda: run(p=(p.A, p.B)), ShapeError, "do not fit"),
        (lambda: run(X=X[:, :5]), ShapeError, "its channels are k"),
        (lambda: run(scale="1"), ConfigError, "scale"),
        (lambda: run(W0=W0.astype("f4")), DTypeError, "W0 is float32"),
        (lambda: conv2d_reshaped.backward(gY[:1], X, W, p, **good), ShapeError, "gY has shape"),
        (lambda: conv2d_reshaped.init(rng, 4, 6, 3, 2, groups=4), ShapeError, "must divide d = 4 and k = 6"),
        (lambda: conv2d_reshaped.init(rng, 4, 6, (3, 3), 2), ConfigError, "kernel"),
        (lambda: merging.merge(W0, p, scale=S), ShapeError, "W0 has 4 axes"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words):
            call()
