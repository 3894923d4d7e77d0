"""The house rules that a machine can hold: floors, homes of packages, lazy imports, equation keys."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lora_np.equations import EQUATIONS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lora_np"
FLOORS = {
    0: ["_typing", "errors", "checks", "atomic", "batches", "equations"],
    1: ["rank", "conventions", "lora", "merging"],
    2: ["optim", "gradient_view", "cost", "counts", "subspace", "prune", "methods", "layouts", "adapters"],
    3: ["backends"],
    4: ["datasets", "nn", "training"],
    5: ["files"],
    6: ["conformance", "teach", "figures", "bench", "cli", "__main__"],
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
HOMES = {  # third-party package -> the only places that may import it
    "numba": ("backends/numba_",),
    "cupy": ("backends/cupy_",),
    "autograd": ("conformance/",),
    "plotly": ("figures/",),
    "safetensors": ("files/", "training"),
    "torch": ("bench/", "conformance/"),
    "peft": ("bench/", "conformance/"),
    "loralib": ("conformance/",),
    "transformers": ("conformance/",),
    "mpmath": ("conformance/exact/",),
    "jsonschema": ("conformance/vectors/",),
    "pytest": ("conformance/runner/",),
    "streamlit": (),
    "rich": ("cli", "bench/", "conformance/"),
    "typer": ("cli", "__main__"),
    "threadpoolctl": ("backends/", "bench/", "conformance/"),
    "jupytext": ("teach/lessons", "teach/build/"),
    "nbformat": ("teach/build/",),
    "watchfiles": ("cli/tutorials",),
}
SOURCES = sorted(PACKAGE.rglob("*.py"))
KEY = re.compile(r"(?<![\w\])])\[([a-z0-9]+(?:-[a-z0-9]+)+)\]")


def imported_modules(path: Path) -> set[str]:
    """Every dotted name that a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def violations(sources: dict[str, set[str]]) -> list[str]:
    """List the imports that climb: {file relative to the package: its imports} -> complaints."""
    complaints = []
    for relative, imports in sources.items():
        own = relative.split("/")[0].removesuffix(".py")
        for name in imports:
            parts = name.split(".")
            if parts[0] == "lora_np" and own != "__init__":
                target = parts[1] if len(parts) > 1 else ""
                if target in FLOOR_OF and target != own and FLOOR_OF[target] > FLOOR_OF[own]:
                    complaints.append(
                        f"{relative} (floor {FLOOR_OF[own]}) imports {name} (floor {FLOOR_OF[target]})"
                    )
                if target not in FLOOR_OF:
                    complaints.append(f"{relative} imports {name}: import from the module that defines it")
            homes = HOMES.get(parts[0])
            if homes is not None and not relative.startswith(homes):
                complaints.append(f"{relative} imports {parts[0]}, whose home is {homes}")
    return complaints


def test_imports_go_down_and_third_party_packages_have_one_home():
    sources = {str(path.relative_to(PACKAGE)): imported_modules(path) for path in SOURCES}
    assert {name.split("/")[0].removesuffix(".py") for name in sources} - {"__init__"} <= FLOOR_OF.keys()
    assert violations(sources) == []


def test_the_floor_check_finds_planted_violations():
    assert violations({"lora.py": {"lora_np.prune.importance"}})
    assert violations({"lora.py": {"numba.njit"}})
    assert violations({"figures/bars.py": {"streamlit"}})
    assert not violations({"prune/mask.py": {"lora_np.lora.LoraParams", "lora_np.errors.GroupError"}})


def test_nothing_imports_the_app_the_tutorials_or_the_tests():
    for path in SOURCES:
        assert not {name.split(".")[0] for name in imported_modules(path)} & {"app", "tutorials", "tests"}


def test_importing_loads_no_optional_package():
    code = "import sys, lora_np; print(*sorted(name for name in sys.modules if '.' not in name))"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    optional = HOMES.keys() | {"pandas", "jaxtyping", "scipy", "hypothesis", "joblib"}
    assert not loaded & optional


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_and_on_which_floor(path):
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert text, "a module docstring says what, floor, and what it does not do"
    if path != PACKAGE / "__init__.py":
        assert re.search(r"Floor \d", text), "the module docstring names its floor"


def cited_keys(paths: list[Path]) -> set[str]:
    """Equation keys in square brackets in any docstring of the files."""
    found: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                found |= set(KEY.findall(ast.get_docstring(node) or ""))
    return found


def test_equation_keys_in_code_in_tests_and_in_the_registry_are_the_same():
    in_code = cited_keys([path for path in SOURCES if "equations" not in path.parts])
    in_tests = cited_keys(sorted((ROOT / "tests").rglob("*.py")))
    assert sorted((in_code | in_tests) - EQUATIONS.keys()) == [], "cited but not in the registry"
    assert sorted(EQUATIONS.keys() - in_code) == [], "in the registry but cited by no code"
    assert sorted(EQUATIONS.keys() - in_tests) == [], "in the registry but cited by no test"


def test_registry_entries_are_complete():
    for key, entry in EQUATIONS.items():
        assert entry.key == key
        assert KEY.fullmatch(f"[{key}]"), key
        assert entry.words.endswith(".")
        assert entry.source
        for latex in (entry.latex, entry.latex_row):
            assert latex.count("{") == latex.count("}"), key
