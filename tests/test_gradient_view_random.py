"""Random projections: the identity on average, by counting and by sampling, and low rank each time."""

from itertools import product

import numpy as np
import pytest

from lora_np import LoraParams, gradient_view
from lora_np.errors import ConfigError, DTypeError, NonFiniteError, ShapeError
from lora_np.gradient_view import expected_random_update, random_factors, random_projection_step

LR = 0.25


def signs(n):
    """All 2^n vectors of signs."""
    return np.array(list(product((-1.0, 1.0), repeat=n)))


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_mean_projection_of_all_sign_vectors_is_the_identity(n):
    """[view-random-identity]  Property 52, by counting: the average of u uᵀ over all sign vectors is I, exactly."""
    mean = sum(np.outer(u, u) for u in signs(n)) / 2**n
    assert (mean == np.eye(n)).all()


@pytest.mark.parametrize(("d", "k", "r"), [(3, 4, 1), (1, 5, 1), (2, 2, 2)])
def test_the_mean_update_over_all_signs_is_full_rank_sgd_at_2r_times_the_rate(rng, d, k, r):
    """[view-random-mean] [view-random]  Property 52: every sign of both factors once; −2 r lr gW, exactly.

    Each term alone gives r lr gW, so a reading with one of the two would be off by a factor of two.
    """
    gW = rng.integers(-4, 5, size=(d, k)).astype(float)
    total, count = np.zeros((d, k)), 0
    for u in signs(d * r):
        for v in signs(k * r):
            p = LoraParams(u.reshape(d, r), v.reshape(r, k))
            total += gradient_view.first_order_update(gW, p, scale=1.0, lr=LR)
            count += 1
    assert (total / count == -2 * r * LR * gW).all()
    assert (total / count == expected_random_update(gW, lr=LR, rank=r)).all()


@pytest.mark.parametrize("law", ["gaussian", "rademacher"])
@pytest.mark.parametrize("rank", [1, 3])
def test_the_sampled_mean_is_within_five_standard_errors(law, rank):
    """[view-random-mean]  Property 52, by Monte Carlo with a fixed seed; one term alone would be many errors off."""
    rng = np.random.default_rng(52)
    gW, draws = rng.normal(size=(4, 3)) + 3, 2000
    W = np.zeros((4, 3))
    steps = np.array([random_projection_step(rng, W, gW, lr=LR, rank=rank, law=law) for _ in range(draws)])
    error = steps.std(axis=0) / np.sqrt(draws)
    assert (abs(steps.mean(axis=0) - expected_random_update(gW, lr=LR, rank=rank)) <= 5 * error).all()
    assert (abs(steps.mean(axis=0) - expected_random_update(gW, lr=LR, rank=rank) / 2) > 5 * error).any()


@pytest.mark.parametrize("law", ["gaussian", "rademacher"])
def test_the_factors_have_mean_zero_variance_one_and_no_correlation(law):
    """[view-random-identity]  E[u] = 0 and E[u uᵀ] = I within five standard errors."""
    rng, n, draws = np.random.default_rng(7), 3, 4000
    B = np.array([random_factors(rng, n, 1, law=law).B[:, 0] for _ in range(draws)])
    assert (abs(B.mean(axis=0)) <= 5 / np.sqrt(draws)).all()
    assert (abs(B.T @ B / draws - np.eye(n)) <= 5 * np.sqrt(2 / draws)).all()
    if law == "rademacher":
        assert set(np.unique(B)) == {-1.0, 1.0}


@pytest.mark.parametrize("rank", [1, 2])
def test_each_step_has_low_rank_and_fresh_factors(rng, rank):
    """[view-random]  Property 53: 2 for one random vector on each side, 2r in general; and no two steps are alike."""
    gW, W = rng.normal(size=(9, 8)), np.zeros((9, 8))
    first, second = (random_projection_step(rng, W, gW, lr=LR, rank=rank) for _ in range(2))
    assert np.linalg.matrix_rank(first) == np.linalg.matrix_rank(second) == 2 * rank
    assert np.linalg.matrix_rank(gW) == 8
    assert (first != second).all()


def test_a_step_is_the_projection_of_its_own_draw(rng):
    """[view-random]  The same seed gives the factors; then W' = W − lr (gW AᵀA + B Bᵀ gW)."""
    W, gW = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    got = random_projection_step(np.random.default_rng(3), W, gW, lr=LR, rank=2)
    B, A = random_factors(np.random.default_rng(3), 5, 4, 2)
    want = W - LR * (gW @ (A.T @ A) + (B @ B.T) @ gW)
    size = abs(W) + LR * (abs(gW) @ (abs(A).T @ abs(A)) + (abs(B) @ abs(B).T) @ abs(gW))
    assert (abs(got - want) <= 2 * 16 * 2.0**-53 * size).all()


def test_factors_have_the_type_asked_for(rng):
    """[view-random-identity]"""
    p = random_factors(rng, 4, 3, 2, dtype=np.float32)
    assert type(p) is LoraParams
    assert p.B.shape == (4, 2)
    assert p.A.shape == (2, 3)
    assert p.B.dtype == p.A.dtype == np.float32


def test_every_library_gives_the_same_bits(library, rng):
    """[view-random]  Signs and small integers: no rounding; arguments untouched."""
    W, gW = (rng.integers(-4, 5, size=(5, 4)).astype(float) for _ in range(2))
    theirs = library.asarray(W), library.asarray(gW)
    want = random_projection_step(np.random.default_rng(1), W, gW, lr=LR, law="rademacher")
    got = random_projection_step(np.random.default_rng(1), *theirs, lr=LR, law="rademacher")
    assert type(got) is type(theirs[0])
    assert (library.to_numpy(got) == want).all()
    assert (library.to_numpy(expected_random_update(theirs[1], lr=LR)) == -2 * LR * gW).all()


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"rng": 0}, ConfigError, ["rng", "default_rng"]),
        ({"W": np.ones(3)}, ShapeError, ["W", "1 axes"]),
        ({"gW": np.ones((4, 5))}, ShapeError, ["gW", "(4, 5)", "(5, 4)"]),
        ({"gW": np.ones((5, 4), dtype=np.float32)}, DTypeError, ["float32", "float64"]),
        ({"gW": np.full((5, 4), np.nan)}, NonFiniteError, ["gW", "20 non-finite"]),
        ({"lr": -1}, ConfigError, ["lr", "-1"]),
        ({"rank": 0}, ConfigError, ["rank r", "positive int", "0"]),
        ({"law": "gausian"}, ConfigError, ["law", "'gaussian'", "did you mean"]),
    ],
)
def test_bad_arguments_are_named(rng, changed, error, words):
    arguments = {"rng": rng, "W": np.ones((5, 4)), "gW": np.ones((5, 4)), "lr": LR} | changed
    positional = [arguments.pop(name) for name in ("rng", "W", "gW")]
    with pytest.raises(error) as caught:
        random_projection_step(*positional, **arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_bad_sizes_and_types_of_factors_are_named(rng):
    with pytest.raises(ConfigError, match="d must be"):
        random_factors(rng, -1, 3)
    with pytest.raises(DTypeError, match="int32"):
        random_factors(rng, 2, 3, dtype=np.int32)
    with pytest.raises(ConfigError, match="lr"):
        expected_random_update(np.ones((2, 2)), lr=float("nan"))
    with pytest.raises(ConfigError, match="rank r"):
        expected_random_update(np.ones((2, 2)), lr=0.1, rank=1.5)
