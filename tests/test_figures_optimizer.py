"""The room on LoRA as an optimizer: its numbers by plain loops, by enumeration, by least squares and by algebra."""

from fractions import Fraction
from itertools import product
from math import sqrt

import numpy as np
import pytest

from lora_np.errors import ConfigError
from lora_np.figures import optimizer as figures
from lora_np.figures.examples import example_matrix
from lora_np.figures.optimizer_scene import (
    RANKS,
    RATES,
    SIDES,
    SMALL,
    WANTED,
    additive_scene,
    cosines,
    moment,
    random_scene,
    spread,
    update_scene,
    wanted_increment,
)
from lora_np.figures.trade_scene import TRADES, run, scale_scene, trade_scene
from lora_np.lora import init
from tests.chart_checks import check_chart


def times(M, N):
    """A product of matrices, loop by loop."""
    return [[sum(M[i][q] * N[q][j] for q in range(len(N))) for j in range(len(N[0]))] for i in range(len(M))]


def turned(M):
    return [list(row) for row in zip(*M, strict=True)]


def frobenius(M):
    return sqrt(sum(x * x for row in M for x in row))


# ---- one step ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rank", "alpha", "steps"), [(1, 4, 1), (4, 8, 5), (16, 64, 2)])
def test_the_orders_of_a_step_by_loops(rank, alpha, steps):
    """[view-update] [view-first-order]: η s² ‖g_W Aᵀ A + B Bᵀ g_W‖ and η² s³ ‖g_W Aᵀ Bᵀ g_W‖.

    1e-12: a thousand products in double precision.
    """
    gW, p, s = moment(rank, alpha, steps=steps)
    scene = update_scene(rank, alpha, steps=steps)
    G, B, A = gW.tolist(), p.B.tolist(), p.A.tolist()
    right = times(times(G, turned(A)), A)
    left = times(B, times(turned(B), G))
    both = times(times(G, turned(A)), times(turned(B), G))
    first = frobenius([[x + y for x, y in zip(*rows, strict=True)] for rows in zip(right, left, strict=True)])
    inner = sum(
        g * (x + y) for G_, R, L in zip(G, right, left, strict=True) for g, x, y in zip(G_, R, L, strict=True)
    )
    for place in (0, 10, len(RATES) - 1):
        lr = RATES[place]
        assert np.isclose(scene.first[place], lr * s**2 * first, rtol=1e-12)
        assert np.isclose(scene.second[place], lr**2 * s**3 * frobenius(both), rtol=1e-12)
        assert np.isclose(scene.full[place], lr * frobenius(G), rtol=1e-12)
    assert np.isclose(scene.cosine, inner / (first * frobenius(G)), rtol=1e-12)
    assert np.isclose(scene.crossing, first / (s * frobenius(both)), rtol=1e-12)
    assert scene.slopes == pytest.approx((1, 2), abs=1e-9)


def test_what_a_real_step_does_beyond_its_first_order_is_the_second():
    """[view-update]: an identity; 1e-13 of the first order is what rounding leaves.  Property 49."""
    scene = update_scene(4, 8, steps=5)
    for first, second, beyond in zip(scene.first, scene.second, scene.beyond, strict=True):
        assert abs(second - beyond) <= 1e-13 * first


def test_at_the_start_the_second_order_is_exactly_zero():
    """[view-update]: B = 0."""
    scene = update_scene(4, 8, steps=0)
    assert not any(scene.second)
    assert scene.slopes[1] is None
    assert scene.crossing is None
    assert "B = 0" in figures.orders(scene).alt


def test_a_run_keeps_the_gradient_and_the_factors_together():
    """[view-sgd]: g_W = s B A − D at every moment, and each step is the projection's."""
    D = example_matrix("decay", *SIDES)
    s = 2.0
    p = init(np.random.default_rng(0), *SIDES, 4)
    B, A = p.B, p.A
    for _ in range(3):
        gW = s * B @ A - D
        B, A = B - s * gW @ A.T / 8, A - s * B.T @ gW / 8  # rate 1 / (s² + 4)
    found = moment(4, 8, steps=3)
    assert np.allclose(found.p.B, B, rtol=1e-12, atol=1e-15)
    assert np.allclose(found.p.A, A, rtol=1e-12, atol=1e-15)
    assert np.allclose(found.gW, s * B @ A - D, rtol=1e-12, atol=1e-15)


def test_cosines_rise_with_the_rank_and_stay_below_one():
    """[view-projected]: at the start about √(r / (r + k + 1)), Gaussian factors' value; 0.1 for four starts."""
    found = cosines(8, steps=0, seeds=16)
    means = [sum(values) / len(values) for values in found.values()]
    assert list(found) == list(RANKS)
    assert means == sorted(means)
    assert means[-1] < 0.9
    for rank, mean in zip(RANKS, means, strict=True):
        assert abs(mean - sqrt(rank / (rank + SIDES[1] + 1))) < 0.1


# ---- random factors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("law", "points"),
    [
        ("rademacher", {-1: Fraction(1, 2), 1: Fraction(1, 2)}),
        ("gaussian", {-1: Fraction(1, 6), 0: Fraction(2, 3), 1: Fraction(1, 6)}),
    ],
)
@pytest.mark.parametrize(("d", "k", "rank"), [(2, 2, 1), (3, 1, 1), (1, 2, 2)])
def test_the_spread_of_one_update_by_enumeration(law, points, d, k, rank):
    """[view-random-mean]: E‖g Aᵀ A + B Bᵀ g − 2 r g‖² / ‖2 r g‖², as a Fraction.  Property 52.

    It is of degree 4 in each entry, so three points (0 and ±√3) of the Gauss-Hermite rule stand for a Gaussian; the
    products of two entries are the sign of one times the other times 3, or their own square.
    """
    unit = 1 if law == "rademacher" else 3  # of the square of an entry
    g = [[Fraction(1 + 2 * i + j) for j in range(k)] for i in range(d)]
    total = Fraction(0)
    for entries in product(points, repeat=rank * (d + k)):
        weight = Fraction(1)
        for x in entries:
            weight *= points[x]
        B = [list(entries[rank * i : rank * (i + 1)]) for i in range(d)]
        A = [list(entries[rank * d + k * q : rank * d + k * (q + 1)]) for q in range(rank)]
        right, left = times(g, times(turned(A), A)), times(times(B, turned(B)), g)
        total += weight * sum(
            (unit * (right[i][j] + left[i][j]) - 2 * rank * g[i][j]) ** 2 for i in range(d) for j in range(k)
        )
    assert float(total / sum((2 * rank * x) ** 2 for row in g for x in row)) == spread(d, k, rank, law=law)


@pytest.mark.parametrize("law", ["gaussian", "rademacher"])
@pytest.mark.parametrize("rank", [1, 16])
def test_the_mean_of_random_updates_nears_its_expectation_as_theory_says(law, rank):
    """[view-random-mean]: within a factor 2 of the root mean square at every n, and down by more than ten in all."""
    scene = random_scene(rank, law=law)
    assert all(0.5 < error / rms < 2 for error, rms in zip(scene.errors, scene.theory, strict=True))
    assert scene.errors[-1] < scene.errors[0] / 10
    assert scene.theory[0] / scene.theory[-1] == pytest.approx(16)


@pytest.mark.parametrize("rank", [1, 4, 16])
def test_one_random_update_moves_two_r_directions(rank):
    """[view-random]: rank 2 r at most, and that much for factors in general.  Property 53."""
    scene = random_scene(rank, law="gaussian")
    one = scene.spectra["one update"]
    assert sum(x > 1e-9 for x in one) == min(2 * rank, min(SIDES))
    assert np.allclose(scene.spectra["full gradient × 2r"], [2 * rank / i for i in range(1, 17)], rtol=1e-12)


def test_a_law_that_is_not_there_is_refused():
    with pytest.raises(ConfigError):
        spread(2, 2, 1, law="cauchy")
    with pytest.raises(ConfigError):
        wanted_increment("stripes")


# ---- sums of strips ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("wanted", WANTED)
def test_the_sum_of_strips_ends_at_the_least_squares_fit(rank, wanted):
    """[additive-weight] [additive-blocks] [additive-grad]: what lstsq finds on the design matrix of its entries.

    1e-3: 60 steps of descent.
    """
    (d, k), D = SMALL, wanted_increment(wanted)
    design = np.zeros((d * k, rank * (d + k)))
    for i, j in product(range(d), range(k)):
        design[i * k + j, i * rank + j % rank] = 1
        design[i * k + j, rank * d + (i % rank) * k + j] = 1
    solution = np.linalg.lstsq(design, D.ravel(), rcond=None)[0]
    want = np.linalg.norm(design @ solution - D.ravel()) / np.linalg.norm(D)
    scene = additive_scene(rank, wanted=wanted, steps=60, shift=0.0)
    assert scene.left["sum"] == pytest.approx(want, abs=1e-3)
    assert scene.directions["sum, at the start"] == (design.shape[1], np.linalg.matrix_rank(design))


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_directions_that_each_form_reaches(rank):
    """[additive-gauge]: r (d + k) − r² for the sum; r d for a product with B = 0, r (d + k − r) after a step."""
    d, k = SMALL
    reached = additive_scene(rank, wanted="directions", steps=20, shift=1.0).directions
    assert reached["product, at the start"] == (rank * (d + k), rank * d)
    assert reached["product, trained"] == (rank * (d + k), rank * (d + k - rank))
    assert (
        reached["sum, at the start"] == reached["sum, trained"] == (rank * (d + k), rank * (d + k) - rank**2)
    )


@pytest.mark.parametrize("shift", [-5.0, 0.0, 5.0])
def test_the_gauge_moves_the_strips_and_not_the_weight(shift):
    """[additive-gauge]"""
    scene = additive_scene(2, wanted="directions", steps=20, shift=shift)
    assert np.allclose(scene.strips["B + c"] - scene.strips["B"], shift, atol=1e-14)
    assert np.allclose(scene.strips["A − c"] - scene.strips["A"], -shift, atol=1e-14)
    assert scene.moved < 1e-14


def test_rows_and_columns_are_a_sums_task_and_no_products():
    """[additive-weight]: such an increment has rank 2, so the best product of rank 1 misses σ₂."""
    D = wanted_increment("rows and columns")
    for i, j in product(range(SMALL[0]), range(SMALL[1])):
        assert D[i, j] - D[0, j] == pytest.approx(D[i, 0] - D[0, 0], abs=1e-15)
    sigma = np.linalg.svd(D, compute_uv=False)
    scene = additive_scene(1, wanted="rows and columns", steps=30, shift=0.0)
    assert scene.left["sum"] < 1e-4
    assert scene.left["product"] >= sigma[1] / np.linalg.norm(sigma) > 0.1


# ---- scales and trades -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1, 64])
def test_the_first_gradient_falls_with_the_root_of_the_rank_or_keeps_its_size(alpha):
    """[lora-scale] [lora-scale-rs] [lora-grad-b]: ‖g_B‖ = s ‖g_W A₀ᵀ‖, loop by loop at rank 4."""
    scene = scale_scene(alpha)
    assert scene.slopes == pytest.approx({"α / r": -0.5, "α / √r": 0.0}, abs=0.03)
    gW = example_matrix("random", 64, 64).tolist()
    sizes = [
        frobenius(times(gW, turned(init(np.random.default_rng(seed), 64, 64, 4).A.tolist())))
        for seed in range(2)
    ]
    two = scale_scene(alpha, seeds=2)
    place = two.ranks.index(4)
    assert two.gradient["α / r"][place] == pytest.approx(alpha / 4 * sum(sizes) / 2, rel=1e-12)
    assert two.gradient["α / √r"][place] == pytest.approx(alpha / 2 * sum(sizes) / 2, rel=1e-12)


@pytest.mark.parametrize(("rank", "alpha", "c"), [(4, 8, 4), (1, 1, 2), (16, 64, 4), (16, 1, 3)])
def test_each_optimizer_has_one_trade_of_alpha_for_the_rate(rank, alpha, c):
    """[view-sgd] [view-adam]: lr / c and A / √c for SGD, to rounding; lr / √c and A / √c for Adam, to its eps.

    Every other trade changes the run.
    """
    gaps = trade_scene(rank, alpha, c=c).gaps
    assert gaps["SGD"]["lr / c, A / √c"] < 1e-13
    assert gaps["Adam"]["lr / √c, A / √c"] < 1e-3
    assert gaps["SGD"]["lr / √c, A / √c"] > 0.05
    assert min(gaps["Adam"][trade] for trade in TRADES if trade != "lr / √c, A / √c") > 0.1
    assert gaps["SGD"]["lr / c"] > 0.05


def test_sgds_trade_makes_adams_first_step_half_as_large():
    """[view-adam]: the prediction's answer, for c = 4: s c (η / c) / √c is s η / 2 times the signs, but for eps."""
    _, base = run("Adam", 4, 8, steps=1)
    _, traded = run("Adam", 4, 8, c=4.0, trade=TRADES["lr / c, A / √c"], steps=1)
    assert np.allclose(traded, base / 2, rtol=1e-3, atol=1e-9)


def test_a_trade_of_the_rate_by_c_squared_keeps_sgds_first_step_only():
    """[view-sgd]: there B alone moves, with η s²."""
    trade = TRADES["lr / c²"]
    assert np.allclose(
        run("SGD", 4, 8, steps=1)[1], run("SGD", 4, 8, c=3.0, trade=trade, steps=1)[1], rtol=1e-12
    )
    assert not np.allclose(
        run("SGD", 4, 8, steps=5)[1], run("SGD", 4, 8, c=3.0, trade=trade, steps=5)[1], rtol=1e-2
    )


def test_losses_are_half_the_squared_distance():
    """And before the first step that of D alone."""
    losses, W = run("SGD", 4, 8)
    D = example_matrix("decay", *SIDES)
    assert losses[0] == pytest.approx(sum(1 / i**2 for i in range(1, 17)) / 2, rel=1e-12)
    assert losses[-1] == pytest.approx(frobenius((W - D).tolist()) ** 2 / 2, rel=1e-12)


# ---- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 16])
@pytest.mark.parametrize("steps", [0, 1, 10])
def test_pictures_of_a_step(rank, steps):
    check_chart(figures.orders(update_scene(rank, 8, steps=steps)))
    chart = figures.cosine_curve(cosines(8, steps=steps, seeds=2), rank=rank, steps=steps)
    check_chart(chart)
    assert chart.alt.startswith("At the start" if steps == 0 else f"After {steps} step")
    assert ("steps," in chart.alt) == (steps > 1)


@pytest.mark.parametrize("rank", [1, 16])
def test_pictures_of_random_factors(rank):
    scene = random_scene(rank, law="rademacher")
    check_chart(figures.convergence(scene, rank=rank))
    check_chart(figures.spectra(scene, rank=rank))


@pytest.mark.parametrize(("rank", "shift", "wanted"), [(1, 0.0, WANTED[0]), (4, -5.0, WANTED[1])])
def test_pictures_of_sums(rank, shift, wanted):
    scene = additive_scene(rank, wanted=wanted, steps=1, shift=shift)
    triptych = figures.increments(scene)
    check_chart(triptych, axes=False)
    assert triptych.figure.layout.xaxis.title.text == "column j"
    assert triptych.figure.layout.yaxis.title.text == "row i"  # once: the panels share their rows
    check_chart(figures.directions(scene))
    check_chart(figures.gauge(scene, shift=shift))


@pytest.mark.parametrize("c", [2, 3, 4])
def test_pictures_of_scales_and_trades(c):
    scene = trade_scene(4, 8, c=c)
    check_chart(figures.scales(scale_scene(8)))
    chart = figures.gaps(scene, c=c)
    check_chart(chart)
    assert f"α times {c}: under SGD “lr / c, A / √c” leaves the run as it was" in chart.alt
    assert "under Adam “lr / √c, A / √c” leaves the run as it was" in chart.alt
    for trade in TRADES:
        check_chart(figures.losses(scene, trade=trade, c=c))
