"""Starts of the methods: sizes at the boundary, and draws that follow from the generator."""

import math
import warnings

import numpy as np
import pytest

from lora_np.errors import ConfigError, DTypeError, RankWarning
from lora_np.methods import (
    bottleneck,
    dora,
    ia3,
    loha,
    lokr,
    milora,
    oft,
    olora,
    pissa,
    prefix_tuning,
    prompt_tuning,
)
from tests.refusals import refuse

S = 1 / 3


@pytest.fixture
def any_rank():
    """Let a rank exceed the sizes without a word: some of them are zero here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)
        yield


STARTS = {  # of width, height or length n; one call a size that may be zero
    "loha, d": lambda rng, n, **more: loha.init(rng, n, 4, 2, **more),
    "loha, k": lambda rng, n, **more: loha.init(rng, 4, n, 2, **more),
    "bottleneck, k": lambda rng, n, **more: bottleneck.init(rng, n, 2, **more),
    "prefix_tuning, length": lambda rng, n, **more: prefix_tuning.init(rng, n, 4, **more),
    "prompt_tuning, length": lambda rng, n, **more: prompt_tuning.init(rng, n, 4, **more),
    "prompt_tuning, k": lambda rng, n, **more: prompt_tuning.init(rng, 2, n, **more),
    "ia3, d": lambda rng, n, **more: ia3.init(n, 4, feedforward=False, **more),
    "ia3, k": lambda rng, n, **more: ia3.init(4, n, feedforward=True, **more),
    "oft, k": lambda rng, n, **more: oft.init(n, 2, **more),
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.usefixtures("any_rank")
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
            (ConfigError, "feedforward: bool required", lambda: ia3.init(4, 4, feedforward=1)),
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


@pytest.mark.usefixtures("any_rank")
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


def test_a_prefix_draws_the_keys_first():
    """[prefix-attention]"""
    p, draws = prefix_tuning.init(np.random.default_rng(5), 3, 4), np.random.default_rng(5)
    assert np.array_equal(p.P_k, draws.standard_normal((3, 4)))
    assert np.array_equal(p.P_v, draws.standard_normal((3, 4)))


@pytest.mark.parametrize("method", [pissa, milora, olora])
def test_a_start_at_the_weight_takes_any_positive_scale(method, rng):
    """[pissa-start] [milora-start] [olora-start]  However small: the base and s B A make up the weight."""
    W0 = rng.normal(size=(3, 4))
    base, p = method.init(W0, 2, scale=2.0**-40)
    assert base + 2.0**-40 * (p.B @ p.A) == pytest.approx(W0, abs=1e-14)
