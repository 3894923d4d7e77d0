"""Methods: what every operation refuses, and numbers at the boundary."""

import numpy as np
import pytest

from lora_np.errors import ConfigError, DTypeError, NotInvertibleError, RankError, ShapeError
from lora_np.lora import LoraParams
from lora_np.methods import (
    bottleneck,
    dora,
    houlsby,
    ia3,
    loha,
    lokr,
    oft,
    pfeiffer,
    pissa,
    prefix_tuning,
    prompt_tuning,
    through_weight,
)
from lora_np.methods.bottleneck import BottleneckParams
from lora_np.methods.dora import DoraParams
from lora_np.methods.ia3 import Ia3Params
from lora_np.methods.loha import LohaParams
from lora_np.methods.lokr import LokrFactored, LokrFull
from lora_np.methods.oft import OftParams
from lora_np.methods.prefix_tuning import PrefixParams
from lora_np.methods.prompt_tuning import PromptTuningParams
from tests.refusals import refuse

S = 1 / 3


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


@pytest.mark.parametrize("feedforward", [False, True])
def test_every_operation_of_ia3_looks_at_its_tensors(feedforward, rng):
    """[ia3-output] [ia3-input] [ia3-merge]"""
    X, W0, gY = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(3, 5))
    p, which = Ia3Params(rng.normal(size=4 if feedforward else 5)), {"feedforward": feedforward}
    H, bias = ia3.forward(X, W0, p, **which)[1], rng.normal(size=5)
    weights = (
        lambda p=p, feedforward=feedforward: ia3.forward(X, W0, p, feedforward=feedforward),
        lambda p=p, feedforward=feedforward: ia3.backward(gY, X, H, W0, p, feedforward=feedforward),
        lambda p=p, feedforward=feedforward: ia3.merge(W0, p, feedforward=feedforward),
        lambda p=p, feedforward=feedforward: ia3.unmerge(W0, p, feedforward=feedforward),
    )
    biases = (
        lambda p=p, feedforward=feedforward: ia3.merge_bias(bias, p, feedforward=feedforward),
        lambda p=p, feedforward=feedforward: ia3.unmerge_bias(bias, p, feedforward=feedforward),
    )
    for call in (*weights, *biases):
        refuse(
            [
                (ConfigError, r"^p must be the tensors \(l\)", lambda call=call: call(p=p.l)),
                (
                    ConfigError,
                    "^feedforward: bool required",
                    lambda call=call: call(feedforward=int(feedforward)),
                ),
            ]
        )
    single = Ia3Params(p.l.astype("f4"))
    for call in (*weights, *(() if feedforward else biases)):
        refuse(
            [
                (ShapeError, "^l has shape", lambda call=call: call(p=Ia3Params(p.l[:3]))),
                (DTypeError, "l is float32", lambda call=call: call(p=single)),
            ]
        )
    refuse([(DTypeError, "H is float32", lambda: ia3.backward(gY, X, H.astype("f4"), W0, p, **which))])


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


def test_both_places_look_at_what_skips_the_sub_layer(rng):
    """[adapter-houlsby-place] [adapter-pfeiffer-place]  H is added, so it must be of S's shape and element type."""
    S, p = rng.normal(size=(3, 4)), bottleneck.init(rng, 4, 2)
    for place in (houlsby.place, pfeiffer.place):
        refuse(
            [
                (
                    DTypeError,
                    "H is float32, S is float64",
                    lambda place=place: place(S, S.astype("f4"), p, norm=abs),
                ),
                (ShapeError, "^H has shape", lambda place=place: place(S, S[:2], p, norm=abs)),
            ]
        )


def test_scores_are_divided_by_the_root_of_the_width_however_many_axes_the_queries_have(rng):
    """[prefix-attention]  Queries (2, 3, 4): the root is that of 4."""
    K, V, p = rng.normal(size=(2, 4)), rng.normal(size=(2, 4)), prefix_tuning.init(rng, 2, 4)
    Q = rng.normal(size=(2, 3, 4))
    deep, flat = prefix_tuning.forward(Q, K, V, p)[0], prefix_tuning.forward(Q.reshape(6, 4), K, V, p)[0]
    assert deep.reshape(6, 4) == pytest.approx(flat, rel=1e-14)


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
                (DTypeError, "P_k must be", lambda call=call: call(p=p._replace(P_k=p.P_k.tolist()))),
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
                (DTypeError, "E must be", lambda call=call: call(q._replace(E=q.E.tolist()))),
                (DTypeError, "W2 must be", lambda call=call: call(q._replace(W2=q.W2.tolist()))),
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


def test_a_block_of_every_size_is_read_from_its_triangle():
    """[oft-weight]  q has b (b − 1) / 2 numbers a block, and b is found again, for small blocks and large."""
    for b in range(1, 70):
        q = oft.init(2 * b, b).q
        assert oft.rotation(OftParams(q)).shape == (2, b, b)
        if b > 2:
            with pytest.raises(ShapeError, match=f"q has {q.shape[1] - 1} numbers a block"):
                oft.rotation(OftParams(q[:, 1:]))


def test_one_block_that_cannot_be_turned_back_is_enough(rng):
    """[oft-neumann]  Five terms of a quarter turn are zero; of nearly one, so small that dividing overflows."""
    problem = "five-term rotation has no inverse: Q turns by a quarter; keep a snapshot"
    for quarter in (1.0, 1.0 + 2.0**-52):
        p = OftParams(np.array([[0.1], [quarter]]))
        with pytest.raises(NotInvertibleError, match=problem):
            oft.unmerge(np.full((3, 4), 1e305), p, neumann=5)


def test_what_training_changed_needs_both_pairs_to_be_pairs(rng):
    """[start-increment]"""
    p = LoraParams(rng.normal(size=(3, 2)), rng.normal(size=(2, 4)))
    half = p._replace(A=p.A[:1])
    refuse(
        [
            (RankError, "A has rank 1", lambda: pissa.as_lora(p, half)),
            (RankError, "A has rank 1", lambda: pissa.as_lora(half, p)),
            (ConfigError, "pair", lambda: pissa.as_lora(p, p.B)),
        ]
    )
