"""The mutation run itself: what it plants, that it finds a survivor, and that doing nothing is noticed by nobody."""

import textwrap
from pathlib import Path

import pytest

from tests.mutation.mutants import Mutant, code_of, mutants_of
from tests.mutation.reach import entered
from tests.mutation.scores import concerns, equivalents, score
from tests.mutation.swapping import living, swapped
from tests.mutation.trial import Trial, Verdict, run_all

SOURCE = '''
    """A planted module."""

    def layer(X, p, scale):
        """Y."""
        require_all(X, 3)
        B, A = p
        if scale < 0:
            raise ValueError("scale 7")
        return scale * (X @ A.T) + (1 if X.any() else -B)
'''


@pytest.fixture
def planted(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(textwrap.dedent(SOURCE))
    return mutants_of("planted", path), path


def test_every_kind_of_mistake_is_planted_once(planted):
    found = {(m.operator, m.before, m.after) for m in planted[0]}
    assert ("drop a transpose", "A.T", "A") in found
    assert ("drop the scale", "scale * (X @ A.T)", "X @ A.T") in found
    assert ("round the scale", "scale * (X @ A.T)", "scale * 1.00000003 * (X @ A.T)") in found
    assert ("swap the two", "B, A = p", "A, B = p") in found
    assert ("swap a product", "X @ A.T", "A.T @ X") in found
    assert ("all for any", "X.any()", "X.all()") in found
    assert ("drop a sign or a not", "-B", "B") in found
    assert ("swap the branches", "1 if X.any() else -B", "-B if X.any() else 1") in found
    assert ("drop a statement", "require_all(X, 3)", "pass") in found
    assert not any("7" in m.before for m in planted[0]), "the text of a message is left alone"
    assert len({m.key for m in planted[0]}) == len(planted[0])


def test_checks_are_told_from_arithmetic(planted):
    guards = {m.before for m in planted[0] if m.guards}
    assert {"require_all(X, 3)", "3", "scale < 0", "0"} <= guards
    assert not guards & {"A.T", "X @ A.T", "-B", "B, A = p"}


def test_each_mutant_compiles_to_another_code(planted):
    mutants, path = planted
    original = next(c for c in compile(path.read_text(), "x", "exec").co_consts if hasattr(c, "co_code"))
    for mutant in mutants:
        changed = code_of(mutant, path)
        same = all(
            getattr(changed, part) == getattr(original, part) for part in ("co_code", "co_consts", "co_names")
        )
        assert not same, mutant.key


def double(x):
    return 2 * x


def trial(code, *, wanted):
    mutant = Mutant("tests.test_mutation", "double", 1, "planted", "2", "3", 0, (0, 0, 0))
    return Trial(
        mutant, double, code, {"a/forward": lambda: double(2) == wanted}, [("t", lambda: double(0) == 0)]
    )


def test_a_mutant_is_noticed_by_what_it_breaks_and_nothing_notices_no_change():
    thrice = compile("def double(x):\n    return 3 * x", "x", "exec").co_consts[0]
    endless = compile("def double(x):\n    raise KeyboardInterrupt", "x", "exec").co_consts[0]
    (unchanged,) = run_all([trial(double.__code__, wanted=4)])
    (noticed,) = run_all([trial(thrice, wanted=4)])
    (survivor,) = run_all([trial(thrice, wanted=6)])
    assert not unchanged.killed
    assert noticed.files == {"a/forward": True}
    assert not survivor.killed
    assert double(2) == 4, "the change stays in the forked process"
    with pytest.raises(RuntimeError, match="a trial did not work"):
        list(run_all([trial(endless, wanted=4)]))


def test_the_living_function_is_found_under_properties_and_caches():
    assert living("lora_np.lora", "LoraConfig.scale").__name__ == "scale"
    assert living("lora_np.checks", "_name").__name__ == "_name"
    with pytest.raises(LookupError):
        living("lora_np.lora", "INIT_SCHEMES")


def test_code_is_put_back_whatever_happens():
    other = compile("def double(x):\n    return 0", "x", "exec").co_consts[0]
    with pytest.raises(ZeroDivisionError), swapped(double, other):
        1 / double(3)
    assert double(3) == 6


def test_a_function_is_reached_when_it_is_called():
    with entered({double.__code__: "double"}) as names:
        assert not names
        double(1)
    assert names == {"double"}


def test_scores_leave_out_equivalents_checks_and_other_operations(planted):
    verdicts = [Verdict(m, {"a/backward": False, "a/layer": True}, "") for m in planted[0]]
    known = {planted[0][0].key: "a reason"}
    modules, files = score(verdicts, known)
    assert modules[0]["mutants"] == len(planted[0]) - 1
    assert modules[0]["equivalent"] == 1
    arithmetic = [m for m in planted[0][1:] if not m.guards]
    assert {row["file"]: row["killed"] for row in files} == {"a/backward": 0, "a/layer": len(arithmetic)}
    assert concerns("a/layer", arithmetic[0])


def test_the_list_of_equivalent_mutants_is_read_and_has_reasons(tmp_path):
    assert all(len(reason) > 20 for reason in equivalents().values())
    bad = tmp_path / "x.toml"
    bad.write_text('[[mutant]]\nkey = "a"\nreason = " "\n')
    with pytest.raises(ValueError, match="without a reason"):
        equivalents(bad)


def test_every_equivalent_mutant_still_exists():
    root = Path(__file__).parents[1]
    modules = {key.split("::")[0] for key in equivalents()}
    keys = {m.key for module in modules for m in mutants_of(module, root / f"{module.replace('.', '/')}.py")}
    assert sorted(set(equivalents()) - keys) == []
