"""The inspector's room: uploads of every kind, what is refused and how, what is kept, and its scripts."""

import numpy as np
import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

from app.logic import inspector
from lora_np.datasets.adapters import BASE, example_adapter
from lora_np.figures.inspect_scene import InspectScene, in_short, inspected
from lora_np.files import adapter_to_bytes, make_adapter
from lora_np.lora import LoraParams
from tests.app_visits import controls, finished, healthy, opened, visits

TENSORS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def example(name):
    """The two files of an example, as an upload."""
    return [(file, (example_adapter(name) / file).read_bytes(), "") for file in (TENSORS, CONFIG)]


def dropped(adapter=(), other=(), base=()):
    """Open the room on one's own files and drop some."""
    app = opened("inspect", {"inspect_source": "my files"})
    for key, files in (("adapter", adapter), ("other", other), ("base", base)):
        if files:
            app.file_uploader(key=f"inspect_{key}_files").set_value(list(files))
    return app.run()


def made(d=30, k=20, r=3, names=("layers.0.q", "layers.1.q"), **options):
    rng = np.random.default_rng(0)
    params = {
        name: LoraParams(
            rng.standard_normal((d, r)).astype(np.float32), rng.standard_normal((r, k)).astype(np.float32)
        )
        for name in names
    }
    tensors, config = adapter_to_bytes(make_adapter(params, alpha=r, **options))
    return [(TENSORS, tensors, ""), (CONFIG, config, "")]


def said(app):
    return " ".join(text.value for text in app.markdown)


# ---- uploads -------------------------------------------------------------------------------------------------


def test_before_anything_is_dropped_the_example_is_shown():
    app = dropped()
    healthy(app, "inspect")
    assert any("until an adapter is dropped" in info.value.lower() for info in app.info)
    assert "15 of 16 modules" in said(app)


def test_an_adapter_alone():
    app = dropped(made())
    healthy(app, "inspect")
    assert not app.error
    assert "of 2 modules" in said(app)
    assert controls(app)["inspect_module"].options == ["layers.0.q", "layers.1.q"]
    assert len(app.get("plotly_chart")) == 2
    assert any("Drop another adapter" in info.value for info in app.info)
    controls(app)["inspect_look"].set_value("merging")
    healthy(app.run(), "inspect")
    assert any("Drop the base weights" in info.value for info in app.info)


def test_all_three_kinds_give_all_pictures():
    """The example as an upload: the same sentence as the shipped one gives."""
    app = dropped(example("turned"), example("turned-again"), [(BASE.name, BASE.read_bytes(), "")])
    healthy(app, "inspect")
    shipped = inspector.example("turned", "turned-again")
    assert in_short(shipped, 0.95) in said(app)
    assert len(app.get("plotly_chart")) == 3
    controls(app)["inspect_look"].set_value("merging")
    healthy(app.run(), "inspect")
    assert "a merge leaves as they were" in said(app)


def test_an_adapter_without_its_config_says_what_is_assumed():
    app = dropped(made()[:1])
    healthy(app, "inspect")
    assert any("taken as 1" in caption.value for caption in app.caption)


def test_a_module_of_the_old_file_is_forgotten_with_it():
    app = dropped(made())
    controls(app)["inspect_module"].set_value("layers.1.q")
    app.run()
    app.file_uploader(key="inspect_adapter_files").set_value(made(names=("other.0.v",)))
    healthy(app.run(), "inspect")
    assert controls(app)["inspect_module"].value == "other.0.v"


BROKEN = {
    "empty": ([(TENSORS, b"", "")], "empty"),
    "a pickle": ([("adapter_model.bin", b"\x80\x02}q\x00.", "")], "can execute code"),
    "a pointer": ([(TENSORS, b"version https://git-lfs.github.com/spec/v1\n", "")], "Git LFS pointer"),
    "cut short": ([(TENSORS, made()[0][1][:-1], "")], "cut short"),
    "huge header": ([(TENSORS, b"\xff" * 8 + b"{}", "")], "header"),
    "no tensors": ([(CONFIG, made()[1][1], "")], "no tensor file"),
    "two tensor files": ([made()[0], ("b.safetensors", b"x", "")], "more than one tensor file"),
    "two configs": ([*made(), ("again.json", b"{}", "")], "more than one adapter_config.json"),
    "no JSON": ([made()[0], (CONFIG, b"{", "")], "adapter_config.json"),
    "another rank": ([made()[0], (CONFIG, b'{"peft_type": "LORA", "r": 5, "lora_alpha": 8}', "")], "rank"),
    "another method": ([made()[0], (CONFIG, b'{"peft_type": "LORAX", "r": 3, "lora_alpha": 8}', "")], "LORAX"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_bad_file_is_one_clear_message_and_the_room_stays(case):
    files, words = BROKEN[case]
    app = dropped(files)
    healthy(app, "inspect")
    assert len(app.error) == 1
    assert words in app.error[0].value
    assert len(app.get("plotly_chart")) == 3  # the example's


def test_a_bad_second_file_takes_nothing_else_with_it():
    app = dropped(made(), [(TENSORS, b"abc", "")], [("base.safetensors", BASE.read_bytes(), "")])
    healthy(app, "inspect")
    assert [error.value.partition(":")[0] for error in app.error] == ["Second adapter", "Base weights"]
    assert "of 2 modules" in said(app)


def test_adapters_of_different_bases_are_refused():
    app = dropped(made(), made(k=21))
    healthy(app, "inspect")
    assert "one base model" in app.error[0].value


# ---- large files ---------------------------------------------------------------------------------------------


def test_large_files_wait_for_the_button_and_can_be_left(monkeypatch):
    monkeypatch.setattr(inspector, "AT_ONCE", 100)
    app = dropped(made())
    healthy(app, "inspect")
    assert "inspect_files_job" not in app.session_state
    assert "15 of 16 modules" in said(app)
    app.button(key="inspect_files_start").click()
    app.run()
    app = app if "inspect_files_job" not in app.session_state else cancelled(app)
    healthy(app, "inspect")
    app = finished(dropped(made()), "inspect_files")
    healthy(app.run(), "inspect")
    assert "of 2 modules" in said(app)


def cancelled(app):
    app.button(key="inspect_files_cancel").click()
    return app.run()


def test_small_files_with_many_modules_wait_for_the_button_too(monkeypatch):
    monkeypatch.setattr(inspector, "FEW", 3)  # one to read, one a module, and it is not done
    app = dropped(made())
    healthy(app, "inspect")
    assert "15 of 16 modules" in said(app)
    assert app.button(key="inspect_files_start")


def test_a_module_that_would_hold_everybody_up_is_refused(monkeypatch):
    """The work is r² (d + k): 9 · 50 here."""
    monkeypatch.setattr(inspector, "HEAVIEST", 9 * 50 - 1)
    app = dropped(made())
    healthy(app, "inspect")
    assert "'layers.0.q' of rank 3 and shape (30, 20) is too large" in app.error[0].value


def test_too_many_bytes_are_refused_unread(monkeypatch):
    monkeypatch.setattr(inspector, "TOGETHER", 100)
    app = dropped(made())
    healthy(app, "inspect")
    assert "take some out" in app.error[0].value


def test_sizes_are_bounded():
    """What is looked at without a button, what one file and one visitor may bring, what is compared."""
    assert inspector.AT_ONCE <= 10**6
    assert inspector.FEW <= 40
    assert inspector.HEAVIEST <= 10**9
    assert inspector.LIMITS.tensors <= 4096
    assert inspector.LARGEST <= 64
    assert inspector.TOGETHER <= 3 * 64 * 10**6
    assert inspector.DIRECTIONS <= 64
    shipped = inspector.example("turned", "turned-again")
    assert sum(report.numbers for report in shipped.reports) <= 20_000


def test_what_is_kept_holds_no_tensor():
    """The largest array in a kept scene is as long as the rank, whatever the weights' sizes."""
    app = dropped(made(d=300, k=200))
    kept = app.session_state["inspect_kept"][1].scene
    assert isinstance(kept, InspectScene)
    for report in kept.reports:
        fields = [report.spectrum.sigma, report.spectrum.errors, report.spectrum.energies]
        assert all((field.size <= 4 and field.base is None) or field.base.size <= 4 for field in fields)


# ---- scripts -------------------------------------------------------------------------------------------------


def test_the_visitors_own_scripts_run_where_the_files_are(tmp_path, monkeypatch):
    """The example's scripts are run by the tests of all rooms; here the ones that name one's own folders."""
    for folder, name in ((inspector.OWN_FOLDER, "turned"), (inspector.OTHER_FOLDER, "inverted")):
        (tmp_path / folder).mkdir(parents=True)
        for file, content, _ in example(name):
            (tmp_path / folder / file).write_bytes(content)
    (tmp_path / inspector.BASE_FOLDER).write_bytes(BASE.read_bytes())
    monkeypatch.chdir(tmp_path)
    files = inspector.names_of(own=True, adapter="x", other="y")
    scene = inspector.example("turned", "inverted")
    found = {}
    for picture, values in (
        ("spectra", {}),
        ("ranks", {"energy": 0.9}),
        ("merging", {}),
        ("likeness", {"directions": 2}),
    ):
        names: dict[str, object] = {}
        exec(inspector.snippet(picture, **files, **values), names)
        found |= names["numbers"]
    assert found["rank for 90 %"] == [report.kept(0.9) for report in scene.reports]
    assert np.allclose(found["cosine"], [report.likeness.cosine for report in scene.reports], rtol=1e-9)
    merges = [report.merges["bfloat16"] for report in scene.reports]
    assert found["bfloat16: left as they were"] == [merge.unchanged for merge in merges]


def test_every_picture_of_every_visit_can_be_taken_along():
    """At the default and at the ends of every control, a script beside every picture gives its numbers."""
    for visit in visits("inspect"):
        for picture in visit.pictures:
            names: dict[str, object] = {}
            exec(picture.card["snippet"], names)
            for column, values in names["numbers"].items():
                assert np.allclose(values, picture.chart.table[column], rtol=1e-9, atol=1e-12), (
                    visit.state,
                    column,
                )


def test_the_example_is_small_enough_to_look_at_at_once():
    scene = inspected(inspector.read_adapter(example_adapter("turned")))
    assert len(scene.reports) == 16
