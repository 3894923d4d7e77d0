"""`lora-np verify`: its table of checks, what it writes, how it fails and how it stops."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from lora_np.backends import REFERENCE, available_backends, get_backend
from lora_np.cli.app import app
from lora_np.conformance.bounds import GOLD
from lora_np.conformance.verify import (
    CHECKS,
    Check,
    available,
    of_backend,
    plan,
    reference,
    registry,
    report,
    run,
    verify,
)
from lora_np.conformance.verify.cases import Case, distance_in_u, exactly, reading
from lora_np.conformance.verify.check import Reading, Result
from lora_np.conformance.verify.devices import each_leaf, on_device
from lora_np.equations import EQUATIONS
from lora_np.errors import ConfigError
from lora_np.lora import LoraParams


def check(*readings, uses=("forward",)):
    """A check that finds these readings."""
    return Check("lora-fwd", "a claim", uses, lambda implementation: readings)


class TestTable:
    def test_every_check_names_an_equation_and_functions_that_exist(self):
        for one in CHECKS:
            assert one.equation in EQUATIONS, one.name
            assert one.uses
            assert all(callable(getattr(reference(), name)) for name in one.uses)

    def test_names_are_unique(self):
        names = [(one.equation, one.name) for one in CHECKS]
        assert len(set(names)) == len(names)

    def test_every_function_of_the_reference_is_used_by_a_check(self):
        used = {name for one in CHECKS for name in one.uses}
        assert set(reference().functions) - used == {"block_identity"}

    def test_a_backend_is_asked_only_about_what_it_replaces(self):
        broken = reference().replaced("mine", merge=reference().merge)
        asked = [one for one, _ in plan([broken])]
        assert asked
        assert all("merge" in one.uses for one in asked)
        assert plan([of_backend(REFERENCE)]) == []

    def test_all_backends_that_load_are_verified(self):
        names = [implementation.name for implementation in available()]
        assert names[0] == "numpy"
        assert set(names) <= set(available_backends())

    def test_a_function_that_is_not_there_is_named(self):
        with pytest.raises(AttributeError, match="implementation 'numpy' has no function 'fly'"):
            reference().fly(1)


@pytest.mark.parametrize("implementation", available(), ids=lambda implementation: implementation.name)
def test_everything_holds_here_within_the_gold_level(implementation):
    """What the command promises: none failed, and no error above 16 u.  [lora-2] [grad-2]"""
    results = list(verify([implementation]))
    assert report.failures(results) == []
    assert max(result.error_u for result in results) <= GOLD
    assert all(result.cases for result in results)


class TestRunning:
    def test_the_worst_reading_speaks(self):
        """The worst is the one nearest to its bound, not the largest number."""
        result = run(check(Reading(3.0, 16.0, "a", ()), Reading(2.0, 4.0, "b", (1,))), reference())
        assert (result.error_u, result.bound_u, result.dtype, result.ok, result.cases) == (
            2.0,
            4.0,
            "b",
            True,
            2,
        )

    @pytest.mark.parametrize(
        ("found", "ok"),
        [((16.0, 16.0), True), ((16.1, 16.0), False), ((0.0, 0.0), True), ((1e-9, 0.0), False)],
    )
    def test_the_bound_itself_is_still_allowed(self, found, ok):
        assert run(check(Reading(*found, "float64", ())), reference()).ok is ok

    def test_nan_and_infinity_fail(self):
        for error in (math.inf, math.nan):
            assert not run(check(Reading(error, 16.0, "float64", ())), reference()).ok
            assert not run(check(Reading(error, 0.0, "float64", ())), reference()).ok
            assert not run(
                check(Reading(1.0, 16.0, "float64", ()), Reading(error, 16.0, "float64", ())), reference()
            ).ok

    def test_an_exception_fails_with_its_text(self):
        def crash(implementation):
            yield Reading(0.0, 1.0, "float64", ())
            raise ZeroDivisionError("by nothing")

        result = run(Check("lora-fwd", "a claim", ("forward",), crash), reference())
        assert not result.ok
        assert result.problem == "ZeroDivisionError: by nothing"
        assert result.as_json()["error_u"] is None

    def test_a_check_without_a_case_fails(self):
        assert run(check(), reference()).problem == "no case was measured"


class TestDistance:
    def test_rational_and_float_truths_measure_alike(self):
        got, want = np.array([1.0 + 2.0**-51]), np.array([1.0])
        assert distance_in_u(got, exactly(want), np.ones(1)) == distance_in_u(got, want, np.ones(1)) == 4.0

    @pytest.mark.parametrize(
        ("got", "S"), [([1.0, 1.0], [1.0]), ([math.nan], [1.0]), ([math.inf], [1.0]), ([2.0], [0.0])]
    )
    def test_what_cannot_be_is_infinitely_far(self, got, S):
        assert distance_in_u(np.array(got), exactly(np.array([1.0])), np.array(S)) == math.inf

    def test_a_narrower_element_type_is_infinitely_far_on_either_side(self):
        c = Case((1, 1, 1, 1), np.float64, exact=True)
        narrow, right = np.ones((1, 1), np.float32), np.ones((1, 1))
        assert reading(c, right, right, right, 1.0).error_u == 0.0
        assert reading(c, narrow, right, right, 1.0).error_u == math.inf
        assert reading(c, right, narrow, right, 1.0).error_u == math.inf


def test_arrays_of_another_library_are_moved_at_any_depth():
    """`on_device` with NumPy in the place of a GPU's library: the same containers come back."""
    assert each_leaf(abs, LoraParams(-1, (-2,))) == LoraParams(1, (2,))

    def call(p, *, more):
        return {"sum": (p.B + more[0], p)}

    class Library:
        ndarray, asarray, asnumpy = np.ndarray, staticmethod(np.asarray), staticmethod(np.asarray)

    import sys

    sys.modules["a_library"] = Library
    try:
        got = on_device(call, "a_library")(LoraParams(np.ones(2), np.zeros(1)), more=[np.ones(2)])
    finally:
        del sys.modules["a_library"]
    assert got["sum"][0].tolist() == [2.0, 2.0]
    assert isinstance(got["sum"][1], LoraParams)


# ---- the command -------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch):
    """Two quick checks in the place of the whole table."""
    two = tuple(one for one in CHECKS if one.equation in ("lora-scale", "lora-scale-rs"))
    monkeypatch.setattr(registry, "CHECKS", two)
    return two


def invoke(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def test_the_file_has_every_check_and_the_command_succeeds(few, tmp_path):
    result = invoke("--json", tmp_path / "v.json")
    assert result.exit_code == 0, result.output
    assert "2 checks on numpy: none failed" in result.output
    found = json.loads((tmp_path / "v.json").read_text())
    assert found["complete"] is True
    assert [one["equation"] for one in found["checks"]] == ["lora-scale", "lora-scale-rs"]
    for one in found["checks"]:
        assert {"equation", "check", "backend", "error_u", "bound_u", "ok"} <= one.keys()
        assert one["ok"] is True
        assert one["error_u"] <= one["bound_u"]
    assert [path.name for path in tmp_path.iterdir()] == ["v.json"], "no temporary file is left"


def test_a_failure_ends_with_status_1_and_names_the_equation(few, monkeypatch, tmp_path):
    broken = reference().replaced("numpy", scaling=lambda alpha, rank, use_rslora=False: 1.001 * alpha / rank)
    monkeypatch.setattr("lora_np.conformance.verify.available", lambda: [broken])
    result = invoke("--json", tmp_path / "v.json")
    assert result.exit_code == 1
    assert "[lora-scale] alpha / r of scaling, numpy: error" in result.output
    assert "2 failed" in result.output
    assert [one["ok"] for one in json.loads((tmp_path / "v.json").read_text())["checks"]] == [False, False]


def test_an_interruption_prints_and_writes_what_is_done(few, monkeypatch, tmp_path):
    done = []

    def stop_after_one(one, implementation):
        if done:
            raise KeyboardInterrupt
        done.append(one)
        return run(one, implementation)

    monkeypatch.setattr("lora_np.conformance.verify.run", stop_after_one)
    result = invoke("--json", tmp_path / "v.json")
    assert result.exit_code == 130
    assert "1 checks on numpy" in result.output
    assert "interrupted" in result.output
    found = json.loads((tmp_path / "v.json").read_text())
    assert (found["complete"], len(found["checks"])) == (False, 1)


@pytest.mark.parametrize("path", [".", "no/such/folder/v.json"])
def test_a_file_that_cannot_be_written_is_refused_before_any_work(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lora_np.conformance.verify.run", None)
    result = invoke("--json", path)
    assert isinstance(result.exception, ConfigError)
    assert "--json" in str(result.exception)


def test_row_43_a_backend_that_is_none_is_refused():
    result = invoke("--backend", "nunba")
    assert isinstance(result.exception, ConfigError)
    assert "did you mean 'numba'" in str(result.exception)


def test_one_backend_can_be_asked_for(few):
    assert "2 checks on numpy" in invoke("--backend", "numpy", "--backend", "numpy").output


def test_usage_errors_end_with_status_2():
    assert invoke("--no-such-option").exit_code == 2


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "v.json"
    path.write_text("old")
    bad = Result("a-b", "c", "numpy", 0.0, math.inf, True, "float64", (), 1, 0.0)
    with pytest.raises(ValueError, match="JSON"):
        report.write_json(path, [bad], complete=True)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["v.json"]


def test_a_backend_that_does_not_load_is_left_out(monkeypatch):
    monkeypatch.setattr(
        "lora_np.conformance.verify.implementation.available_backends", lambda: ("numpy", "cupy")
    )
    if "cupy" not in available_backends():
        assert [implementation.name for implementation in available()] == ["numpy"]


def test_numba_is_asked_about_its_own_functions():
    if "numba" in available_backends():
        assert "forward" in of_backend(get_backend("numba")).own
        assert "optim_adam_step" in of_backend(get_backend("numba")).own
