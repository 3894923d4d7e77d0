"""Matrices and ranks: the shipped runs by another road, their pictures, and the sentences said of them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lora_np.errors import ConfigError, DatasetError
from lora_np.figures import subspace as figures
from lora_np.figures import subspace_words as words
from lora_np.figures.chart import percent
from lora_np.figures.subspace_scene import (
    BUDGETS,
    FACTORS,
    OTHERS,
    PhiScene,
    Strength,
    at_budget,
    before,
    by_rank,
    increment,
    of_the_grid,
    phi_scene,
    rerun,
    same_again,
    strengths,
    told,
)
from lora_np.nn import transformer
from lora_np.subspace import amplification_own
from lora_np.training.experiments import matrices
from lora_np.training.experiments.matrices import ADAPTERS, RANKS, SEEDS, SETS, everything, read, runs, write
from tests.chart_checks import check_chart
from tests.naive import subspace as naive

SIZES = {"q": 64 + 64, "k": 64 + 64, "v": 64 + 64, "o": 64 + 64, "1": 192 + 64, "2": 64 + 192}
DIGIT = 1 / 359  # of the held-out ones: what a sum in another order may decide otherwise


@pytest.fixture(scope="module")
def shipped():
    return read()


@pytest.fixture(scope="module")
def turned():
    """The task of the first seed."""
    return matrices.tasks(np.random.default_rng([SEEDS[0], 0]))[1]


# ---- the runs ------------------------------------------------------------------------------------------------


SMALL = {"seeds": (5, 6), "steps": 2, "sets": ("q", "qv"), "ranks": (1, 2), "live_steps": 1}


class TestExperiment:
    def test_the_same_seeds_give_the_same_bytes_and_a_file_gives_back_what_it_was_given(self, tmp_path):
        found = [everything(say=lambda _: None, **SMALL) for _ in range(2)]
        paths = [tmp_path / name for name in ("first", "second")]
        for result, path in zip(found, paths, strict=True):
            write(result, path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        again = read(paths[0])
        assert again.records == found[0].records
        assert list(again.factors) == [(m, r, draw) for m in "qv" for r in (1, 2) for draw in (1, 2)]
        for place, p in found[0].factors.items():
            assert all((a == b).all() for a, b in zip(p, again.factors[place], strict=True))
        for name, layer in found[0].network.layers.items():
            assert (layer.W == again.network.layers[name].W).all()

    def test_a_broken_file_says_how_to_make_it_again(self, tmp_path):
        whole = matrices.PATH.read_bytes()
        (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "text").write_text("no tensors")
        for name in ("cut", "text", "missing"):
            with pytest.raises(DatasetError, match=matrices.COMMAND):
                read(tmp_path / name)

    def test_the_first_step_of_adam_moves_b_by_the_rate_and_a_not_at_all(self, shipped, turned):
        """With B = 0 the gradient of A is 0; Adam's first step is ± the rate wherever the gradient is not tiny."""
        *_, one = matrices.adapting(shipped.network, turned, "qv", 2, seed=1, steps=1)
        first = transformer.with_adapters(
            shipped.network, np.random.default_rng([1, 1]), ("q", "v"), rank=2, alpha=4
        )
        for name, (B, A) in one.adapters.items():
            assert (A == first.adapters[name].A).all()
            assert np.quantile(np.abs(B), 0.5) == pytest.approx(matrices.ADAPTING[1], rel=1e-2)
            assert np.abs(B).max() <= matrices.ADAPTING[1] * (1 + 1e-6)

    def test_training_touches_nothing_but_the_adapters(self, shipped, turned):
        before_bytes = {name: layer.W.tobytes() for name, layer in shipped.network.layers.items()}
        *_, net = matrices.adapting(shipped.network, turned, "qkvo12", 1, seed=2, steps=3)
        assert {name: layer.W.tobytes() for name, layer in net.layers.items()} == before_bytes
        assert len(ADAPTERS.parameters(net)) == 12

    def test_a_seed_that_is_not_the_first_runs_the_grid_only(self, shipped, turned):
        base = matrices.Base(shipped.network, 0.5, turned)
        plan = {"seed": 3, "steps": 1, "sets": ("q",), "ranks": (1,), "live_steps": 1}
        assert [run.record["draw"] for run in runs(base, **plan, first=False)] == [1]
        assert len(list(runs(base, **plan, first=True))) == 1 + 1 + 9


class TestShipped:
    def test_holds_every_set_at_every_rank_for_every_seed(self, shipped):
        places = [(row["seed"], row["set"], row["rank"]) for row in of_the_grid(shipped.records)]
        assert sorted(places) == sorted((seed, name, r) for seed in SEEDS for name in SETS for r in RANKS)
        assert len(SEEDS) >= 3
        assert matrices.PATH.stat().st_size <= 700_000

    def test_counts_what_trained_by_hand(self, shipped):
        for row in shipped.records:
            assert row["trained"] == row["rank"] * sum(SIZES[name] for name in row["set"])

    def test_the_factors_make_the_accuracies_they_are_said_to_make(self, shipped, turned):
        """Network and factors are used here as they ship; a digit may fall otherwise on another processor."""
        first = [row for row in shipped.records if row["seed"] == SEEDS[0]]
        assert abs(matrices.held_out(shipped.network, turned) - first[0]["before"]) <= DIGIT
        pair = [row for row in first if row["set"] == "qv" and row["steps"] == matrices.ADAPTING[0]]
        assert len(pair) == 2 * len(RANKS)
        for row in pair:
            adapters = {name: shipped.factors[name, row["rank"], row["draw"]] for name in "qv"}
            net = replace(shipped.network, adapters=adapters, scale=2.0)
            assert abs(matrices.held_out(net, turned) - row["accuracy"]) <= DIGIT

    def test_single_precision(self, shipped):
        assert {M.dtype for p in shipped.factors.values() for M in p} == {np.dtype(np.float32)}


# ---- accuracy --------------------------------------------------------------------------------------------------


class TestAccuracy:
    @pytest.mark.parametrize("budget", BUDGETS)
    def test_every_row_spent_the_budget_and_the_best_is_first(self, shipped, budget):
        """Means and ranges over seeds, in plain loops."""
        rows = at_budget(shipped.records, budget)
        means = [row["mean"] for row in rows]
        assert means == sorted(means, reverse=True)
        assert len(rows) == (7 if budget == 512 else 8)  # six matrices at rank 1 train 1024 already
        for row in rows:
            assert row["rank"] * sum(SIZES[name] for name in row["set"]) == budget
            values = [
                run["accuracy"]
                for run in shipped.records
                if (run["set"], run["rank"], run["draw"], run["steps"])
                == (row["set"], row["rank"], 1, matrices.ADAPTING[0])
            ]
            assert row["mean"] == pytest.approx(sum(values) / len(SEEDS), rel=1e-15)
            assert (row["low"], row["high"], row["n"]) == (min(values), max(values), len(SEEDS))

    def test_a_budget_that_no_set_can_spend_is_refused(self, shipped):
        with pytest.raises(ConfigError, match="trains 1000 numbers"):
            at_budget(shipped.records, 1000)

    def test_before_is_the_mean_over_seeds_not_over_runs(self):
        rows = [{"seed": 0, "upright": 1.0, "before": 0.5}] * 3 + [
            {"seed": 1, "upright": 0.5, "before": 0.25}
        ]
        assert before(rows) == (0.75, 0.375)

    @pytest.mark.parametrize("budget", BUDGETS)
    def test_the_dots(self, shipped, budget):
        rows = at_budget(shipped.records, budget)
        chart = figures.budget_dots(rows, of_the_grid(shipped.records), before=0.2)
        check_chart(chart)
        seeds, means = chart.figure.data
        assert len(seeds.x) == len(SEEDS) * len(rows)
        assert list(means.x) == chart.table["mean accuracy"]
        assert (
            f"{budget:,} trained numbers each, {told(rows[0]['set'])} at rank {rows[0]['rank']}" in chart.alt
        )

    @pytest.mark.parametrize("chosen", SETS)
    def test_the_curves(self, shipped, chosen):
        rows = by_rank(shipped.records)
        chart = figures.rank_curves(rows, chosen=chosen)
        check_chart(chart)
        assert len(chart.figure.data) == len(SETS)
        assert chart.figure.data[-1].name == told(chosen)
        assert len({trace.marker.symbol for trace in chart.figure.data}) == len(SETS)
        assert chart.alt.startswith(f"{told(chosen)}: ")
        own = [row["mean"] for row in rows if row["set"] == chosen]
        best = RANKS[own.index(max(own))]
        assert (f"and most, {percent(max(own))}, at rank {best};" in chart.alt) == (best != 16)


# ---- shared directions -------------------------------------------------------------------------------------------


class TestSharing:
    @pytest.mark.parametrize("factor", FACTORS)
    @pytest.mark.parametrize("other", OTHERS)
    def test_the_grid_by_lapack_and_loops(self, shipped, factor, other):
        """[subspace-phi]  Directions by LAPACK, squares summed in loops."""
        scene = phi_scene(shipped, "v", factor, 4, other=other, other_rank=8)
        first = getattr(shipped.factors["v", 4, 1], factor).astype(float)
        if other == "random":
            rng = np.random.default_rng(0)
            drawn = {"B": rng.standard_normal((64, 4)), "A": rng.standard_normal((4, 64))}
            second = drawn[factor]
        else:
            place = ("v", 8, 1) if other == "another rank" else ("v", 4, 2)
            second = getattr(shipped.factors[place], factor).astype(float)
        bases = [np.linalg.svd(M if factor == "A" else M.T)[2] for M in (first, second)]
        for (i, j), got in np.ndenumerate(scene.phi):
            want = naive.phi(bases[0][: i + 1].tolist(), bases[1][: j + 1].tolist())
            assert abs(got - want) < 1e-10
        assert scene.phi.shape == (4, 8 if other == "another rank" else 4)

    def test_a_factor_shares_everything_with_itself(self, shipped):
        scene = phi_scene(shipped, "q", "A", 8, other="another rank", other_rank=8)
        np.testing.assert_allclose(np.diag(scene.phi), 1.0, atol=1e-12)

    def test_chance_is_what_random_subspaces_share_on_average(self):
        """[subspace-random]  400 pairs of Gaussian bases, orthonormalized by LAPACK: within five standard errors."""
        rng, n = np.random.default_rng(3), 64
        for i, j in ((1, 1), (2, 8), (16, 16)):
            shared = []
            for _ in range(400):
                first, second = (np.linalg.qr(rng.normal(size=(n, r)))[0] for r in (i, j))
                shared.append(np.sum((first.T @ second) ** 2) / min(i, j))
            error = np.std(shared) / math.sqrt(len(shared))
            assert abs(np.mean(shared) - max(i, j) / n) < 5 * error
        scene = phi_scene(read(), "q", "B", 16, other="random", other_rank=1)
        assert scene.chance[15, 15] == 0.25
        assert scene.chance[1, 7] == 8 / 64
        assert abs(float(scene.excess[-1, -1])) < 0.1

    @pytest.mark.parametrize("beyond_chance", [False, True])
    @pytest.mark.parametrize(("rank", "other_rank"), [(1, 1), (1, 16), (16, 16)])
    def test_the_heatmap(self, shipped, beyond_chance, rank, other_rank):
        scene = phi_scene(shipped, "q", "A", rank, other="another rank", other_rank=other_rank)
        chart = figures.phi_heatmap(scene, beyond_chance=beyond_chance)
        check_chart(chart)
        shown = np.array(chart.figure.data[0].z)
        want = scene.phi - scene.chance if beyond_chance else scene.phi
        assert (shown == want).all()
        assert f"φ(1, 1) = {scene.phi[0, 0]:.2f}" in chart.alt
        assert max(shown.shape) <= 16

    def test_says_what_is_no_choice(self, shipped):
        with pytest.raises(ConfigError, match="other"):
            phi_scene(shipped, "q", "A", 2, other="nobody", other_rank=2)
        with pytest.raises(ConfigError, match="factor"):
            phi_scene(shipped, "q", "C", 2, other="random", other_rank=2)


# ---- amplification -----------------------------------------------------------------------------------------------


class TestStrength:
    @pytest.mark.parametrize("matrix", ["q", "v"])
    def test_by_lapack(self, shipped, matrix):
        """[subspace-amplification]  ‖Uᵀ W₀ V‖ with U and V from LAPACK; W₀'s own by the engine's other function."""
        W0 = shipped.network.layers[matrix].W.astype(float)
        for row in strengths(shipped, matrix):
            B, A = (M.astype(float) for M in shipped.factors[matrix, row.rank, 1])
            delta_W = 2.0 * B @ A
            U, sigma, Vt = np.linalg.svd(delta_W)
            assert row.delta == pytest.approx(np.sqrt(np.sum(sigma**2)), rel=1e-12)
            inside = np.linalg.norm(U[:, : row.rank].T @ W0 @ Vt[: row.rank].T)
            assert row.inside == pytest.approx(inside, rel=1e-9)
            own = amplification_own(W0, delta_W, row.rank).projected_norm
            assert row.own == pytest.approx(own, rel=1e-12)
            assert row.factor == pytest.approx(row.delta / inside, rel=1e-9)
        assert [row.rank for row in strengths(shipped, matrix)] == list(RANKS)

    def test_random_is_the_root_mean_square_over_random_directions(self, shipped):
        """[subspace-random]  300 pairs of bases by LAPACK, within five standard errors."""
        W0, rng, r = shipped.network.layers["q"].W.astype(float), np.random.default_rng(4), 8
        squares = []
        for _ in range(300):
            U, V = (np.linalg.qr(rng.normal(size=(64, r)))[0] for _ in range(2))
            squares.append(np.sum((U.T @ W0 @ V) ** 2))
        row = next(row for row in strengths(shipped, "q") if row.rank == r)
        assert abs(np.mean(squares) - row.random**2) < 5 * np.std(squares) / math.sqrt(300)

    def test_the_increment_by_hand(self):
        """[lora-delta]  2 · [1 2]ᵀ [3 4]."""
        from lora_np.lora import LoraParams

        p = LoraParams(np.array([[1], [2]], np.float32), np.array([[3, 4]], np.float32))
        assert increment(p).tolist() == [[6.0, 8.0], [12.0, 16.0]]

    @pytest.mark.parametrize("rank", RANKS)
    def test_the_bars(self, shipped, rank):
        rows = strengths(shipped, "v")
        chart = figures.strength_bars(rows, matrix="v", rank=rank)
        check_chart(chart)
        row = rows[RANKS.index(rank)]
        assert f"W_v at rank {rank}: the increment has strength {row.delta:.1f}" in chart.alt
        assert f"amplified {row.factor:.1f} times." in chart.alt
        assert chart.table["amplification"] == [row.factor for row in rows]

    def test_a_weight_that_has_nothing_there_is_amplified_without_end(self):
        assert Strength(1, 2.0, 0.0, 1.0, 0.1).factor == math.inf


# ---- again, and in words -----------------------------------------------------------------------------------------


def test_the_small_grid_runs_again_in_small_steps_and_is_held_against_what_ships(shipped):
    shares, steps = [], rerun(shipped, steps=2)
    while True:
        try:
            share, said = next(steps)
        except StopIteration as ended:
            rows = ended.value
            break
        shares.append(share)
        assert said.startswith("Run ")
    assert shares == sorted(shares)
    assert len(shares) == 18
    assert shares[-1] == 1.0
    columns, same = same_again(rows, shipped.records)
    assert [len(column) for column in columns.values()] == [9] * 4
    live = [
        row["accuracy"]
        for name in matrices.LIVE_SETS
        for rank in matrices.LIVE_RANKS
        for row in shipped.records
        if (row["set"], row["rank"], row["steps"]) == (name, rank, matrices.LIVE_STEPS)
    ]
    assert columns["accuracy as shipped"] == live
    assert same == sum(row["accuracy here"] == want for row, want in zip(rows, live, strict=True))


def grid(means, budget=1024):
    """Records of two seeds, half a point to both sides of these means, for sets at a rank that trains the budget."""
    rank = {name: budget // sum(SIZES[letter] for letter in name) for name in means}
    return [
        {"set": name, "rank": rank[name], "trained": budget, "seed": seed, "draw": 1, "steps": matrices.ADAPTING[0],
         "accuracy": mean + 0.005 * (2 * seed - 1)}
        for name, mean in means.items() for seed in (0, 1)
    ]  # fmt: skip


PAPER_LIKE = {"q": 0.5, "k": 0.4, "v": 0.7, "o": 0.75, "qk": 0.6, "qv": 0.8, "qkvo": 0.8, "qkvo12": 0.9}


class TestWords:
    def test_agree_with_the_paper_where_the_runs_do_and_contradict_it_where_they_do_not(self):
        """[count-lora]  The same order as table 5 has rank correlation 1, its reverse −1."""
        said = words.on_matrices(grid(PAPER_LIKE), 1024)
        assert said.startswith(
            "With 1,024 trained numbers, **all six** at rank 1 comes first with 90 %, 10.0 points"
        )
        assert "ahead of q + v (ahead in 2 of 2 seeds)" in said
        assert "k comes last with 40 % (behind the first in 2 of 2 seeds)" in said
        assert "q + v is number 2 of 8" in said
        assert "the same tendency: rank correlation 1.00" in said
        reverse = {name: 1 - mean for name, mean in PAPER_LIKE.items()}
        assert "the reverse: rank correlation -1.00" in words.on_matrices(grid(reverse), 1024)
        assert [words.better_of(grid(reverse), 1024, *pair) for pair in ("qv", "vq")] == ["q", "q"]
        assert words.better_of(grid(PAPER_LIKE), 1024, "q", "v") == "v"
        assert words.better_of(grid({"q": 0.5, "v": 0.505}), 1024, "q", "v") == ""
        assert words.means_of(grid({"q": 0.5, "v": 0.75}), 1024) == "v 75 %, q 50 %"

    @pytest.mark.parametrize(
        ("means", "enough", "said"),
        [
            ((0.5, 0.6, 0.7, 0.8, 0.9), 16, "brings 10.0 points"),
            ((0.5, 0.895, 0.9, 0.9, 0.9), 2, "changes little"),
            ((0.5, 0.6, 0.9, 0.8, 0.7), 4, "costs 10.0 points"),
        ],
    )
    def test_of_ranks(self, means, enough, said):
        records = [
            {"set": "q", "rank": rank, "trained": 128 * rank, "seed": 0, "draw": 1,
             "steps": matrices.ADAPTING[0], "accuracy": mean}
            for rank, mean in zip(RANKS, means, strict=True)
        ]  # fmt: skip
        assert words.on_ranks(records, "q").startswith(f"q: rank {enough} is within a point of the best mean")
        assert f"rank 8 to 16 {said}" in words.on_ranks(records, "q")

    @pytest.mark.parametrize(
        ("phi", "said"),
        [(0.9, "far more than"), (0.4, "more than"), (0.25, "about what"), (0.15, "less than")],
    )
    def test_of_sharing(self, phi, said):
        scene = PhiScene(("A", "B"), np.full((2, 2), phi), np.full((2, 2), 0.25), 8)
        assert f"{phi:.2f}, {said} chance gives (0.25)" in words.on_sharing(scene)

    @pytest.mark.parametrize(
        ("inside", "said"),
        [
            (9.0, "follows W₀'s strongest"),
            (3.0, "has but does not stress"),
            (1.0, "no more to W₀ than random"),
        ],
    )
    def test_of_strength(self, inside, said):
        row = Strength(4, 6.0, inside, 10.0, 1.0)
        assert said in words.on_strength(row, matrix="q")
        assert f"{6 / inside:.1f} times as strong there" in words.on_strength(row, matrix="q")

    def test_names_of_sets(self):
        assert [told(name) for name in SETS] == [
            "q", "k", "v", "o", "q + k", "q + v", "q + k + v + o", "all six",
        ]  # fmt: skip
