"""The room on merging: roundings by fractions and NumPy's half type, combinations by LAPACK, batches by loops."""

import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from itertools import chain

import numpy as np
import pytest

from lora_np.adapters import combine_svd
from lora_np.adapters.several import swap_merged
from lora_np.conformance.exact.rounding import nearest
from lora_np.errors import ConfigError, DatasetError
from lora_np.figures import combine as combine_figures
from lora_np.figures import combine_scene as combining
from lora_np.figures import merge as figures
from lora_np.figures import merge_scene as scenes
from lora_np.figures import mixed as mixed_figures
from lora_np.figures import mixed_scene as mixing
from lora_np.lora import LoraParams
from lora_np.merging import merge, unmerge
from lora_np.training import saving
from lora_np.training.experiments import task_adapters as shipped
from lora_np.training.experiments.base import pretrain
from lora_np.training.loop import Settings, evaluate
from tests.chart_checks import check_chart

TASK = "rotated-45"


@pytest.fixture(scope="module")
def library():
    return scenes.library()


@pytest.fixture(scope="module")
def rows():
    return scenes.merge_scene(TASK)


def plain_logits(X, layers, strips, scale):
    """A forward pass written out, with the increment formed; `strips` may be None."""
    for at, (W, b) in enumerate(layers):
        V = W if strips is None else W + scale * strips[at].B @ strips[at].A
        X = X @ V.T + b
        if at < len(layers) - 1:
            X = np.maximum(X, 0)
    return X


class TestWhatShips:
    def test_it_is_the_pretrained_network_of_the_other_rooms(self, library):
        """Both files ship, so this holds on every machine, to the bit."""
        state, _ = saving.load(shipped.PATH.parents[2] / "figures" / "prune_run.safetensors")
        for ours, theirs in zip(library.base.layers, state.network.layers, strict=True):
            assert (ours.W == theirs.W).all()
            assert (ours.b == theirs.b).all()

    def test_each_adapter_learnt_its_task_and_no_other(self):
        matrix = scenes.swap_matrix()
        own = np.diagonal(matrix)
        assert own.min() > 0.85
        assert (matrix - np.diag(own)).max() < 0.75
        assert (matrix.argmax(axis=0) == range(5)).all()

    def test_it_is_small_and_of_double_precision(self, library):
        assert shipped.PATH.stat().st_size <= 300_000
        assert library.base.layers[0].W.dtype == np.float64
        assert {p.A.shape[0] for layers in library.adapters.values() for p in layers} == {4}

    def test_the_same_training_writes_the_same_bytes(self, tmp_path):
        """Shortened: two steps for each adapter."""
        brief = Settings("lora", 2, 1e-2, weight_decay=1.0, report_every=2)
        sums = set()
        for name in ("one", "two"):
            shipped.write_task_adapters(shipped.train_task_adapters(training=brief), tmp_path / name)
            sums.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
        assert len(sums) == 1

    def test_the_code_still_trains_them(self, library):
        """One of them again; another BLAS rounds otherwise, so a few of 359 digits may fall on the other side."""
        task = shipped.task_of("renamed")
        rng = np.random.default_rng([shipped.SEED, 5, shipped.SHIFTED.index("renamed")])
        start = shipped.adapted_start(pretrain(shipped.SEED).network, shipped.RANK, rng)
        again = shipped.last(shipped.start(start, task, shipped.TRAINING, rng), task, shipped.TRAINING)
        want = evaluate(library.network("renamed"), task)[1]
        assert again.accuracy == pytest.approx(want, abs=0.03)

    def test_what_is_written_comes_back(self, library, tmp_path):
        shipped.write_task_adapters(library, tmp_path / "file")
        again = shipped.shipped_task_adapters(tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == shipped.PATH.read_bytes()
        assert again.scale == library.scale
        assert list(again.adapters) == list(library.adapters)

    @pytest.mark.parametrize("content", [None, b"", b"{}", b"\x10\0\0\0\0\0\0\0" + b"{" * 16])
    def test_a_broken_file_says_how_to_make_it_again(self, tmp_path, content):
        if content is not None:
            (tmp_path / "file").write_bytes(content)
        with pytest.raises(DatasetError, match="task_adapters"):
            shipped.shipped_task_adapters(tmp_path / "file")

    def test_a_file_of_something_else_is_refused(self, tmp_path):
        from safetensors.numpy import save_file

        for about in (None, {"about": "[]"}, {"about": json.dumps({"tasks": ["x"], "scale": 1})}):
            save_file({"base.0.W": np.ones((2, 2))}, tmp_path / "file", metadata=about)
            with pytest.raises(DatasetError, match="holds no task adapters"):
                shipped.shipped_task_adapters(tmp_path / "file")

    def test_an_unknown_task_is_refused(self, library):
        with pytest.raises(ConfigError, match="rotated-45"):
            library.network("sideways")


class TestNumberTypes:
    """[lora-merge] and [lora-unmerge] with every result rounded."""

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_one_entry_by_fractions(self, dtype):
        """Rank 1, so that no sum is rounded within the product: three roundings, each of an exact number."""
        rng = np.random.default_rng(3)
        for w, b, a in rng.normal(size=(200, 3)):
            w, b, a = (nearest(Fraction(x), dtype) for x in (w, b, a))
            product = nearest(Fraction(b) * Fraction(a), dtype)
            delta = nearest(Fraction(3, 4) * Fraction(product), dtype)
            want = nearest(Fraction(w) + Fraction(delta), dtype)
            p = LoraParams(np.array([[b]], dtype=np.float32), np.array([[a]], dtype=np.float32))
            W = np.array([[w]], dtype=np.float32)
            got = scenes.merge_stored(W, p, scale=0.75, dtype=dtype)
            assert float(got[0, 0]) == want
            back = scenes.merge_stored(got, p, scale=0.75, dtype=dtype, sign=-1)
            assert float(back[0, 0]) == nearest(Fraction(want) - Fraction(delta), dtype)

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_types_that_numpy_computes_in_are_the_engine_to_the_bit(self, library, dtype):
        (W, _), p = library.base.layers[0], library.adapters[TASK][0]
        W, p = W.astype(dtype), LoraParams(*(factor.astype(dtype) for factor in p))
        merged = scenes.merge_stored(W, p, scale=2.0, dtype=dtype)
        assert (merged == merge(W, p, scale=2.0)).all()
        back = scenes.merge_stored(merged, p, scale=2.0, dtype=dtype, sign=-1)
        assert (back == unmerge(merged, p, scale=2.0)).all()

    def test_half_precision_is_numpys_own(self, library):
        """np.float16 arithmetic; its products of rank 4 may be summed in another order, hence half a step at times."""
        (W, _), p = library.base.layers[0], library.adapters[TASK][0]
        half, factors = W.astype(np.float16), LoraParams(*(factor.astype(np.float16) for factor in p))
        want = half + np.float16(2) * (factors.B @ factors.A)
        net = scenes.stored_network(library.network(TASK), "float16")
        merged, back = scenes.merged_and_back(net, "float16")
        assert merged[0].dtype == np.float32  # the carrier
        assert np.mean(merged[0] == want) > 0.999
        assert np.abs(merged[0] - want).max() <= 2.0**-10 * np.abs(want).max()
        returned = want - np.float16(2) * (factors.B @ factors.A)
        assert np.mean((back[0] != half) == (returned != half)) > 0.999

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_everything_stored_fits_the_type(self, library, dtype):
        net = scenes.stored_network(library.network(TASK), dtype)
        X = scenes.tasks()[TASK].X_test[:5]
        arrays = [W for layer in net.layers for W in layer] + [F for p in net.adapters for F in p]
        arrays += [scenes.logits_stored(X, net, dtype=dtype), *chain(*scenes.merged_and_back(net, dtype))]
        for array in arrays:
            sample = array.ravel()[:: max(1, array.size // 40)]
            assert all(nearest(Fraction(float(x)), dtype) == float(x) for x in sample)

    def test_float64_logits_are_those_of_a_plain_forward_pass(self, library):
        X = scenes.tasks()[TASK].X_test
        got = scenes.logits_stored(X, library.network(TASK), dtype="float64")
        want = plain_logits(X, library.base.layers, library.adapters[TASK], library.scale)
        assert np.abs(got - want).max() <= 1e-12 * np.abs(want).max()


class TestMergingAndBack:
    def test_errors_grow_as_the_units_do(self, rows):
        """About one rounding of the largest score in every type: none far from the next type's share of u."""
        assert [row.dtype for row in rows] == list(scenes.UNITS)
        for row in rows:
            one_rounding = scenes.UNITS[row.dtype] * row.output_size
            assert 0.1 * one_rounding < row.output_error < 100 * one_rounding

    def test_unmerging_does_not_restore_the_bits_in_any_type(self, rows, library):
        """[lora-unmerge] counted again for float64, with operators alone."""
        for row in rows:
            assert 0.05 < row.off < 0.5
            assert row.untouched + row.returned + row.off == pytest.approx(1)
        off = total = 0
        for (W, _), p in zip(library.base.layers, library.adapters[TASK], strict=True):
            delta = library.scale * (p.B @ p.A)
            off += int(np.sum((W + delta) - delta != W))
            total += W.size
        assert rows[0].off == off / total

    def test_a_weight_that_remembers_comes_back(self):
        assert scenes.remembered(TASK)
        assert scenes.remembered(TASK, strength=0.01)

    def test_a_weak_increment_vanishes_in_bfloat16(self):
        """In float64 only units that never fire, whose increment is 0, are left as they were."""
        weak = scenes.merge_scene(TASK, strength=0.01)
        deltas = np.concatenate([(p.B @ p.A).ravel() for p in scenes.library().adapters[TASK]])
        assert weak[0].untouched == np.mean(deltas == 0) < 0.1
        assert weak[-1].untouched > 0.4

    def test_bad_arguments_are_named(self):
        for wrong in ({"adapter": "none"}, {"adapter": TASK, "strength": float("nan")}):
            with pytest.raises(ConfigError):
                scenes.merge_scene(**wrong)
        with pytest.raises(ConfigError):
            scenes.stored(np.ones(1), "float8")

    def test_pictures(self, rows):
        chart = figures.output_errors(rows)
        check_chart(chart)
        assert f"{rows[-1].output_error:.2g} in bfloat16" in chart.alt
        quiet = figures.output_errors([replace(row, answers_changed=0) for row in rows])
        assert quiet.alt.endswith("it changes the answer for none.")
        back = figures.unmerged_shares(rows)
        check_chart(back)
        assert "0.0039, in bfloat16" in back.alt
        whole = figures.unmerged_shares([replace(row, off=0.0, weight_error=0.0) for row in rows])
        check_chart(whole)
        assert "all weights come back bit for bit" in whole.alt


class TestSwapping:
    def test_accuracies_by_a_plain_forward_pass(self, library):
        matrix = scenes.swap_matrix()
        models = [None, *library.adapters.values()]
        for i, strips in enumerate(models):
            for j, task in enumerate(scenes.tasks().values()):
                logits = plain_logits(task.X_test, library.base.layers, strips, library.scale)
                assert matrix[i, j] == np.mean(logits.argmax(axis=1) == task.y_test)

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_drift_is_that_of_the_engine(self, library, dtype):
        """[adapters-swap] by `swap_merged`, to the bit; and it grows."""
        turns = [combining.LoraAdapter(p[0], library.scale) for p in library.adapters.values()]
        turns = [turn._replace(p=LoraParams(*(F.astype(dtype) for F in turn.p))) for turn in turns]
        W0 = library.base.layers[0].W.astype(dtype)
        W, found = merge(W0, turns[0].p, scale=library.scale), []
        for n in range(1, 9):
            W = swap_merged(W, [turns[(n - 1) % 4]], [turns[n % 4]])
            found.append(float(np.abs(W - merge(W0, turns[n % 4].p, scale=library.scale)).max()))
        assert scenes.swap_drift(swaps=range(1, 9))[dtype] == found
        long = scenes.swap_drift()[dtype]
        assert long[-1] > 4 * long[0] > 0

    def test_a_swap_moves_the_strips_alone(self):
        """4 rows and columns of each layer against all its weights and biases."""
        ends = (64 + 96) + (96 + 64) + (64 + 10)
        assert scenes.numbers_to_move() == (4 * ends, 64 * 96 + 96 * 64 + 64 * 10 + 96 + 64 + 10)

    def test_pictures(self):
        matrix = scenes.swap_matrix()
        chart = figures.swap_heatmap(matrix, tasks=scenes.TASKS, models=["base alone", *scenes.SHIFTED])
        check_chart(chart)
        cells = chart.figure.data[1]  # the numbers stand in the cells
        models, written = chart.table["model"], zip(cells.x, cells.y, cells.text, strict=True)
        for task, model, text in written:
            assert abs(float(text.rstrip(" %")) - 100 * chart.table[task][models.index(model)]) <= 0.5
        assert len(cells.text) == matrix.size
        assert len(chart.figure.layout.shapes) == 5
        drift = figures.drift_lines(scenes.swap_drift(), swaps=scenes.SWAPS)
        check_chart(drift)
        assert "64" in drift.alt


WEIGHTS = (1.0, -0.5, 0.25, 0.0)


@pytest.fixture
def parts(library):
    """The weighted increments of the first layer, written out."""
    pairs = zip(WEIGHTS, library.adapters.values(), strict=True)
    return [w * library.scale * layers[0].B @ layers[0].A for w, layers in pairs]


class TestCombining:
    def test_ranks_and_errors_by_lapack(self, parts):
        """[combine-cat] adds ranks and is exact, [combine-linear] keeps the rank and is not."""
        found, least = combining.layer_study(WEIGHTS, rank=5, density=0.5, layer=0)
        total = sum(parts)
        sigma = np.linalg.svd(total, compute_uv=False)
        assert found["cat"].rank == np.linalg.matrix_rank(total) == 12
        assert found["cat"].error < 1e-14
        assert found["svd"].rank == 5
        tail = [np.sqrt(np.sum(sigma[r:] ** 2) / np.sum(sigma**2)) for r in range(len(sigma) + 1)]
        assert found["svd"].error == pytest.approx(tail[5], rel=1e-9)
        assert np.allclose(least, tail, atol=1e-12)
        assert found["linear"].rank == 4
        for name, combination in found.items():
            assert combination.error >= tail[combination.rank] - 1e-12, name

    @pytest.mark.parametrize("method", ["ties", "magnitude", "dare"])
    def test_entrywise_methods_by_loops(self, parts, method):
        """[combine-magnitude] [combine-ties] [combine-dare], entry by entry."""
        density = 0.3
        got = combining.combine(method, combining.layer_adapters(0), weights=WEIGHTS, rank=4, density=density)
        if method == "dare":
            rng = np.random.default_rng(combining.SEED)
            masks = [rng.random((96, 64)) < density for _ in parts]
            want = sum(np.where(mask, part / density, 0) for mask, part in zip(masks, parts, strict=True))
        else:
            count = int(density * 96 * 64)
            limits = [np.sort(np.abs(part).ravel())[-count] for part in parts]
            cut = [np.where(np.abs(p) >= limit, p, 0) for p, limit in zip(parts, limits, strict=True)]
            want = sum(cut)
            if method == "ties":
                sign = np.sign(want)
                voters = [(np.sign(p) == sign) & (p != 0) for p in cut]
                mass = sum(np.where(v, p, 0) for v, p in zip(voters, cut, strict=True))
                want = mass / np.maximum(sum(v.astype(int) for v in voters), 1)
        assert np.abs(got - want).max() <= 1e-12

    def test_svd_is_the_engines(self):
        adapters = combining.layer_adapters(1)
        got = combining.combine("svd", adapters, weights=WEIGHTS, rank=3, density=1.0)
        want = combine_svd(adapters, rank=3, weights=WEIGHTS).adapter.delta()
        assert np.abs(got - want).max() <= 1e-12

    def test_the_network_reads_with_the_sum(self, library):
        scene = combining.combine_scene("cat", WEIGHTS)
        strips = list(library.adapters.values())
        layers = []
        for i, (W, b) in enumerate(library.base.layers):
            for w, layer in zip(WEIGHTS, strips, strict=True):
                W = W + w * library.scale * layer[i].B @ layer[i].A
            layers.append((W, b))
        for task, got in zip(scenes.tasks().values(), scene.accuracy, strict=True):
            logits = plain_logits(task.X_test, layers, None, 1.0)
            assert got == pytest.approx(np.mean(logits.argmax(axis=1) == task.y_test), abs=1 / 359)

    def test_one_adapter_alone_is_itself_and_none_is_the_base(self):
        matrix = scenes.swap_matrix()
        for method in ("cat", "linear"):
            scene = combining.combine_scene(method, [0.0, 1.0, 0.0, 0.0])
            assert scene.accuracy == pytest.approx(list(matrix[2]), abs=1 / 359)
        nothing = combining.combine_scene("ties", [0.0] * 4)
        assert nothing.accuracy == list(matrix[0])
        assert {found.rank for found in nothing.combinations.values()} == {0}
        assert {found.error for found in nothing.combinations.values()} == {0.0}

    def test_the_last_layer_holds_no_more_than_its_outputs(self):
        found, _ = combining.layer_study([1.0] * 4, rank=16, density=0.5, layer=2)
        assert found["cat"].rank == found["svd"].rank == 10

    def test_ties_reads_more_of_both_tasks_than_the_sum(self):
        """What the lesson says of the default."""
        two = [1.0, 1.0, 0.0, 0.0]
        total, ties = (combining.combine_scene(name, two).accuracy for name in ("cat", "ties"))
        assert ties[1] > total[1]
        assert ties[2] > total[2]

    def test_an_unknown_method_is_refused(self):
        with pytest.raises(ConfigError, match="cat"):
            combining.combine_scene("average", WEIGHTS)

    @pytest.mark.parametrize("method", combining.METHODS)
    def test_pictures(self, method):
        scene = combining.combine_scene(method, WEIGHTS, layer=1)
        chart = combine_figures.rank_and_error(scene.combinations, scene.least, chosen=method)
        check_chart(chart)
        here = scene.combinations[method]
        assert f"rank {here.rank}" in chart.alt
        assert ("the exact sum." in chart.alt) == (method == "cat")
        matrix = scenes.swap_matrix()
        bars = combine_figures.accuracy_bars(
            scenes.TASKS, list(matrix[0]), list(np.diagonal(matrix)), scene.accuracy, method=method
        )
        check_chart(bars)
        assert method in bars.alt


class TestMixing:
    def test_each_row_by_a_plain_loop(self, library):
        """[adapters-mixed]: every row through a forward pass of its own, with its increment formed."""
        names = [scenes.TASKS[n % 5] for n in range(11)]
        scene = mixing.mixed_scene(scenes.TASKS, 11)
        assert scene.names == names
        X, y = mixing.drawn(names)
        logits = mixing.logits_mixed(X, [None if name == "upright" else name for name in names])
        for n, name in enumerate(names):
            strips = library.adapters.get(name)
            want = plain_logits(X[n], library.base.layers, strips, library.scale)
            assert np.abs(logits[n] - want).max() <= 1e-12 * np.abs(want).max()
            assert scene.right[n] == (want.argmax() == y[n])
            assert scene.differences[n] <= 1e-12 * np.abs(want).max()

    def test_its_own_adapters_read_what_one_alone_cannot(self):
        scene = mixing.mixed_scene(scenes.TASKS, 40)
        assert scene.accuracy > 0.8 > 0.6 > scene.one_for_all

    def test_costs_by_hand(self):
        """One 768 × 768 layer, rank 8, 3 rows of one adapter, 2 of another, 1 of none.  [cost-product]

        A multiply-add is 2 FLOPs; every adapted row also scales and adds d numbers."""
        rows = {"upright": 1, "inverted": 3, "renamed": 2}
        costs = mixing.serving_costs(rows, layers="a layer of 768 × 768")
        d, strips = 768, 8 * (768 + 768)
        product = 2 * 6 * d * d
        own = 5 * (2 * 8 * (d + d) + 2 * d)
        merging = 2 * (2 * d * 8 * d + 2 * d * d)
        assert costs["one mixed pass"] == (product + own, d * d + 2 * strips)
        assert costs["one pass per adapter"] == (product + own, 3 * d * d + 2 * strips)
        assert costs["merge each in turn"] == (product + merging, 7 * d * d + 2 * strips)

    def test_rows_of_the_base_alone_cost_what_the_base_does(self):
        costs = mixing.serving_costs({"upright": 4}, layers="a layer of 4096 × 4096")
        assert set(costs.values()) == {(2 * 4 * 4096**2, 4096**2)}

    def test_this_network_is_the_one_that_ships(self, library):
        sizes, rank = mixing.LAYERS["this network"]
        assert list(sizes) == [W.shape for W, _ in library.base.layers]
        assert rank == shipped.RANK

    def test_bad_arguments_are_named(self):
        for names, rows, layers in (
            (["sideways"], 1, "this network"),
            (["upright"], 0, "this network"),
            (["upright"], 1, "x"),
        ):
            with pytest.raises(ConfigError):
                mixing.mixed_scene(names, rows, layers=layers)

    @pytest.mark.parametrize(
        ("names", "rows"), [(["upright"], 1), (["inverted", "upright"], 2), (scenes.TASKS, 64)]
    )
    def test_pictures(self, names, rows):
        scene = mixing.mixed_scene(names, rows)
        batch = mixed_figures.batch_rows(scene)
        check_chart(batch)
        assert f"of {rows} rows right" in batch.alt
        assert ("1 task;" in batch.alt) == (rows == 1)
        costs = mixed_figures.serving_bars(scene.costs, layers="this network")
        check_chart(costs)
        assert "one mixed pass" in costs.alt
