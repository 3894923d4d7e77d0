"""The bench measures what it says, compares before it times, and never hides a contestant that is missing."""

import importlib.util
import io
import json

import numpy as np
import pytest

from lora_np.backends import REFERENCE, best_backend
from lora_np.bench import Row, Target, extra_bytes, in_turns, measure, peers, time_linear
from lora_np.bench.import_case import import_time
from lora_np.bench.layer_cases import forms, lora_step
from lora_np.bench.machine import Machine, look
from lora_np.bench.measure import FORMS, SCALE, layer_arrays, layer_passes
from lora_np.bench.report import table, verdict_lines, write_json
from lora_np.bench.run import CASES, plan
from lora_np.bench.same import require_same
from lora_np.bench.update_cases import adam, importance_estimated, importance_exact, low_rank_update
from lora_np.errors import ConfigError, DTypeError, LoraNpError

MACHINE = Machine(
    "a processor", 2, "a BLAS", 2, 1, "3.11", {"numpy": "2"}, gemm_gflops=100.0, copy_gbytes=10.0
)
FIELDS = {
    "case",
    "shape",
    "dtype",
    "threads",
    "ours_ms",
    "numpy_ms",
    "torch_ms",
    "peft_ms",
    "frozen_ms",
    "floor_ms",
    "extra_bytes",
    "target",
    "targets",
    "met",
    "bound",
}
SMALL = {
    "lora-step": (lora_step, (6, 5, 4, 2)),
    "low-rank-update": (low_rank_update, (6, 5, 2)),
    "importance-exact": (importance_exact, (6, 5, 4)),
    "importance-estimated": (importance_estimated, (6, 5, 2)),
    "forms": (forms, (6, 5, 4, 2)),
    "adam": (adam, (7,)),
}


def run(case, backend=REFERENCE):
    function, shape = SMALL[case]
    return function(shape, backend, MACHINE, 0.0)


@pytest.fixture
def without_peers(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


# ---- measuring ---------------------------------------------------------------------------------------------


class Clock:
    """A clock that moves only when a contestant says so."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def perf_counter(self):
        return self.now

    def contestant(self, name, *seconds):
        """Take the given seconds, one after another, and the last of them for ever."""
        left = list(seconds)

        def call():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(measure, "time", clock)
    return clock


def test_contestants_take_turns_and_the_fastest_counted_round_is_returned(clock):
    found = in_turns(
        {"a": clock.contestant("a", 0.5, 3, 2, 4), "b": clock.contestant("b", 9, 7, 8, 6)},
        repeats=3,
        budget_s=1000,
    )
    assert clock.calls == ["a", "b"] * 4
    assert found == {"a": 2000.0, "b": 6000.0}, "the first round, 0.5 s and 9 s, only warms up"


@pytest.mark.parametrize(("seconds", "rounds"), [(0.5, 5), (1.0, 3), (2.0, 3), (5.0, 2), (100.0, 1)])
def test_the_budget_ends_it_but_never_before_one_counted_round(clock, seconds, rounds):
    """Three rounds at least, unless they take four times the budget of three seconds."""
    in_turns({"a": clock.contestant("a", seconds)}, budget_s=3.0)
    assert len(clock.calls) == 1 + rounds


def test_extra_memory_is_beyond_the_result_and_survives_an_error():
    def made():
        scratch = np.ones(50_000)
        return np.zeros(10_000) + scratch[0]

    assert 400_000 <= extra_bytes(made) < 500_000

    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        extra_bytes(broken)
    assert extra_bytes(lambda: None) < 1000


def test_every_form_of_the_layer_computes_the_same(rng):
    arrays = layer_arrays(7, 5, 6, 2, np.float64)
    X, W0, p, gY = arrays
    W = W0 + SCALE * p.B @ p.A
    passes = layer_passes(arrays, best_backend())
    for form in ("lora-2", "lora-1", "merged"):
        Y = passes[f"{form} forward"]()
        np.testing.assert_allclose(Y[0] if isinstance(Y, tuple) else Y, X @ W.T, rtol=1e-12)
    g1, g2 = passes["lora-1 backward"](), passes["lora-2 backward"]()
    np.testing.assert_allclose(g1[0], gY @ W, rtol=1e-12, atol=1e-14)
    for one, two in zip(g1[1], g2[1], strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-12)
    assert (passes["frozen forward"]() == X @ W0.T).all()
    assert (passes["full backward"]()[1] == gY.T @ X).all()


def test_the_app_can_time_any_form():
    times = time_linear(8, 6, 5, 2, forms=FORMS, dtype="float64", budget_s=0.0)
    assert list(times) == list(FORMS)
    assert all(time.forward_ms > 0 and time.backward_ms > 0 for time in times.values())


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ((0, 4, 4, 2), {}, ConfigError, "N must be a positive int"),
        ((4, 4, 4, 2.0), {}, ConfigError, "r must be a positive int"),
        ((4, 4, 4, 2), {"forms": ["lora-3"]}, ConfigError, "did you mean 'lora-"),
        ((4, 4, 4, 2), {"dtype": "int32"}, DTypeError, "dtype"),
        ((100_000, 100_000, 100_000, 2), {}, ConfigError, "too large to time"),
        ((4, 4, 4, 2), {"budget_s": float("nan")}, ConfigError, "budget_s"),
    ],
)
def test_a_layer_that_cannot_be_timed_is_refused_at_once(sizes, options, error, message):
    with pytest.raises(error, match=message):
        time_linear(*sizes, **options)


def test_the_machine_is_described_in_plain_types():
    content = json.loads(json.dumps(look(budget_s=0.0).as_dict()))
    assert content["gemm_gflops"] > 0
    assert content["copy_gbytes"] > 0
    assert content["blas_threads"] >= 1
    assert content["versions"]["numpy"] == np.__version__


def test_a_floor_is_the_slower_of_arithmetic_and_traffic():
    assert MACHINE.floor_ms(1e9, 0) == 10.0
    assert MACHINE.floor_ms(0, 1e9) == 100.0


# ---- the cases ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SMALL)
def test_every_row_has_every_field_and_null_where_a_peer_is_missing(case, without_peers):
    row = json.loads(json.dumps(run(case).as_dict()))
    assert row.keys() >= FIELDS
    assert row["case"] == case
    assert row["ours_ms"] > 0
    assert row["numpy_ms"] > 0
    assert row["torch_ms"] is None
    assert row["peft_ms"] is None


@pytest.mark.parametrize("case", SMALL)
def test_the_best_backend_runs_every_case(case, without_peers):
    assert run(case, best_backend()).ours_ms > 0


@pytest.mark.interop
@pytest.mark.parametrize("case", [case for case in SMALL if case != "forms"])
def test_torch_computes_the_same_and_is_timed(case):
    pytest.importorskip("torch", reason="torch is not installed")
    row = run(case)
    assert row.torch_ms > 0


@pytest.mark.interop
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_peft_computes_the_same_and_is_timed():
    pytest.importorskip("peft", reason="PEFT is not installed")
    assert run("lora-step").peft_ms > 0


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("lora-step", "forward"),
        ("low-rank-update", "add_low_rank"),
        ("importance-exact", "group_dot"),
        ("importance-estimated", "importance"),
        ("adam", "adam_step"),
    ],
)
def test_a_kernel_that_is_wrong_by_a_thousandth_is_not_timed(case, name, without_peers):
    def spoil(result):
        if isinstance(result, tuple):
            return (
                type(result)(*map(spoil, result)) if hasattr(result, "_fields") else tuple(map(spoil, result))
            )
        return result * 1.001 if isinstance(result, np.ndarray) else result

    wrong = REFERENCE._replace(**{name: lambda *args, **kw: spoil(getattr(REFERENCE, name)(*args, **kw))})
    with pytest.raises(LoraNpError, match="differs"):
        run(case, wrong)


def test_results_of_another_shape_or_with_nan_are_not_the_same():
    for other in (np.ones(3), np.full(2, np.nan)):
        with pytest.raises(LoraNpError, match="theirs"):
            require_same({"ours": (np.ones(2),), "theirs": (other,)})


def test_peers_are_none_where_nothing_is_installed(without_peers):
    arrays = layer_arrays(2, 2, 2, 1)
    one = np.ones((2, 2), np.float32)
    for call in (
        peers.torch_step(arrays),
        peers.torch_frozen(arrays),
        peers.peft_step(arrays),
        peers.torch_update(one, one, one),
        peers.torch_exact(one, one, one),
        peers.torch_estimated(one, arrays.p, arrays.p),
        peers.torch_adam(one, one, 0.1),
    ):
        assert call is None


def test_the_import_is_timed_in_fresh_interpreters():
    row = import_time(budget_s=0.0)
    assert row.ours_ms > 0
    assert row.numpy_ms > 0
    assert row.verdicts[0]["target"] == "ours / numpy <= 1.5"


# ---- the plan and the report -------------------------------------------------------------------------------


def test_the_plan_has_every_case_and_the_shapes_that_were_promised():
    jobs = plan(MACHINE, REFERENCE)
    assert {job.case for job in jobs} == set(CASES)
    assert [job.shape for job in jobs if job.case == "lora-step"] == [
        "512x768x768 r8",
        "1024x1024x4096 r8",
        "2048x2048x2048 r16",
        "512x4096x4096 r64",
    ]
    assert len(plan(MACHINE, REFERENCE, quick=True)) == len(jobs)
    assert {job.case for job in plan(MACHINE, REFERENCE, only=["adam", "import"])} == {"adam", "import"}


def test_a_case_that_does_not_exist_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'lora-stop'.*did you mean 'lora-step'"):
        plan(MACHINE, REFERENCE, only=["lora-stop"])


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("ours", "frozen", 1.15), True),
        (Target("ours", "frozen", 1.0), False),
        (Target("numpy", "ours", 3.0, at_most=False), True),
        (Target("numpy", "ours", 4.5, at_most=False), False),
    ],
)
def test_targets_are_judged_from_the_times_of_the_row(target, met):
    row = Row("a", "b", ours_ms=1.1, frozen_ms=1.0, numpy_ms=4.4, targets=(target,), bound="the memory")
    assert row.as_dict()["met"] is met
    line = verdict_lines([row])[0]
    assert line.startswith("met" if met else "missed")
    assert ("the memory" in line) is not met


def test_a_target_whose_contestant_is_missing_is_not_judged():
    row = Row("a", "b", ours_ms=1.0, targets=(Target("ours", "peft", 1.0),), words="what it times")
    assert row.as_dict()["met"] is None
    assert row.as_dict()["targets"] == []
    assert "what it times" in verdict_lines([row])[0]


def test_the_table_shows_times_as_multiples_of_ours():
    from rich.console import Console

    rows = [Row("case", "shape", ours_ms=2.0, numpy_ms=9.0, extra_bytes=4096)]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(rows))
    text = console.export_text()
    assert "4.5" in text
    assert "4 kB" in text


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "bench.json"
    write_json(path, MACHINE, [run("adam")], complete=True)
    first = json.loads(path.read_text())
    assert first["machine"]["blas"] == "a BLAS"
    assert first["complete"] is True
    assert len(first["rows"]) == 1
    with pytest.raises(TypeError):
        write_json(path, MACHINE, [Row("a", "b", ours_ms=object())], complete=True)
    assert json.loads(path.read_text()) == first
    assert list(tmp_path.iterdir()) == [path]
