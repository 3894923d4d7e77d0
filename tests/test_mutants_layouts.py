"""Layouts: what every operation refuses, and sizes at the boundary."""

import warnings

import numpy as np
import pytest

from lora_np.errors import ConfigError, DTypeError, RankError, RankWarning, ShapeError
from lora_np.layouts import conv2d, conv2d_reshaped, convolution, embedding, merged_qkv, transposed
from lora_np.layouts.convolution import Geometry, as_pair
from lora_np.lora import LoraParams
from tests.refusals import refuse

S = 0.25


# ---- starts ------------------------------------------------------------------------------------------------


@pytest.fixture
def any_rank():
    """Let a rank exceed the sizes without a word: some of them are zero here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)
        yield


STARTS = {
    "transposed, d": lambda rng, n, rank=1, **more: transposed.init(rng, n, 4, rank, **more),
    "transposed, k": lambda rng, n, rank=1, **more: transposed.init(rng, 4, n, rank, **more),
    "embedding, d": lambda rng, n, rank=1, **more: embedding.init(rng, n, 4, rank, **more),
    "embedding, V": lambda rng, n, rank=1, **more: embedding.init(rng, 4, n, rank, **more),
    "merged_qkv, d": lambda rng, n, rank=1, **more: merged_qkv.init(
        rng, n, 4, rank, enabled=[True, False], **more
    ),
    "merged_qkv, k": lambda rng, n, rank=1, **more: merged_qkv.init(
        rng, 4, n, rank, enabled=[True, False], **more
    ),
    "conv2d, d": lambda rng, n, rank=1, **more: conv2d.init(rng, n, 4, 3, rank, **more),
    "conv2d, k": lambda rng, n, rank=1, **more: conv2d.init(rng, 4, n, 3, rank, **more),
    "conv2d_reshaped, d": lambda rng, n, rank=1, **more: conv2d_reshaped.init(rng, n, 4, 3, rank, **more),
    "conv2d_reshaped, k": lambda rng, n, rank=1, **more: conv2d_reshaped.init(rng, 4, n, 3, rank, **more),
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.usefixtures("any_rank")
def test_a_start_may_be_empty_and_nothing_below(start, rng):
    """[lora-init] [layout-embedding] [layout-qkv] [layout-conv] [layout-conv-reshaped]"""
    call, (_, name) = STARTS[start], start.split(", ")
    assert 0 in {n for x in call(rng, 0) for n in x.shape}
    assert all(x.dtype == np.float32 for x in call(rng, 4, dtype="f4"))
    refuse(
        [
            (ConfigError, f"^{name} must be a non-negative int, got -2", lambda: call(rng, -2)),
            (ConfigError, f"^{name} must be a non-negative int, got float", lambda: call(rng, 4.0)),
            (DTypeError, "dtype must be a real floating type, got int64", lambda: call(rng, 4, dtype=int)),
            (ConfigError, "rng must be a numpy.random.Generator", lambda: call(7, 4)),
            (ConfigError, "rank r must be a positive int, got 0", lambda: call(rng, 4, rank=0)),
        ]
    )


def test_an_embeddings_start_is_the_generators_own_gaussian():
    """[layout-embedding]"""
    B = embedding.init(np.random.default_rng(5), 30, 20, 4).B
    assert np.array_equal(B, np.random.default_rng(5).standard_normal((30, 4)))


@pytest.mark.parametrize("way", [conv2d, conv2d_reshaped])
def test_a_convolutions_start_refuses_kernels_and_groups_that_cannot_be(way, rng):
    """[layout-conv] [layout-conv-reshaped]"""
    assert way.init(rng, 4, 4, 1, 1).A.size == 4
    refuse(
        [
            (ConfigError, "kernel.* must be a positive int, got 0", lambda: way.init(rng, 4, 4, 0, 2)),
            (
                ConfigError,
                "groups must be a positive int, got 0",
                lambda: way.init(rng, 4, 4, 3, 2, groups=0),
            ),
            (
                ConfigError,
                "groups must be a positive int, got -2",
                lambda: way.init(rng, 4, 4, 3, 2, groups=-2),
            ),
            (
                ShapeError,
                "groups = 2 must divide d = 5 and k = 4",
                lambda: way.init(rng, 5, 4, 3, 2, groups=2),
            ),
            (
                ShapeError,
                "groups = 2 must divide d = 4 and k = 5",
                lambda: way.init(rng, 4, 5, 3, 2, groups=2),
            ),
        ]
    )


def test_a_convolution_warns_of_a_rank_above_its_inputs(rng, recwarn):
    """[layout-conv]  The inputs are k kh kw: at that rank all is well, one above it is not."""
    conv2d.init(rng, 40, 2, (3, 2), 12)
    assert not recwarn.list
    with pytest.warns(RankWarning, match=r"min\(40, 12\)"):
        conv2d.init(rng, 40, 2, (3, 2), 13)


# ---- geometry ----------------------------------------------------------------------------------------------


def test_a_number_for_both_directions_or_two():
    """[layout-conv]"""
    assert as_pair("stride", 1, minimum=1) == (1, 1)
    assert as_pair("stride", (1, 3), minimum=1) == (1, 3)
    refuse(
        [
            (
                ConfigError,
                "^stride must be one int or two, got 1",
                lambda: as_pair("stride", (1,), minimum=1),
            ),
            (ConfigError, r"^stride\[0\] must be", lambda: as_pair("stride", (0, 1), minimum=1)),
            (ConfigError, r"^stride\[1\] must be", lambda: as_pair("stride", [1, 0], minimum=1)),
            (
                ConfigError,
                "^stride must be a positive int, got str",
                lambda: as_pair("stride", "12", minimum=1),
            ),
        ]
    )


def test_a_kernel_as_large_as_the_padded_image_has_one_window():
    """[layout-conv]  One row or column less, and it does not fit."""
    g = Geometry(stride=(3, 3), padding=(1, 0), dilation=(2, 1))
    assert convolution.output_size((3, 2), (3, 2), g) == (1, 1)
    refuse(
        [
            (ShapeError, r"spans \(5, 2\).*\(4, 2\)", lambda: convolution.output_size((2, 2), (3, 2), g)),
            (ShapeError, r"spans \(5, 2\).*\(5, 1\)", lambda: convolution.output_size((3, 1), (3, 2), g)),
        ]
    )


# ---- what every operation refuses ----------------------------------------------------------------------------


def images(rng, way):
    """A grouped layer of kernel 3: X, W0, p, gY."""
    X, W0, gY = rng.normal(size=(2, 6, 5, 4)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=(2, 4, 3, 2))
    if way is conv2d:
        return X, W0, LoraParams(rng.normal(size=(4, 1, 1, 1)), rng.normal(size=(2, 6, 3, 3))), gY
    return X, W0, LoraParams(rng.normal(size=(6, 3)), rng.normal(size=(3, 18))), gY


@pytest.mark.parametrize("way", [conv2d, conv2d_reshaped])
def test_every_operation_of_a_convolution_looks_at_its_tensors(way, rng):
    """[layout-conv] [layout-conv-grad] [layout-conv-merge] [layout-conv-reshaped]"""
    X, W0, p, gY = images(rng, way)
    good = {"scale": S, "groups": 2}
    kept = way.forward(X, W0, p, **good)[1]
    W = way.merge(W0, p, **good)

    def back(p=p, X=X, gY=gY, kept=kept, **more):
        given = (gY, X, kept, W0, p) if way is conv2d else (gY, X, kept, p)
        return way.backward(*given, **{**good, **more})

    for call in (
        lambda p=p, **more: way.forward(X, W0, p, **{**good, **more}),
        back,
        lambda p=p, **more: way.merge(W0, p, **{**good, **more}),
        lambda p=p, **more: way.unmerge(W, p, **{**good, **more}),
    ):
        refuse(
            [
                (ConfigError, "scale must be", lambda call=call: call(scale=None)),
                (ConfigError, "scale must be finite", lambda call=call: call(scale=np.nan)),
                (ConfigError, "groups must be a positive int, got 0", lambda call=call: call(groups=0)),
                (ConfigError, "groups must be a positive int, got float", lambda call=call: call(groups=2.0)),
                (ShapeError, "groups = 3 must divide d = 4", lambda call=call: call(groups=3)),
                (ConfigError, r"p must be the pair \(B, A\)", lambda call=call: call(p=(*p, p.B))),
                (ShapeError, "A has|A is", lambda call=call: call(p=p._replace(A=p.A[..., :2]))),
                (ShapeError, "B has|B is", lambda call=call: call(p=p._replace(B=p.B[:3]))),
                (ShapeError, "^A has [31] axes", lambda call=call: call(p=p._replace(A=p.A[0]))),
                (DTypeError, "float32", lambda call=call: call(p=LoraParams(*(x.astype("f4") for x in p)))),
            ]
        )
    for call in (lambda X=X, **more: way.forward(X, W0, p, **{**good, **more}), back):
        refuse(
            [
                (ShapeError, r"\(N, k, H, W\)", lambda call=call: call(X=X[0])),
                (ShapeError, r"expected \(N, 6, H, W\)", lambda call=call: call(X=X[:, :3])),
                (DTypeError, "X is float32", lambda call=call: call(X=X.astype("f4"))),
                (ShapeError, "does not fit", lambda call=call: call(X=X[:, :, :2])),
                (ConfigError, "stride", lambda call=call: call(stride=0)),
                (ConfigError, "padding", lambda call=call: call(padding=-1)),
                (ConfigError, "dilation", lambda call=call: call(dilation=0)),
            ]
        )
    refuse(
        [
            (ShapeError, "^gY has shape", lambda: back(gY=gY[:, :, :2])),
            (ShapeError, "^gY has shape", lambda: back(stride=2)),
            (DTypeError, "gY is float32", lambda: back(gY=gY.astype("f4"))),
            (ShapeError, "has shape|must divide", lambda: back(kept=kept[:1])),
            (ShapeError, "bias has shape", lambda: way.forward(X, W0, p, **good, bias=gY[0, 0, 0])),
            (ShapeError, "W0 has 3 axes", lambda: way.merge(W0[0], p, **good)),
            (ShapeError, "W has 3 axes", lambda: way.unmerge(W[0], p, **good)),
        ]
    )


def test_a_kernel_and_its_factor_are_named_with_their_axes(rng):
    """[layout-conv] [layout-conv-merge]  A merged kernel has every channel, W0 those of its group."""
    _, W0, p, _ = images(rng, conv2d)
    W = conv2d.merge(W0, p, scale=S, groups=2)
    refuse(
        [
            (ShapeError, r"\(d, k / groups, kh, kw\)", lambda: conv2d.merge(W0[0], p, scale=S, groups=2)),
            (ShapeError, r"\(d, k, kh, kw\)", lambda: conv2d.unmerge(W[0], p, scale=S, groups=2)),
            (
                DTypeError,
                "A must be an array of floats, got list",
                lambda: conv2d.merge(W0, (p.B, p.A.tolist()), scale=S, groups=2),
            ),
        ]
    )


def test_a_kernel_of_no_places_is_refused(rng):
    """[layout-conv] [layout-conv-reshaped]  In either direction."""
    _, W0, p, _ = images(rng, conv2d)
    small = LoraParams(np.zeros((0, 1)), np.zeros((1, 0)))
    refuse(
        [
            (ShapeError, "no places", lambda: conv2d.merge(W0[:, :, :0], p, scale=S, groups=2)),
            (ShapeError, "no places", lambda: conv2d.merge(W0[..., :0], p, scale=S, groups=2)),
            (ShapeError, "square", lambda: conv2d_reshaped.merge(W0[:, :, :0, :0], small, scale=S)),
            (ShapeError, "square", lambda: conv2d_reshaped.merge(W0[:, :, :2], small, scale=S)),
        ]
    )


def test_the_factors_of_a_grouped_convolution_divide_with_it(rng):
    """[layout-conv] [layout-conv-reshaped]  The rank by the groups, k by the groups, and r kh by the kernel."""
    _, W0, p, _ = images(rng, conv2d)
    three = LoraParams(np.ones((4, 1, 1, 1)), np.ones((3, 6, 3, 3)))
    W = conv2d.merge(W0, p, scale=S, groups=2)
    refuse(
        [
            (
                RankError,
                "groups = 2 must divide the rank r = 3",
                lambda: conv2d.merge(W0, three, scale=S, groups=2),
            ),
            (
                ShapeError,
                "groups = 2 must divide d = 4 and k = 5",
                lambda: conv2d.unmerge(W[:, :5], p, scale=S, groups=2),
            ),
            (
                ShapeError,
                "groups = 3 must divide d = 4",
                lambda: conv2d_reshaped.merge(
                    W0, LoraParams(np.ones((3, 3)), np.ones((3, 27))), scale=S, groups=3
                ),
            ),
        ]
    )


def test_every_operation_of_an_embedding_looks_at_its_tensors(rng):
    """[layout-embedding] [layout-embedding-grad]"""
    E, p = rng.normal(size=(5, 3)), LoraParams(rng.normal(size=(3, 2)), rng.normal(size=(2, 5)))
    tokens, gY = np.array([[4, 0], [1, 4]]), rng.normal(size=(2, 2, 3))
    Z = embedding.forward(tokens, E, p, scale=S)[1]
    for call in (
        lambda tokens=tokens, E=E, p=p, scale=S, **more: embedding.forward(tokens, E, p, scale=scale, **more),
        lambda tokens=tokens, E=E, p=p, scale=S, **more: embedding.backward(
            gY, tokens, Z, E, p, scale=scale, **more
        ),
    ):
        assert call(padding=0) is not None
        assert call(padding=4) is not None
        refuse(
            [
                (ConfigError, "padding = 5 is no row", lambda call=call: call(padding=5)),
                (
                    ConfigError,
                    "padding must be a non-negative int, got -1",
                    lambda call=call: call(padding=-1),
                ),
                (
                    ConfigError,
                    "tokens run from 0 to 5",
                    lambda call=call: call(tokens=tokens + (tokens == 4)),
                ),
                (ConfigError, "tokens run from -1 to 3", lambda call=call: call(tokens=tokens - 1)),
                (DTypeError, "tokens must be.*float64", lambda call=call: call(tokens=tokens * 1.0)),
                (DTypeError, "tokens must be.*bool", lambda call=call: call(tokens=tokens > 0)),
                (ShapeError, "E has 1 axes", lambda call=call: call(E=E[0])),
                (ShapeError, "do not fit", lambda call=call: call(p=p._replace(A=p.A[:, :4]))),
                (ConfigError, "scale", lambda call=call: call(scale=np.inf)),
            ]
        )
        assert call(tokens=tokens.astype("u1")) is not None
    refuse(
        [
            (
                DTypeError,
                "Z is float32",
                lambda: embedding.backward(gY, tokens, Z.astype("f4"), E, p, scale=S),
            ),
            (ShapeError, "^Z has shape", lambda: embedding.backward(gY, tokens, Z[:1], E, p, scale=S)),
            (ShapeError, "^gY has shape", lambda: embedding.backward(gY[..., :2], tokens, Z, E, p, scale=S)),
            (ShapeError, "E has 1 axes.*V, d", lambda: embedding.merge(E[0], p, scale=S)),
            (ShapeError, "W has 1 axes.*V, d", lambda: embedding.unmerge(E[0], p, scale=S)),
        ]
    )


def test_no_tokens_give_no_rows_and_no_gradient(rng):
    """[layout-embedding] [layout-embedding-grad]"""
    E, p = rng.normal(size=(5, 3)), LoraParams(rng.normal(size=(3, 2)), rng.normal(size=(2, 5)))
    none = np.zeros((0,), dtype=int)
    Y, Z = embedding.forward(none, E, p, scale=S)
    assert Y.shape == (0, 3)
    assert not any(g.any() for g in embedding.backward(Y, none, Z, E, p, scale=S))


def test_one_token_alone_is_a_row(rng):
    """[layout-embedding] [layout-embedding-grad]  A token without axes gives Y without rows, and the same gradients."""
    E, p = rng.normal(size=(5, 3)), LoraParams(rng.normal(size=(3, 2)), rng.normal(size=(2, 5)))
    gY = rng.normal(size=3)
    (Y, Z), (rows, Z_rows) = (embedding.forward(np.array(t), E, p, scale=S) for t in (3, [3]))
    assert Y.shape == (3,)
    assert np.array_equal(Y, rows[0])
    one = embedding.backward(gY, np.array(3), Z, E, p, scale=S)
    other = embedding.backward(gY[None], np.array([3]), Z_rows, E, p, scale=S)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_every_operation_of_a_stack_looks_at_its_tensors(rng):
    """[layout-qkv] [layout-qkv-grad]"""
    on = [True, False, True]
    X, W0, gY = rng.normal(size=(3, 4)), rng.normal(size=(6, 4)), rng.normal(size=(3, 6))
    p = LoraParams(rng.normal(size=(4, 2)), rng.normal(size=(4, 4)))
    Z = merged_qkv.forward(X, W0, p, scale=S, enabled=on)[1]
    for call in (
        lambda W=W0, p=p, enabled=on, scale=S: merged_qkv.forward(X, W, p, scale=scale, enabled=enabled),
        lambda W=W0, p=p, enabled=on, scale=S: merged_qkv.backward(
            gY, X, Z, W, p, scale=scale, enabled=enabled
        ),
        lambda W=W0, p=p, enabled=on, scale=S: merged_qkv.merge(W, p, scale=scale, enabled=enabled),
        lambda W=W0, p=p, enabled=on, scale=S: merged_qkv.unmerge(W, p, scale=scale, enabled=enabled),
    ):
        refuse(
            [
                (ConfigError, "enabled must be a list", lambda call=call: call(enabled=())),
                (ConfigError, "enabled must be a list", lambda call=call: call(enabled="101")),
                (ConfigError, r"enabled\[1\]: bool", lambda call=call: call(enabled=[True, 0, True])),
                (ConfigError, "names no part", lambda call=call: call(enabled=[False] * 3)),
                (ShapeError, "not 4 equal parts", lambda call=call: call(enabled=[*on, False])),
                (ShapeError, "W0? has 1 axes", lambda call=call: call(W=W0[0])),
                (ShapeError, "B has 1 axes", lambda call=call: call(p=(p.B[0], p.A))),
                (ShapeError, "A has 1 axes", lambda call=call: call(p=(p.B, p.A[0]))),
                (RankError, "A has 3 rows", lambda call=call: call(p=(p.B, p.A[:3]))),
                (ShapeError, "B has 3 rows", lambda call=call: call(p=(p.B[:3], p.A))),
                (ShapeError, "^B has shape", lambda call=call: call(p=(p.B[:2], p.A))),
                (ShapeError, "^A has shape", lambda call=call: call(p=(p.B, p.A[:, :3]))),
                (DTypeError, "B is float32, A is float64", lambda call=call: call(p=(p.B.astype("f4"), p.A))),
                (ConfigError, "scale", lambda call=call: call(scale=np.nan)),
            ]
        )
    refuse(
        [
            (
                DTypeError,
                "B is float32, A is float64",
                lambda: merged_qkv.staircase(LoraParams(p.B.astype("f4"), p.A), enabled=on),
            ),
            (ShapeError, "3 rows", lambda: merged_qkv.staircase(LoraParams(p.B[:3], p.A), enabled=on)),
            (RankError, "A has 3 rows", lambda: merged_qkv.staircase(LoraParams(p.B, p.A[:3]), enabled=on)),
            (ConfigError, "names no part", lambda: merged_qkv.staircase(p, enabled=[False])),
        ]
    )


def test_every_operation_of_a_transposed_layer_looks_at_the_stored_weight(rng):
    """[layout-transposed]"""
    X, W0, gY = rng.normal(size=(3, 4)), rng.normal(size=(4, 5)), rng.normal(size=(3, 5))
    p = LoraParams(rng.normal(size=(5, 2)), rng.normal(size=(2, 4)))
    Z = transposed.forward(X, W0, p, scale=S)[1]
    refuse(
        [
            (ShapeError, "^W0 has 1 axes.*k, d", lambda: transposed.forward(X, W0[0], p, scale=S)),
            (ShapeError, "^W0 has 1 axes.*k, d", lambda: transposed.backward(gY, X, Z, W0[0], p, scale=S)),
            (ShapeError, "^W0 has 1 axes.*k, d", lambda: transposed.merge(W0[0], p, scale=S)),
            (ShapeError, "^W has 1 axes.*k, d", lambda: transposed.unmerge(W0[0], p, scale=S)),
            (ShapeError, r"width of W0.T \(5, 4\)", lambda: transposed.forward(X[:, :3], W0, p, scale=S)),
            (
                ShapeError,
                r"width of W0.T \(5, 4\)",
                lambda: transposed.backward(gY, X[:, :3], Z, W0, p, scale=S),
            ),
        ]
    )
