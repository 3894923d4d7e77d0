"""The oracle's room: what it lists, and our own targets asked again behind a button."""

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

from app.logic import report
from lora_np.figures.report_again import OWN
from lora_np.figures.report_scene import method_sizes
from tests.app_visits import controls, finished, healthy, noted, opened
from tests.test_app_snippets import run_all

SMALL = "lora-xs"  # a method of few cases


def test_our_own_targets_are_asked_behind_a_button(tmp_path):
    """Afterwards there is one picture more, it is tagged as measured, and its snippet asks the same."""
    app = opened("report", {"asked_method": SMALL})
    assert len(app.get("plotly_chart")) == 2
    with noted("report", "asked again") as visit:
        app = finished(app, "report_rerun", presses=2000)
    healthy(app, "report")
    picture = next(picture for picture in visit.pictures if picture.key == "report_here")
    assert picture.card["kind"] == "measured"
    assert picture.chart.alt.endswith("nothing failed with a number.")
    assert set(picture.chart.table["implementation"]) <= set(OWN)
    (answer,) = run_all([picture.card["snippet"]], tmp_path)
    for column in ("implementation", "operation"):
        assert answer["numbers"][column] == picture.chart.table[column]


def test_a_rerun_can_be_cancelled():
    app = opened("report", {"asked_method": SMALL})
    app.button(key="report_rerun_start").click()
    app.run()
    app.button(key="report_rerun_cancel").click()
    healthy(app.run(), "report")
    assert "report_rerun_job" not in app.session_state
    assert len(app.get("plotly_chart")) == 2


@pytest.mark.parametrize("key", ["report_rerun_start", "report_rerun_job", "report_rerun"])
def test_a_link_starts_no_work(key):
    app = opened("report", {key: "true", "asked_method": SMALL})
    healthy(app, "report")
    assert "report_rerun_job" not in app.session_state


def test_what_a_button_asks_is_bounded():
    """A method has some hundred cases of a few numbers each, asked of four targets."""
    assert max(method_sizes().values()) * len(OWN) <= 2000


def test_the_findings_of_one_method():
    app = opened("report", {"implementation": "peft", "asked_method": "ia3"})
    assert list(controls(app)["finding"].options) == [
        row.name for row in report.findings(report.scene().implementations["peft"], "ia3")
    ]
    said = " ".join(text.value for text in app.markdown)
    assert "1e-08 is added to l" in said  # the diagnoser's sentence
    assert any("torch" in code.value for code in app.code)  # the script that shows it


def test_nothing_found_is_said():
    app = opened("report", {"implementation": "torch"})
    healthy(app, "report")
    assert "finding" not in controls(app)
    assert [info.value for info in app.info] == ["Nothing failed in torch."]


def test_versions_and_source_of_what_is_quoted_are_said():
    said = " ".join(caption.value for caption in opened("report").caption)
    for told in ("2026.11", "peft 0.21.2", "lora_np/conformance/published"):
        assert told in said


def test_the_command_asks_one_method_or_all():
    assert report.command("all") == "lora-np conformance reference --report results"
    assert report.command("dora") == "lora-np conformance reference --include dora/ --report results"
