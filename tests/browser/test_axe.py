"""Every room in both schemes before axe-core: no serious violation of the accessibility rules, contrast included.

axe-core is a package of npm: ``npm install --no-save axe-core`` in this folder, or LORA_NP_AXE names its axe.min.js.
"""

import os
from pathlib import Path

import pytest

from app.rooms import ROOMS, room
from tests.browser.marks import BROWSER
from tests.browser.visiting import ROOT

pytestmark = BROWSER
SERIOUS = ("serious", "critical")
RULES = "() => axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)"


@pytest.fixture(scope="module")
def axe() -> Path:
    """The script that looks for violations."""
    path = Path(os.environ.get("LORA_NP_AXE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))
    if not path.is_file():
        pytest.skip("axe-core is not here: npm install --no-save axe-core")
    return path


def violations(page, axe: Path) -> list[str]:
    """Tell each serious violation: its rule, what it says, and where."""
    page.add_script_tag(path=axe)
    found = page.evaluate(RULES)
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {node['html'][:300]} {node['any'][:1]}"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", [room.path for room in ROOMS])
def test_no_serious_violation(path, scheme, server, visit, axe):
    visitor = visit(scheme)
    visitor.open(f"{server}/{room(path).address}")
    assert violations(visitor.page, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_violation_behind_the_tabs_of_a_card(scheme, server, visit, axe):
    visitor = visit(scheme)
    visitor.open(f"{server}/rank?shapes=true&teacher=true")
    for name in ("Code", "Numbers", "Take along"):
        visitor.page.get_by_role("tab", name=name).first.click()
        visitor.drawn()
        assert violations(visitor.page, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_violation_in_a_whole_lesson(scheme, server, visit, axe):
    """All of its sections: prose, equations, code, a picture, exercises, and the quiz with an answer given."""
    visitor = visit(scheme)
    visitor.open(f"{server}/lessons?lesson=04&section=all")
    visitor.page.get_by_text("a) (4, 32)").click()
    visitor.page.get_by_text("Read again").wait_for()
    assert violations(visitor.page, axe) == []


def test_the_rules_find_what_is_planted(server, visit, axe):
    """A picture without words and pale letters: the check sees both."""
    visitor = visit()
    visitor.open(server)
    visitor.page.evaluate(
        "() => document.querySelector('h1').insertAdjacentHTML('afterend', "
        '\'<img src="data:,"><p style="color:#ddd;background:#fff">pale</p>\')'
    )
    found = " ".join(violations(visitor.page, axe))
    assert "image-alt" in found
    assert "color-contrast" in found
