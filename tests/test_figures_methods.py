"""The room on methods: the lines that differ, the trained numbers, the rank of an increment, and their pictures."""

import ast
import inspect

import numpy as np
import pytest

from lora_np.conformance.definitions import definition
from lora_np.figures import listing_scene as code
from lora_np.figures import methods as figures
from lora_np.figures import methods_scene as scenes
from lora_np.methods import METHODS, method
from tests.chart_checks import check_chart

RANKS = (1, 2, 4, 8)
LORAS_OWN = {"rslora", "lora-plus", "pissa", "milora", "olora"}  # their forward is LoRA's


@pytest.fixture(scope="module")
def rows():
    return scenes.methods_scene(768, 512, 4)


# ---- the lines -------------------------------------------------------------------------------------------------


def without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return tree


@pytest.mark.parametrize("name", METHODS)
def test_a_listing_is_the_function_without_its_docstring(name):
    """Compared as syntax trees; the part's own function comes first, helpers after it."""
    for part in code.PARTS:
        function = code.part_of(name, part)
        if function is None:
            assert code.listing(name, part) == []
            continue
        tree = ast.parse("\n".join(code.listing(name, part, checks=True)))
        assert all(isinstance(statement, ast.FunctionDef) for statement in tree.body)
        source = without_docstrings(ast.parse(inspect.getsource(function)))
        assert ast.dump(tree.body[0]) == ast.dump(source.body[0])


@pytest.mark.parametrize("name", METHODS)
def test_a_listing_without_checks_still_reads_as_code_and_has_no_check(name):
    for part in code.PARTS:
        text = "\n".join(code.listing(name, part))
        ast.parse(text)
        assert '"""' not in text
        lines = [line.strip() for line in text.splitlines()]
        assert not any(line.startswith(("checks.require", "require_")) for line in lines)
        before = [lines[place - 1] for place, line in enumerate(lines) if line.startswith("raise ")]
        assert all(line.startswith("except ") for line in before)


@pytest.mark.parametrize("name", METHODS)
def test_both_sides_of_a_difference_come_back(name):
    """Blank and minus lines are LoRA's listing, blank and plus lines the method's."""
    for part in code.PARTS:
        lines = code.difference(name, part)
        if code.part_of(name, part) is code.part_of("lora", part):
            assert lines == []
            continue
        old = [line[1:] for line in lines if line[:1] in (" ", "-", "")]
        new = [line[1:] for line in lines if line[:1] in (" ", "+", "")]
        assert [line for line in old if line.strip()] == [line for line in code.listing("lora", part) if line]
        assert [line for line in new if line.strip()] == [line for line in code.listing(name, part) if line]


def test_five_methods_take_forward_backward_and_merge_from_lora():
    for name in METHODS:
        shared = set(code.taken_over(name))
        assert (name in LORAS_OWN | {"lora"}) == ({"forward", "backward", "merge", "unmerge"} <= shared), name
    assert code.taken_over("oft") == []


def test_a_helper_counts_once():
    """OFT's rotation is listed in four parts, and its lines are own lines of the first of them only."""
    counts = code.own_lines("oft")
    listed = {part: sum(line.startswith("+") for line in code.difference("oft", part)) for part in code.PARTS}
    assert counts["forward"] > 20
    assert counts["merge"] < listed["merge"] - 20
    assert sum(code.own_lines("lora").values()) == 0
    assert dict(code.own_lines("lora-plus")) == dict.fromkeys(code.PARTS, 0) | {"step": 3}


def test_a_planted_line_is_seen(monkeypatch):
    def scaling(alpha: float, rank: int, *, use_rslora: bool = False) -> float:
        return 2.0 * alpha / rank

    monkeypatch.setattr(method("vera"), "scaling", scaling, raising=False)
    monkeypatch.setattr(
        code,
        "_read",
        lambda _: (["def scaling():", "    return 7"], ast.parse("def scaling():\n    return 7").body[0]),
    )
    assert code.listing("vera", "scaling") == ["def scaling():", "    return 7"]


def test_equations_of_every_method_exist_and_are_its_own():
    from lora_np.equations import EQUATIONS

    for name in METHODS:
        keys = code.equations_of(name)
        assert 1 <= len(keys) <= 5, name
        assert all(key in EQUATIONS for key in keys)
    assert code.equations_of("pissa") == ["pissa-start"]
    assert "lora-2" not in code.equations_of("lora-fa")


# ---- the numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rank", RANKS)
def test_what_is_counted_is_what_a_layer_trains(name, rank):
    """[count-lora] The closed counts against the sizes of the real tensors; a block has two of Houlsby's adapters."""
    W0 = np.random.default_rng(1).normal(size=(scenes.D, scenes.K))
    p = scenes.start(name, np.random.default_rng(0), W0, rank).p
    adapters = 2 if name == "houlsby" else 1
    counted = scenes.trained(name, d=scenes.D, k=scenes.K, rank=rank)
    assert counted == adapters * sum(tensor.size for tensor in p)


def expected_rank(name: str, r: int) -> int | None:
    """The bound that the form of the increment gives, reached almost surely."""
    d, k = scenes.D, scenes.K
    if not hasattr(method(name), "merge"):
        return None
    if name in {"additive", "symmetric", "pissa", "milora", "olora"}:
        return min(2 * r, d, k)
    if name == "loha":
        return min(r * r, d, k)
    if name == "lokr":  # 24 = 4 · 6 by 32 = 4 · 8: C has rank 4, D has r where it is factored, else 6
        return 4 * (r if 2 * r < 8 else 6)
    if name in {"dora", "oft", "ia3"}:
        return min(d, k)
    return r


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rank", RANKS)
def test_the_rank_of_an_increment_is_what_its_form_allows(name, rank):
    """[loha-delta] [lokr-delta] Measured with this package's SVD; expected from the form, and NumPy's SVD agrees."""
    expected = expected_rank(name, rank)
    assert scenes.reached_rank(name, rank=rank) == expected
    if expected is not None:
        delta_W = scenes.increment(name, np.random.default_rng(3), rank=rank)
        assert np.linalg.matrix_rank(delta_W, tol=1e-9 * np.linalg.norm(delta_W, 2)) == expected


def test_an_increment_is_the_definitions():
    """[loha-delta] Merged by the definition's plain loops with the same draws."""
    rng = np.random.default_rng(5)
    W0 = rng.normal(size=(scenes.D, scenes.K))
    factors = [rng.normal(size=shape) for shape in ((scenes.D, 2), (2, scenes.K)) * 2]
    tensors = dict(zip(("B1", "A1", "B2", "A2"), (x.tolist() for x in factors), strict=True))
    made = definition("loha").operation("merge")({"W0": W0.tolist()} | tensors, {"alpha": 1.0, "rank": 2})
    rng = np.random.default_rng(5)
    p_like = scenes.start("loha", np.random.default_rng(0), W0, 2).p
    assert [x.shape for x in p_like] == [x.shape for x in factors]
    merged = method("loha").merge(W0, type(p_like)(*factors), scale=scenes.SCALE)
    np.testing.assert_allclose(merged, np.array(made["W"]), rtol=1e-12, atol=1e-12)


def test_loha_of_rank_4_has_the_numbers_of_lora_of_rank_8_and_rank_16():
    """The room's prediction."""
    size = {"d": 768, "k": 512}
    assert scenes.trained("loha", rank=4, **size) == scenes.trained("lora", rank=8, **size)
    assert scenes.reached_rank("loha", rank=4) == 16


def test_every_departure_of_a_method_is_listed():
    listed = [row for name in METHODS for row in scenes.departures_of(name)]
    assert len(listed) == len({row.id for row in listed}) > 50
    assert scenes.departures_of("lora-xs") == []


# ---- the pictures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", ["lora", "vera", "oft", "prefix-tuning"])
def test_pictures_say_what_they_show(rows, chosen):
    pictures = [
        figures.line_bars(rows, chosen=chosen),
        figures.trained_bars(rows, chosen=chosen, layer="a layer of 768 × 512"),
        figures.rank_bars(rows, chosen=chosen, rank=4),
    ]
    for chart in pictures:
        check_chart(chart)
        assert chosen in chart.alt
    names = [list(chart.table["method"]) for chart in pictures]
    assert names[0] == names[1] == list(METHODS)
    assert names[2] == [name for name in METHODS if hasattr(method(name), "merge")]


def test_sentences_at_their_corners(rows):
    assert "5 take its forward as it is" in figures.line_bars(rows, chosen="vera").alt
    assert "prefix-tuning changes no weight" in figures.rank_bars(rows, chosen="prefix-tuning", rank=4).alt
    assert "1 times as many as LoRA" in figures.trained_bars(rows, chosen="lora", layer="x").alt
    chart = figures.line_bars(rows, chosen="dora")
    assert chart.table["lines in all"] == [sum(code.own_lines(name).values()) for name in METHODS]
    assert [sum(bar.x) for bar in chart.figure.data] == [
        sum(chart.table[name]) for name in list(chart.table)[1:-1]
    ]


def test_the_chosen_method_stands_apart_by_more_than_colour(rows):
    chart = figures.trained_bars(rows, chosen="vera", layer="x")
    patterns = [bar.marker.pattern.shape for bar in chart.figure.data]
    assert len(set(patterns)) == 2
    assert "<b>vera</b>" in chart.figure.layout.yaxis.ticktext
