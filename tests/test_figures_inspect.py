"""The inspector's scene and pictures, from the shipped adapters: all numbers again by LAPACK on formed products."""

import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from lora_np.adapters.inspection import thin_svd
from lora_np.adapters.report import likeness, module_report
from lora_np.datasets.adapters import ADAPTERS, BASE, FOLDER, example_adapter
from lora_np.errors import ConfigError, ShapeError
from lora_np.figures.inspect import ENERGIES, NAMED, modules_table, ranks, spectra
from lora_np.figures.inspect_beside import likenesses, merge_losses
from lora_np.figures.inspect_scene import in_short, inspect_steps, inspected, short_names, summary
from lora_np.files import AdapterFile, adapter_from_bytes, make_adapter, read_adapter, read_base
from lora_np.lora import LoraParams
from tests.chart_checks import check_chart

PREFIX = "base_model.model."


def formed(name):
    """{module: s B A} of an example, read by safetensors itself and multiplied out."""
    tensors = load_file(example_adapter(name) / "adapter_model.safetensors")
    modules = [key[len(PREFIX) : -len(".lora_A.weight")] for key in tensors if key.endswith("lora_A.weight")]
    return {
        module: 16 / 8
        * tensors[f"{PREFIX}{module}.lora_B.weight"].astype(float)
        @ tensors[f"{PREFIX}{module}.lora_A.weight"].astype(float)
        for module in modules
    }  # fmt: skip


def looked(name, other=None, base=True):
    adapter = read_adapter(example_adapter(name))
    return inspected(
        adapter,
        base=read_base(BASE, adapter.modules) if base else None,
        other=None if other is None else read_adapter(example_adapter(other)),
    )


@pytest.fixture(scope="module")
def scene():
    return looked("turned", "turned-again")


def small(rng, names, d=6, k=5, r=3, scale=1.0):
    """An adapter with random factors, by module name."""
    params = {
        name: LoraParams(scale * rng.standard_normal((d, r)), rng.standard_normal((r, k))) for name in names
    }
    return make_adapter(params, alpha=r)


# ---- the shipped files ---------------------------------------------------------------------------------------


def test_the_shipped_files_are_whole_small_and_name_no_machine():
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == set(ADAPTERS)
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 600_000
    for path in files:
        content = path.read_bytes()
        assert b"/home" not in content
        assert b"/work" not in content
        assert b"/tmp" not in content
    for name in ADAPTERS:
        assert f"`{name}`" in (FOLDER / "README.md").read_text()
        assert read_adapter(example_adapter(name)).config.base_model_name == "a-small-vit-of-8x8-digits"
    with pytest.raises(ConfigError, match="'turned'"):
        example_adapter("turnd")


# ---- numbers -------------------------------------------------------------------------------------------------


def test_every_module_against_lapack(scene):
    """[increment-thin] [increment-relative] [increment-cut]: nothing of the factors' road is used."""
    base = load_file(BASE)
    whole = formed("turned")
    assert scene.names == list(read_adapter(example_adapter("turned")).modules)
    assert set(scene.names) == set(whole)
    for report in scene.reports:
        M = whole[report.name]
        sigma = np.linalg.svd(M, compute_uv=False)[:8]
        assert np.allclose(report.spectrum.sigma, sigma, rtol=0, atol=1e-13 * sigma[0])
        assert math.isclose(report.norm, np.linalg.norm(M), rel_tol=1e-13)
        assert math.isclose(
            report.relative_norm,
            np.linalg.norm(M) / np.linalg.norm(base[f"{report.name}.weight"].astype(float)),
            rel_tol=1e-13,
        )
        p = sigma / sigma.sum()
        assert math.isclose(report.spectrum.effective_rank, math.exp(-(p * np.log(p)).sum()), rel_tol=1e-12)
        assert math.isclose(report.spectrum.stable_rank, (sigma**2).sum() / sigma[0] ** 2, rel_tol=1e-12)
        for energy in ENERGIES:
            kept = int(np.searchsorted(np.cumsum(sigma**2) / (sigma**2).sum(), energy) + 1)
            assert report.kept(energy) == kept
            assert report.saved(energy) == (8 - kept) * sum(M.shape)
        assert (report.rank, report.alpha, report.scale) == (8, 16.0, 2.0)


def test_every_likeness_against_the_formed_increments(scene):
    """[increment-cosine] [subspace-phi]"""
    one, two = formed("turned"), formed("turned-again")
    for report in scene.reports:
        x, y = one[report.name], two[report.name]
        want = (x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y)
        assert abs(report.likeness.cosine - want) < 1e-13
        (U1, _, V1), (U2, _, V2) = np.linalg.svd(x), np.linalg.svd(y)
        for i in (1, 3, 8):
            outputs = ((U1[:, :i].T @ U2[:, :i]) ** 2).sum() / i
            inputs = ((V1[:i] @ V2[:i].T) ** 2).sum() / i
            assert math.isclose(report.likeness.outputs[i - 1], outputs, rel_tol=1e-9)
            assert math.isclose(report.likeness.inputs[i - 1], inputs, rel_tol=1e-9)


def test_every_merge_in_half_precision_by_numpys_own_halves(scene):
    """[increment-rounded] [increment-unchanged]"""
    base, whole = load_file(BASE), formed("turned")
    for report in scene.reports:
        W, M = base[f"{report.name}.weight"].astype(np.float16).astype(float), whole[report.name]
        merged = (W + M).astype(np.float16).astype(float)
        loss = report.merges["float16"]
        assert (loss.changing, loss.unchanged) == (M.size, int((merged == W).sum()))
        assert math.isclose(loss.lost, np.linalg.norm(merged - W - M) / np.linalg.norm(M), rel_tol=1e-9)


@pytest.mark.interop
def test_every_merge_in_bfloat16_by_torch(scene):
    """[increment-rounded] [increment-unchanged]"""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    base, whole = load_file(BASE), formed("turned")
    for report in scene.reports:
        W = torch.from_numpy(base[f"{report.name}.weight"]).bfloat16()
        M = torch.from_numpy(whole[report.name])
        merged = (W.double() + M).bfloat16()
        loss = report.merges["bfloat16"]
        assert loss.unchanged == int((merged == W).sum())
        error = merged.double() - W.double() - M
        assert math.isclose(loss.largest_error, float(error.abs().max()), rel_tol=1e-9)


def test_the_summary_adds_up(scene):
    """[increment-cut] [increment-unchanged]"""
    found = summary(scene, 0.95)
    kept = [report.kept(0.95) for report in scene.reports]
    assert (found.modules, found.ranks, found.kept_ranks) == (16, 128, sum(kept))
    assert found.half == sum(k <= 4 for k in kept)
    assert found.numbers == 15_360
    assert found.saved_bytes == 4 * found.saved_numbers
    assert found.saved_numbers == sum(
        (8 - k) * sum(r.shape) for k, r in zip(kept, scene.reports, strict=True)
    )
    merges = [report.merges["bfloat16"] for report in scene.reports]
    assert found.unchanged["bfloat16"] == sum(m.unchanged for m in merges) / sum(m.changing for m in merges)
    assert found.cosine == np.median([report.likeness.cosine for report in scene.reports])
    assert found.relative_norm == np.median([report.relative_norm for report in scene.reports])
    for words in (f"{found.half} of 16 modules", "95 %", "61.4 kB", "bfloat16", f"{found.cosine:.2f}"):
        assert words in in_short(scene, 0.95)


def test_the_prediction_and_the_lesson_hold(scene):
    """What the room says in words: 3 or 4 directions, one task alike, another not, gentle adapters lose more."""
    assert summary(scene, 0.95).kept_ranks == 52
    assert sum(report.kept(0.95) in (3, 4) for report in scene.reports) >= 12
    another = summary(looked("turned", "inverted"), 0.95)
    assert summary(scene, 0.95).cosine > 0.2 > 0.05 > abs(another.cosine)
    gentle = summary(looked("tilted"), 0.95)
    assert gentle.relative_norm < 0.3 * another.relative_norm
    assert gentle.unchanged["bfloat16"] > 3 * another.unchanged["bfloat16"]


# ---- scenes at the edges -------------------------------------------------------------------------------------


def test_without_a_base_and_without_another_adapter():
    scene = looked("turned", base=False)
    found = summary(scene, 0.9)
    assert (found.relative_norm, dict(found.unchanged), found.alike, found.cosine) == (None, {}, 0, None)
    assert "bfloat16" not in in_short(scene, 0.9)
    assert set(modules_table(scene, energy=0.9)["norm / base norm"]) == {None}
    for chart in (spectra(scene, "?", energy=0.9), ranks(scene, energy=0.9)):
        check_chart(chart)


def test_the_way_is_told_module_by_module(rng):
    steps = inspect_steps(small(rng, "abcd"))
    assert [next(steps) for _ in range(4)] == [(0.0, "a"), (0.25, "b"), (0.5, "c"), (0.75, "d")]
    with pytest.raises(StopIteration) as ended:
        next(steps)
    assert ended.value.value.names == list("abcd")


def test_an_untrained_adapter_is_shown_as_zero(rng):
    """PEFT's start, B = 0: no spectrum, no likeness, nothing to lose, and sentences that say so."""
    fresh = small(rng, "ab", scale=0.0)
    scene = inspected(fresh, base={name: np.ones((6, 5)) for name in "ab"}, other=small(rng, "ab"))
    found = summary(scene, 0.95)
    assert (found.kept_ranks, found.saved_share, found.unchanged["float16"], found.alike) == (0, 1.0, 0.0, 0)
    assert "is zero" in spectra(scene, "a", energy=0.95).alt
    assert likenesses(scene, directions=1).alt.startswith("0 modules can be compared")
    for chart in (ranks(scene, energy=0.95), merge_losses(scene)):
        check_chart(chart)
    zero = thin_svd(fresh.modules["a"].lora)
    assert likeness(zero, zero) is None


def test_adapters_that_share_some_modules(rng):
    scene = inspected(small(rng, "abc"), other=small(rng, "bcd", r=2))
    assert [report.likeness is not None for report in scene.reports] == [False, True, True]
    assert [len(report.likeness.inputs) for report in scene.reports[1:]] == [2, 2]
    assert "2 of its 3 modules are in the other adapter too." in scene.remarks
    chart = likenesses(scene, directions=3)
    check_chart(chart)
    assert chart.table["directions"] == [2, 2]
    with pytest.raises(ShapeError, match="one base model"):
        inspected(small(rng, "a"), other=small(rng, "a", k=4))
    with pytest.raises(ConfigError, match="no modules"):
        inspected(AdapterFile(None, {}))


def test_what_the_file_leaves_open_is_remarked(rng):
    tensors = (example_adapter("turned") / "adapter_model.safetensors").read_bytes()
    scene = inspected(adapter_from_bytes(tensors))
    assert "unknown and taken as 1" in scene.remarks[0]
    assert scene.reports[0].alpha is None
    assert scene.reports[0].scale == 1.0


def test_what_other_parts_do_is_left_out_and_said(rng):
    """DoRA's magnitudes, biases of B, modules saved whole: no merge is judged where it would be another one."""
    made = small(rng, "ab")
    modules = {
        "a": replace(made.modules["a"], magnitude=np.ones(6)),
        "b": replace(made.modules["b"], bias=np.ones(6)),
    }
    scene = inspected(
        AdapterFile(made.config, modules, extra={"head.weight": np.ones(2)}),
        base={name: np.ones((6, 5)) for name in "ab"},
    )
    assert [bool(report.merges) for report in scene.reports] == [False, True]
    for words, remark in zip(("DoRA", "biases", "left out: 1"), scene.remarks, strict=True):
        assert words in remark
    chart = merge_losses(scene)
    check_chart(chart)
    assert chart.table["module"] == ["b"]


def test_an_overflow_is_said_and_no_infinity_is_drawn(rng):
    scene = inspected(small(rng, "a"), base={"a": np.full((6, 5), 1e6)})
    chart = merge_losses(scene)
    check_chart(chart)
    assert "30 entries do not fit" in chart.alt
    assert chart.table["float16: lost share of the norm"] == [None]
    assert chart.table["bfloat16: entries beyond range"] == [0]


def test_many_modules_are_numbered(rng):
    names = [f"layers.{i}.{part}" for i in range(40) for part in ("q", "v")]
    scene = inspected(small(rng, names))
    axis = ranks(scene, energy=0.95).figure.layout.xaxis
    assert len(names) > NAMED
    assert axis.ticktext is None
    assert "numbered" in axis.title.text
    check_chart(spectra(scene, names[3], energy=0.95))


def test_short_names_stay_apart():
    assert short_names(["m.h.0.attn", "m.h.1.attn"]) == ["0 attn", "1 attn"]
    assert short_names(["m.enc.0.q", "m.dec.0.q"]) == ["enc.0.q", "dec.0.q"]
    assert short_names(["q"]) == ["q"]
    assert short_names(["a.q", "b.q"]) == ["a.q", "b.q"]


# ---- pictures ------------------------------------------------------------------------------------------------


def test_all_pictures(scene):
    for energy in (0.5, 0.95, 0.99, 1.0):
        check_chart(spectra(scene, scene.names[-1], energy=energy))
        check_chart(ranks(scene, energy=energy))
    check_chart(merge_losses(scene))
    for directions in (1, 8, 64):
        check_chart(likenesses(scene, directions=directions))


def test_the_spectrum_is_split_at_the_rank_that_is_needed(scene):
    name = scene.names[5]
    kept = scene.module(name).kept(0.95)
    chart = spectra(scene, name, energy=0.95)
    traces = {trace.name: trace for trace in chart.figure.data}
    assert [len(traces["needed"].x), len(traces["could go"].x)] == [kept, 8 - kept]
    assert f"{kept} of 8 directions hold 95 %" in chart.alt
    assert len(chart.table["i"]) == 128


def test_the_bars_are_what_the_table_says(scene):
    chart = ranks(scene, energy=0.8)
    stored, needed, *_ = chart.figure.data
    assert list(stored.y) == chart.table["r"] == [8] * 16
    assert list(needed.y) == chart.table["rank for 80 %"]
    assert all(
        a <= b for a, b in zip(chart.table["rank for 80 %"], chart.table["rank for 99 %"], strict=True)
    )


def test_the_likeness_sentence_counts_what_is_far_from_chance(scene):
    chart = likenesses(scene, directions=1)
    table = chart.table
    above = sum(
        table[f"φ of {side}"][row] > 2 * table[f"φ of {side} by chance"][row]
        for side in ("outputs", "inputs")
        for row in range(16)
    )
    assert f"of 32 spaces of the top direction, {above} overlap" in chart.alt
    assert table["φ of inputs by chance"][2] == 1 / 48
    assert math.isclose(table["cosine by chance"][2], 1 / math.sqrt(48 * 96))


def test_a_report_without_anything_beside_it(rng):
    report = module_report("q", small(rng, "q").modules["q"].lora)
    assert (report.base_norm, report.relative_norm, dict(report.merges), report.likeness) == (
        None,
        None,
        {},
        None,
    )
    assert report.numbers == 3 * 11
