"""How the rooms are written: every control has its key and stands in the link, and no number comes from the app."""

import ast
from pathlib import Path

import pytest

APP = Path(__file__).parents[1] / "app"
VIEWS = sorted((APP / "views").glob("*.py"))
BOUND = (
    "slider",
    "select_slider",
    "selectbox",
    "segmented_control",
    "pills",
    "toggle",
    "number_input",
    "multiselect",
)
PRIVATE = ("guess_", "quiz_")  # what a visitor answers is nobody else's business
ALLOWED = {
    "index + 1",  # layers are counted from one
    "layer + 1",
    "2 * rank",  # PEFT's usual alpha
    "state.step / STEPS",  # a progress bar
    "FILES / name",  # a path
    "(OWN if own else EXAMPLE) + BODIES[picture]",  # a script's two halves
}


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


@pytest.mark.parametrize("path", VIEWS, ids=lambda path: path.stem)
def test_every_control_has_a_key_and_stands_in_the_link(path):
    """And none has a format_func, which would put its wording into the link."""
    for call in calls(path):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name_of(call) in (*BOUND, "choose", "button"):
            assert "key" in given, ast.unparse(call)
        if name_of(call) in BOUND:
            assert "bind" in given or any(start in given["key"] for start in PRIVATE), ast.unparse(call)
            assert "format_func" not in given


@pytest.mark.parametrize("path", sorted(APP.rglob("*.py")), ids=lambda path: str(path.relative_to(APP)))
def test_no_arithmetic_in_the_app(path):
    """Numbers come from the engine: no NumPy in a view, and no operator on numbers in rooms or logic."""
    if path.parent == APP:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if path.parent.name == "views" and isinstance(node, (ast.Import, ast.ImportFrom)):
            assert "numpy" not in ast.unparse(node)
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.BitOr) and not harmless(node):
            assert ast.unparse(node) in ALLOWED, f"arithmetic in {path.name}: {ast.unparse(node)}"


def harmless(node: ast.BinOp) -> bool:
    """Tell whether an operator joins lists or texts, or writes one constant."""
    joins = (ast.List, ast.ListComp, ast.JoinedStr)
    names = [part for part in ast.walk(node) if isinstance(part, (ast.Name, ast.Call))]
    return not names or isinstance(node.left, joins) or isinstance(node.right, joins)


def test_configuration_asks_for_no_network():
    text = (APP.parent / ".streamlit" / "config.toml").read_text()
    assert "gatherUsageStats = false" in text
    assert "http" not in text
