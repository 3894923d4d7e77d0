"""Methods: what every operation refuses, sizes at the boundary, and starts that follow from the generator."""

import math

import numpy as np
import pytest

from lora_np.errors import ConfigError, DTypeError, RankError, ShapeError
from lora_np.methods import (
    bottleneck,
    dora,
    loha,
    lokr,
    oft,
    prefix_tuning,
    prompt_tuning,
    through_weight,
)
from lora_np.methods.bottleneck import BottleneckParams
from lora_np.methods.dora import DoraParams
from lora_np.methods.loha import LohaParams
from lora_np.methods.lokr import LokrFactored, LokrFull
from lora_np.methods.oft import OftParams
from lora_np.methods.prefix_tuning import PrefixParams
from lora_np.methods.prompt_tuning import PromptTuningParams

S = 1 / 3


def refuse(cases):
    """Make every call, and see it refused with the error and words that stand beside it."""
    for error, words, call in cases:
        with np.errstate(all="ignore"), pytest.raises(error, match=words):
            call()


# ---- starts ------------------------------------------------------------------------------------------------

STARTS = {  # of width, height or length n; one call a size that may be zero
    "loha, d": lambda rng, n, **more: loha.init(rng, n, 4, 2, **more),
    "loha, k": lambda rng, n, **more: loha.init(rng, 4, n, 2, **more),
    "bottleneck, k": lambda rng, n, **more: bottleneck.init(rng, n, 2, **more),
    "prefix_tuning, length": lambda rng, n, **more: prefix_tuning.init(rng, n, 4, **more),
    "prompt_tuning, length": lambda rng, n, **more: prompt_tuning.init(rng, n, 4, **more),
    "prompt_tuning, k": lambda rng, n, **more: prompt_tuning.init(rng, 2, n, **more),
    "oft, k": lambda rng, n, **more: oft.init(n, 2, **more),
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.filterwarnings("ignore::lora_np.errors.RankWarning")
def test_a_start_may_be_empty_and_nothing_below(start, rng):
    """[loha-delta] [adapter-init] [prefix-attention] [prompt-rows] [oft-weight]"""
    call, (_, name) = STARTS[start], start.split(", ")
    assert 0 in {n for x in call(rng, 0) for n in x.shape}
    assert all(x.dtype == np.float32 for x in call(rng, 4, dtype="f4"))
    refuse(
        [
            (ConfigError, f"^{name} must be a non-negative int, got -2", lambda: call(rng, -2)),
            (ConfigError, f"^{name} must be a non-negative int, got float", lambda: call(rng, 2.0)),
            (DTypeError, "dtype must be a real floating type, got int64", lambda: call(rng, 4, dtype=int)),
        ]
    )


def test_a_start_needs_a_generator_and_a_rank(rng):
    """[loha-delta] [lokr-delta] [adapter-init] [prefix-attention] [prompt-rows] [dora-weight]"""
    cases = []
    for make in (
        lambda rng, r: loha.init(rng, 4, 4, r),
        lambda rng, r: lokr.init(rng, 4, 4, r),
        lambda rng, r: bottleneck.init(rng, 4, r),
        lambda rng, r: dora.init(rng, np.eye(4), r),
    ):
        cases.append((ConfigError, "rank r must be a positive int, got 0", lambda make=make: make(rng, 0)))
        cases.append((ConfigError, "rng must be a numpy.random.Generator", lambda make=make: make(7, 2)))
    refuse(
        [
            *cases,
            (ConfigError, "rng must be a numpy", lambda: prefix_tuning.init(7, 2, 4)),
            (ConfigError, "rng must be a numpy", lambda: prompt_tuning.init(7, 2, 4)),
            (ConfigError, "scheme must be one of", lambda: lokr.init(rng, 4, 4, 1, scheme="kaiming")),
            (DTypeError, "dtype must be", lambda: lokr.init(rng, 4, 4, 1, dtype=int)),
            (ConfigError, "^n must be a positive int, got 0", lambda: lokr.init(rng, 0, 4, 1)),
            (ConfigError, "dh must be a positive int, got 0", lambda: prefix_tuning.init(rng, 2, 0)),
            (ConfigError, "block must be a positive int, got 0", lambda: oft.init(4, 0)),
            (ConfigError, "std must be a real number", lambda: bottleneck.init(rng, 4, 2, std="small")),
        ]
    )


def test_the_smallest_starts_are_starts(rng):
    """[oft-weight] [lokr-split] [prefix-attention]  Blocks of one number, a rank of one, a head of one number."""
    assert oft.init(4, 1).q.shape == (4, 0)
    assert [x.shape for x in lokr.init(rng, 1, 1, 1)] == [(1, 1), (1, 1)]
    assert prefix_tuning.init(rng, 2, 1).P_v.shape == (2, 1)
    assert not bottleneck.init(rng, 4, 1, std=0.0).W_down.any()


def test_loha_starts_at_the_generators_own_gaussians():
    """[loha-delta]  N(0, 0.1²) is a tenth of the standard draw, to the bit, and neither is shifted."""
    p, draws = loha.init(np.random.default_rng(5), 30, 20, 4), np.random.default_rng(5)
    assert np.array_equal(p.B1, 0.1 * draws.standard_normal((30, 4)))
    assert np.array_equal(p.A1, draws.standard_normal((4, 20)))
    assert np.array_equal(p.A2, draws.standard_normal((4, 20)))


def test_loha_s_other_start_draws_b1_b2_and_a1_in_that_order():
    """[loha-delta]  PEFT's widths, bit for bit: uniform within ±1/√r, twice, and within ±1/√k."""
    p, draws = loha.init(np.random.default_rng(5), 30, 20, 4, scheme="kaiming"), np.random.default_rng(5)
    for x, shape, width in ((p.B1, (30, 4), 4), (p.B2, (30, 4), 4), (p.A1, (4, 20), 20)):
        assert np.array_equal(x, draws.uniform(-1.0, 1.0, shape) / math.sqrt(width))


@pytest.mark.filterwarnings("ignore::lora_np.errors.RankWarning")
@pytest.mark.parametrize("k", [1, 2, 9])
def test_a_kaiming_start_fills_one_over_the_root_of_the_width(k, rng):
    """[loha-delta] [lokr-delta]  Uniform within ±1/√k: the whole range is used, and both signs, also where k = 1."""
    A1 = loha.init(rng, 3, k, 2000, scheme="kaiming").A1
    C = lokr.init(rng, 2000 * k, k * k, 1, factor=k if k > 1 else -1, second="full", scheme="lycoris").C
    edge = 1 / math.sqrt(k)
    assert A1.max() == pytest.approx(edge, rel=0.01)
    assert A1.min() == pytest.approx(-edge, rel=0.01)
    assert abs(C).max() <= 1 / math.sqrt(C.shape[1])


def test_lokr_starts_uniform_over_the_whole_range(rng):
    """[lokr-delta]  Every drawn factor fills ±1/√(its columns), in both schemes."""
    for scheme in lokr.INIT_SCHEMES:
        p = lokr.init(rng, 64 * 60, 64 * 60, 30, factor=60, second="factored", scheme=scheme)
        for x in p:
            if x.any():
                edge = 1 / math.sqrt(x.shape[1])
                assert x.max() == pytest.approx(edge, rel=0.02)
                assert x.min() == pytest.approx(-edge, rel=0.02)


def test_a_cut_gaussian_is_drawn_again_beyond_two_deviations(rng):
    """[adapter-init]  None lies beyond 2 std, many just inside; the spread is that of the cut Gaussian, 0.88."""
    x = np.concatenate([w.ravel() for w in bottleneck.init(rng, 300, 100, std=0.5)[::2]]) / 0.5
    assert 1.99 < abs(x).max() <= 2
    inside = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
    assert x.var() == pytest.approx(inside, rel=0.02)
    assert x.mean() == pytest.approx(0, abs=0.02)


def test_a_prompt_starts_in_both_halves_of_its_range(rng):
    """[prompt-rows]  Uniform in [−0.5, 0.5)."""
    P, draws = prompt_tuning.init(np.random.default_rng(5), 400, 5).P, np.random.default_rng(5)
    assert np.array_equal(P, draws.random((400, 5)) - 0.5)


# ---- what every operation refuses ----------------------------------------------------------------------------


def test_every_operation_of_dora_looks_at_its_tensors(rng):
    """[dora-weight]"""
    X, W0, gY = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(3, 5))
    p = DoraParams(rng.normal(size=(5, 2)), rng.normal(size=(2, 4)), rng.normal(size=5))
    kept, bad = dora.forward(X, W0, p, scale=S)[1], p._replace(m=p.m[:4])
    lengths = kept.lengths
    for call in (
        lambda p: dora.forward(X, W0, p, scale=S),
        lambda p: dora.backward(gY, X, kept, W0, p, scale=S),
        lambda p: dora.merge(W0, p, scale=S),
        lambda p: dora.row_lengths(W0, p, scale=S),
        lambda p: dora.unmerge(W0, lengths, p, scale=S),
    ):
        refuse(
            [
                (ShapeError, r"^m has shape \(4,\), expected \(d,\) = \(5,\)", lambda call=call: call(bad)),
                (ConfigError, r"^p must be the tensors \(B, A, m\)", lambda call=call: call(tuple(p)[:2])),
                (DTypeError, "float32", lambda call=call: call(p._replace(m=p.m.astype("f4")))),
            ]
        )
    refuse(
        [
            (DTypeError, "lengths is float32", lambda: dora.unmerge(W0, lengths.astype("f4"), p, scale=S)),
            (DTypeError, "X is float32", lambda: dora.forward(X.astype("f4"), W0, p, scale=S)),
            (ShapeError, "^X has shape", lambda: dora.backward(gY, X[:, :3], kept, W0, p, scale=S)),
            (DTypeError, "gY is float32", lambda: dora.backward(gY.astype("f4"), X, kept, W0, p, scale=S)),
        ]
    )
    assert (dora.merge(W0, p, scale=S, eps=0.0) == dora.merge(W0, p, scale=S, eps=1e-200)).all()


def test_every_operation_of_loha_looks_at_its_tensors(rng):
    """[loha-delta]"""
    X, W0, gY = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(3, 5))
    B, A = rng.normal(size=(5, 2)), rng.normal(size=(2, 4))
    p = LohaParams(B, A, B, A)
    kept = loha.forward(X, W0, p, scale=S)[1]
    for call in (
        lambda p: loha.forward(X, W0, p, scale=S),
        lambda p: loha.backward(gY, X, kept, W0, p, scale=S),
        lambda p: loha.merge(W0, p, scale=S),
        lambda p: loha.unmerge(W0, p, scale=S),
    ):
        refuse(
            [
                (ShapeError, "do not fit", lambda call=call: call(p._replace(B1=B[:4]))),
                (ShapeError, "do not fit", lambda call=call: call(p._replace(A2=A[:, :3]))),
                (ShapeError, "B1 has 1 axes.*d, r", lambda call=call: call(p._replace(B1=B[0]))),
                (ShapeError, "A2 has 1 axes.*r, k", lambda call=call: call(p._replace(A2=A[0]))),
                (DTypeError, "A1 is float32", lambda call=call: call(p._replace(A1=A.astype("f4")))),
                (ConfigError, "B1, A1, B2, A2", lambda call=call: call((B, A))),
            ]
        )
    refuse(
        [
            (ShapeError, "^X has shape", lambda: loha.forward(X[:, :3], W0, p, scale=S)),
            (ShapeError, "^bias has shape", lambda: loha.forward(X, W0, p, scale=S, bias=W0[0])),
            (ShapeError, "^gY has shape", lambda: loha.backward(gY[:, :4], X, kept, W0, p, scale=S)),
            (
                ShapeError,
                "kept.second",
                lambda: loha.backward(gY, X, kept._replace(second=X), W0, p, scale=S),
            ),
            (ConfigError, "scale", lambda: loha.merge(W0, p, scale=np.nan)),
        ]
    )


def test_every_operation_of_lokr_looks_at_its_tensors(rng):
    """[lokr-delta]"""
    X, W0, gY = rng.normal(size=(3, 6)), rng.normal(size=(4, 6)), rng.normal(size=(3, 4))
    C, D, B, A = (rng.normal(size=shape) for shape in ((2, 3), (2, 2), (2, 1), (1, 2)))
    full, factored = LokrFull(C, D), LokrFactored(C, B, A)
    for p in (full, factored):
        Z = lokr.forward(X, W0, p, scale=S)[1]
        for call in (
            lambda p: lokr.forward(X, W0, p, scale=S),
            lambda p, Z=Z: lokr.backward(gY, X, Z, W0, p, scale=S),
            lambda p: lokr.merge(W0, p, scale=S),
            lambda p: lokr.unmerge(W0, p, scale=S),
        ):
            refuse(
                [
                    (ShapeError, "⊗", lambda call=call, p=p: call(p._replace(C=C[:1]))),
                    (ShapeError, "⊗", lambda call=call, p=p: call(p._replace(C=C[:, :2]))),
                    (ShapeError, "C has 1 axes.*d1, k1", lambda call=call, p=p: call(p._replace(C=C[0]))),
                    (DTypeError, "C is float32", lambda call=call, p=p: call(p._replace(C=C.astype("f4")))),
                ]
            )
        refuse(
            [
                (ShapeError, "^X has shape", lambda p=p: lokr.forward(X[:, :5], W0, p, scale=S)),
                (ShapeError, "^bias has", lambda p=p: lokr.forward(X, W0, p, scale=S, bias=X[0])),
                (
                    ShapeError,
                    "^gY has shape",
                    lambda p=p, Z=Z: lokr.backward(gY[:, :3], X, Z, W0, p, scale=S),
                ),
                (
                    DTypeError,
                    "Z is float32",
                    lambda p=p, Z=Z: lokr.backward(gY, X, Z.astype("f4"), W0, p, scale=S),
                ),
                (ConfigError, "scale", lambda p=p: lokr.forward(X, W0, p, scale=np.inf)),
            ]
        )
    refuse(
        [
            (ShapeError, "D has 1 axes.*d2, k2", lambda: lokr.merge(W0, LokrFull(C, D[0]), scale=S)),
            (ShapeError, "B has 1 axes.*d2, r", lambda: lokr.merge(W0, factored._replace(B=B[0]), scale=S)),
            (ShapeError, "A has 1 axes.*r, k2", lambda: lokr.merge(W0, factored._replace(A=A[0]), scale=S)),
            (ConfigError, "^p must be the tensors", lambda: lokr.merge(W0, {"C": C, "D": D}, scale=S)),
        ]
    )
    assert (lokr.merge(W0, [C, D], scale=S) == lokr.merge(W0, full, scale=S)).all()


def test_every_operation_of_oft_looks_at_its_tensors_and_options(rng):
    """[oft-weight]"""
    X, W0, gY = rng.normal(size=(3, 6)), rng.normal(size=(4, 6)), rng.normal(size=(3, 4))
    p = OftParams(rng.normal(size=(2, 3)))
    R = oft.rotation(p)
    for call in (
        lambda p=p, **options: oft.forward(X, W0, p, **options),
        lambda p=p, **options: oft.backward(gY, X, R, W0, p, **options),
        lambda p=p, **options: oft.merge(W0, p, **options),
        lambda p=p, **options: oft.unmerge(W0, p, **options),
    ):
        refuse(
            [
                (ShapeError, "do not fill k = 6", lambda call=call: call(OftParams(p.q[:1]))),
                (ShapeError, "q has 1 axes", lambda call=call: call(OftParams(p.q[0]))),
                (DTypeError, "q is float32", lambda call=call: call(OftParams(p.q.astype("f4")))),
                (ConfigError, "neumann must be None or 5, got 0", lambda call=call: call(neumann=0)),
                (ConfigError, "neumann must be None or 5, got True", lambda call=call: call(neumann=True)),
                (ConfigError, "side must be one of", lambda call=call: call(side="left")),
            ]
        )
    refuse(
        [
            (ShapeError, "^X has shape", lambda: oft.forward(X[:, :5], W0, p)),
            (ShapeError, "^X has shape", lambda: oft.backward(gY, X[:, :5], R, W0, p)),
            (DTypeError, "R is float32", lambda: oft.backward(gY, X, R.astype("f4"), W0, p)),
            (ConfigError, "side must be one of", lambda: oft.rotation(p, side="left")),
            (ShapeError, "q has 4 numbers a block", lambda: oft.rotation(OftParams(np.ones((1, 4))))),
        ]
    )


def test_every_operation_of_the_bottleneck_looks_at_its_tensors(rng):
    """[adapter-bottleneck]"""
    X, gY = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    p = BottleneckParams(rng.normal(size=(2, 4)), np.zeros(2), rng.normal(size=(4, 2)), np.zeros(4))
    U = bottleneck.forward(X, p, activation="relu")[1]
    for call in (
        lambda X=X, p=p, activation="relu": bottleneck.forward(X, p, activation=activation),
        lambda X=X, p=p, activation="relu": bottleneck.branch(X, p, activation=activation),
        lambda X=X, p=p, activation="relu": bottleneck.backward(gY, X, U, p, activation=activation),
    ):
        refuse(
            [
                (ConfigError, "activation must be one of", lambda call=call: call(activation="sigmoid")),
                (ConfigError, "p must be a BottleneckParams", lambda call=call: call(p=tuple(p))),
                (ShapeError, "W_up has 1 axes", lambda call=call: call(p=p._replace(W_up=p.W_up[0]))),
                (ShapeError, "^X has shape", lambda call=call: call(X=X[:, :3])),
                (DTypeError, "X is float32", lambda call=call: call(X=X.astype("f4"))),
            ]
        )
    refuse(
        [
            (ShapeError, "batch axes", lambda: bottleneck.backward(gY, X, U[:2], p, activation="relu")),
            (
                DTypeError,
                "U is float32",
                lambda: bottleneck.backward(gY, X, U.astype("f4"), p, activation="relu"),
            ),
        ]
    )


def test_every_operation_of_a_prefix_looks_at_its_tensors(rng):
    """[prefix-attention]"""
    Q, K, V, gY = (rng.normal(size=(n, 4)) for n in (3, 2, 2, 3))
    p = PrefixParams(rng.normal(size=(2, 4)), rng.normal(size=(2, 4)))
    S = prefix_tuning.forward(Q, K, V, p)[1]
    for call in (
        lambda Q=Q, K=K, V=V, p=p: prefix_tuning.forward(Q, K, V, p),
        lambda Q=Q, K=K, V=V, p=p: prefix_tuning.backward(gY, Q, S, K, V, p),
    ):
        refuse(
            [
                (ConfigError, "p must be a PrefixParams", lambda call=call: call(p=tuple(p))),
                (ShapeError, "Q has shape", lambda call=call: call(Q=Q[:, :3])),
                (ShapeError, "V has shape", lambda call=call: call(V=V[:, :3])),
                (ShapeError, "P_k has 1 axes", lambda call=call: call(p=p._replace(P_k=p.P_k[0]))),
                (ShapeError, "P_v has shape", lambda call=call: call(p=p._replace(P_v=p.P_v[:, :3]))),
                (DTypeError, "P_v is float32", lambda call=call: call(p=p._replace(P_v=p.P_v.astype("f4")))),
            ]
        )
    refuse(
        [
            (DTypeError, "S is float32", lambda: prefix_tuning.backward(gY, Q, S.astype("f4"), K, V, p)),
            (ShapeError, "batch axes", lambda: prefix_tuning.backward(gY, Q, S[:2], K, V, p)),
        ]
    )


def test_both_directions_of_the_network_look_at_its_tensors(rng):
    """[prefix-reparam] [prefix-reparam-grad]"""
    q = prefix_tuning.Reparametrization(*(rng.normal(size=shape) for shape in ((2, 3), (5, 3), 5, (8, 5), 8)))
    p, T = prefix_tuning.reparametrize(q)
    for call in (prefix_tuning.reparametrize, lambda q: prefix_tuning.reparametrize_backward(p, T, q)):
        refuse(
            [
                (ConfigError, "q must be a Reparametrization", lambda call=call: call(tuple(q))),
                (ShapeError, "E has 1 axes", lambda call=call: call(q._replace(E=q.E[0]))),
                (ShapeError, "W1 has 1 axes", lambda call=call: call(q._replace(W1=q.W1[0]))),
                (ShapeError, "W2 has 1 axes", lambda call=call: call(q._replace(W2=q.W2[0]))),
                (ShapeError, "b1 has shape", lambda call=call: call(q._replace(b1=q.b1[:4]))),
                (ShapeError, "b2 has shape", lambda call=call: call(q._replace(b2=q.b2[:4]))),
                (DTypeError, "b2 is float32", lambda call=call: call(q._replace(b2=q.b2.astype("f4")))),
                (
                    ShapeError,
                    "W2 has 7 rows",
                    lambda call=call: call(q._replace(W2=q.W2[:7], b2=q.b2[:7])),
                ),
            ]
        )

    def back(gp, T=T):
        return prefix_tuning.reparametrize_backward(gp, T, q)

    refuse(
        [
            (ShapeError, "^gP_k has shape", lambda: back(p._replace(P_k=p.P_k[:, :3]))),
            (ShapeError, "^gP_v has shape", lambda: back(p._replace(P_v=p.P_v[:, :3]))),
            (DTypeError, "gP_k is float32", lambda: back(p._replace(P_k=p.P_k.astype("f4")))),
            (DTypeError, "T is float32", lambda: back(p, T.astype("f4"))),
            (ShapeError, "^T has shape", lambda: back(p, T[:, :4])),
        ]
    )


def test_both_directions_of_a_prompt_look_at_its_tensors(rng):
    """[prompt-rows] [prompt-grad]"""
    X, W0, gY = rng.normal(size=(3, 4)), rng.normal(size=(2, 4)), rng.normal(size=(5, 2))
    p = PromptTuningParams(rng.normal(size=(2, 4)))
    R = prompt_tuning.forward(X, W0, p)[1]
    for call in (
        lambda X=X, W0=W0, p=p: prompt_tuning.forward(X, W0, p),
        lambda X=X, W0=W0, p=p: prompt_tuning.backward(gY, X, R, W0, p),
    ):
        refuse(
            [
                (ConfigError, "p must be a PromptTuningParams", lambda call=call: call(p=tuple(p))),
                (ShapeError, "W0 has 1 axes", lambda call=call: call(W0=W0[0])),
                (ShapeError, "^X has shape", lambda call=call: call(X=X[:, :3])),
                (ShapeError, r"expected \(..., N, 4\)", lambda call=call: call(X=X[0])),
                (ShapeError, "^P has shape", lambda call=call: call(p=PromptTuningParams(p.P[:, :3]))),
                (ShapeError, "^P has 1 axes", lambda call=call: call(p=PromptTuningParams(p.P[0]))),
                (DTypeError, "P is float32", lambda call=call: call(p=PromptTuningParams(p.P.astype("f4")))),
            ]
        )
    refuse(
        [
            (DTypeError, "bias is float32", lambda: prompt_tuning.forward(X, W0, p, bias=np.ones(2, "f4"))),
            (DTypeError, "R is float32", lambda: prompt_tuning.backward(gY, X, R.astype("f4"), W0, p)),
        ]
    )


def test_rows_are_named_up_to_eight(rng):
    """[dora-weight]  Eight rows are all named; of nine, one is only counted."""
    flags = np.arange(9) < 8
    assert through_weight.name_rows(flags) == "rows 0, 1, 2, 3, 4, 5, 6, 7"
    assert through_weight.name_rows(flags | True) == "rows 0, 1, 2, 3, 4, 5, 6, 7 and 1 more"
    assert through_weight.name_rows(flags & (np.arange(9) == 3)) == "row 3"
    assert through_weight.name_rows(flags & False) == ""


def test_the_ranks_of_lokrs_factors_are_both_named():
    """[lokr-delta]  B's columns and A's rows, where no other size is the same."""
    p = LokrFactored(np.ones((2, 3)), np.ones((4, 1)), np.ones((2, 5)))
    with pytest.raises(RankError, match=r"B has rank 1 \(its columns\) and A has rank 2 \(its rows\)"):
        lokr.merge(np.zeros((8, 15)), p, scale=S)


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_a_row_is_measured_by_its_largest_number_of_either_sign(size):
    """[dora-weight]  (−3, −4, 0) has length 5 at every size, and so has (−3, 4e-20, −4)."""
    W0 = size * np.array([[-3.0, -4.0, 0.0], [-3.0, 4e-20, -4.0]])
    p = DoraParams(np.zeros((2, 1)), np.zeros((1, 3)), np.ones(2))
    assert dora.row_lengths(W0, p, scale=1.0) == pytest.approx(5 * size, rel=1e-15)
