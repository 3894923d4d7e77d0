"""Naming what is wrong with an answer: the exercise's suspects, then the oracle's table, then the place.  Floor 6.

A suspect is found guilty if its function returns what the answer returned, on every case.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose import Diagnosis, diagnoses, verdict
from lora_np.conformance.diagnose.search import LAST_RESORTS
from lora_np.teach.comparing import Named, Trial, kind, named, of_other_kind
from lora_np.teach.exercise import Suspect
from lora_np.teach.watching import Problem, call, unwatched

NEAR = 1e-9
"""How near a suspect of another shape than the right answer must come: there is no bound to measure it by."""


def name_it(trials: Sequence[Trial]) -> Problem:
    """Name the mistake that explains all trials; those that are right must agree with it, too."""
    wrong = [trial for trial in trials if trial.problem is None and not trial.ok]
    for suspect in trials[0].task.suspects:
        if all(_made_it(suspect, trial) for trial in trials if trial.problem is None):
            return Problem(suspect.name, suspect.words)
    first = wrong[0]
    for name in first.wrong:
        if (other := _another_output(first, name)) is not None:
            return Problem(
                "OutputsSwapped", f"{name} is {other}: return {', '.join(first.want)} in this order"
            )
        if of_other_kind(first.want[name], first.got[name]):
            words = f"{name} is made of {kind(first.got[name])}, {kind(first.want[name])} are expected"
            return Problem("WrongType", words)
        if first.of_other_shape(name):
            return Problem("WrongShape", _shape_words(name, first.got[name], first.want[name]))
        if first.got[name].dtype.kind == "f" and not np.isfinite(first.got[name]).all():
            return Problem("NotFinite", f"{name} has {_count_of_not_finite(first.got[name])}")
    return _by_the_oracle(wrong) or Problem("Unknown", _how_many(first))


# ---- suspects ----------------------------------------------------------------------------------------------


def _made_it(suspect: Suspect, trial: Trial) -> bool:
    result = call(trial.task, unwatched(suspect.wrong), trial.given)  # a suspect may ask the engine
    made = result if isinstance(result, Problem) else named(trial.task, result, trial.given)
    return not isinstance(made, Problem) and _agree(trial, made)


def _agree(trial: Trial, made: Named) -> bool:
    if made.keys() != trial.got.keys() or any(of_other_kind(trial.got[n], a) for n, a in made.items()):
        return False
    return all(_is_near(trial, name, array) for name, array in made.items())


def _is_near(trial: Trial, name: str, made: Array) -> bool:
    got = trial.got[name]
    if got.shape != made.shape:
        return False
    if got.dtype.kind == "U" or made.dtype.kind != "f":
        return bool((got == made).all())
    if trial.of_other_shape(name):
        return bool(np.allclose(got, made, rtol=NEAR, atol=NEAR, equal_nan=True))
    with np.errstate(all="ignore"):
        room = trial.question(name).room(made)
        near = (np.abs(got - made) <= room) | (got == made) | (np.isnan(got) & np.isnan(made))
    return bool(near.all())


# ---- the oracle's table ------------------------------------------------------------------------------------


def _by_the_oracle(wrong: Sequence[Trial]) -> Problem | None:
    """Ask the oracle's table; one factor in the exercise's own letters says more than its generic names."""
    factor, in_letters = _factor(wrong)
    if factor and in_letters and not wrong[0].task.oracle:
        return Problem("ConstantFactor", factor)
    found: list[list[Diagnosis]] = []
    for trial in wrong:
        numbers = {name: trial.got[name] for name in trial.case.outputs if not trial.of_other_shape(name)}
        found.append(diagnoses(trial.case, numbers))
    one = verdict(found)
    if one is not None and not _is_believable(one, found, wrong):
        one = None
    if one is None or (one.name in LAST_RESORTS and factor):
        return Problem("ConstantFactor", factor) if factor else None
    return Problem(one.name, f"{one.output}: {one.sentence}")


def _is_believable(one: Diagnosis, found: Sequence[Sequence[Diagnosis]], wrong: Sequence[Trial]) -> bool:
    """Tell whether a name says more than chance: of single numbers, and of how numbers look, it must fit every time."""
    if one.name.lower().endswith("float16") and not wrong[0].task.oracle:
        return False  # no precision was spoken of, and large sizes S leave room for it
    single, of_looks = wrong[0].want[one.output].size == 1, one.name in LAST_RESORTS
    if not (single or of_looks):
        return True
    everywhere = all(one.name in [other.name for other in diagnosed] for diagnosed in found)
    return everywhere and not (single and (of_looks or len(wrong) == 1))


POWERS = (("1/{}", -1.0), ("{}", 1.0), ("1/√{}", -0.5), ("√{}", 0.5), ("{}²", 2.0), ("1/{}²", -2.0))


def _factor(wrong: Sequence[Trial]) -> tuple[str, bool]:
    """Say by which factor the first wrong output is off in every case, and whether a letter explains it; else ""."""
    name = wrong[0].wrong[0]
    known = [trial for trial in wrong if name in trial.wrong]
    factors = [_factor_of(trial, name) for trial in known]
    if None in factors or 0.0 in factors or (len(known) == 1 and known[0].want[name].size == 1):
        return "", False
    size = known[0].want[name].size
    what = f"all {size} elements of {name} are" if size > 1 else f"{name} is"
    count = f"{what} off by {factors[0]:.6g}"
    values = [_letters(trial) for trial in known]
    for letter in ("r", "s", "N", "d", "k"):
        for words, power in POWERS:
            if _explains(letter, power, values, factors):
                return f"{count} = {words.format(letter)}", True
    if all(_equal(factor, factors[0]) for factor in factors):
        return f"{count}, in every case", False
    return "", False


def _explains(letter: str, power: float, values: list[dict[str, float]], factors: list[float | None]) -> bool:
    """Tell whether a power of one letter is the factor in every case, and not 1 in all of them."""
    letters = [found.get(letter, 0.0) for found in values]
    return min(letters) > 0 and all(
        _equal(factor, value**power) for factor, value in zip(factors, letters, strict=True)
    )


def _equal(factor: float | None, value: float | None) -> bool:
    return factor is not None and value is not None and abs(factor - value) <= NEAR * abs(value)


def _factor_of(trial: Trial, name: str) -> float | None:
    """Find the one factor between what was got and what was wanted."""
    got, want = trial.got[name], trial.want[name]
    if trial.of_other_shape(name) or want.size == 0 or want.dtype.kind == "U":
        return None
    where = np.unravel_index(np.argmax(np.abs(want)), want.shape)
    if not want[where]:
        return None
    factor = float(got[where] / want[where])
    near = np.abs(got - factor * want) <= trial.question(name).room(factor * want)
    return factor if near.all() and np.isfinite(factor) else None


def _letters(trial: Trial) -> dict[str, float]:
    """Collect the numbers that factors are made of: the rank, the scale, the sizes."""
    shapes = {name: value.shape for name, value in trial.given.items() if isinstance(value, np.ndarray)}
    found: dict[str, float] = {}
    for names, axis, letter in (("X gY", 0, "N"), ("W0 W", 0, "d"), ("W0 W", 1, "k"), ("A", 0, "r")):
        for name in names.split():
            if len(shapes.get(name, ())) == 2:
                found[letter] = float(shapes[name][axis])
    for names, letter in (("rank r", "r"), ("scale s", "s"), ("N", "N"), ("d", "d"), ("k", "k")):
        for name in names.split():
            if isinstance(trial.given.get(name), (int, float)):
                found[letter] = float(trial.given[name])
    return found


def _another_output(trial: Trial, name: str) -> str | None:
    """Find the output that stands in another's place."""
    for other, want in trial.want.items():
        got = trial.got[name]
        if other == name or want.dtype.kind != "f" or want.shape != got.shape or want.size < 2:
            continue
        if np.allclose(got, want, rtol=NEAR, atol=0) and not np.array_equal(want, trial.want[name]):
            return other
    return None


# ---- words -------------------------------------------------------------------------------------------------


def _shape_words(name: str, got: Array, want: Array) -> str:
    words = f"{name} has shape {got.shape}, {want.shape} is expected"
    if got.ndim == 2 and got.shape == want.shape[::-1]:
        return f"{words}: is it transposed?"
    if got.size == want.size > 1:
        return f"{words}: the right number of elements, in another shape"
    return words


def _count_of_not_finite(array: Array) -> str:
    count = int((~np.isfinite(array)).sum())
    return f"{count} of {array.size} elements that are NaN or infinite"


def _how_many(trial: Trial) -> str:
    name = trial.wrong[0]
    beyond = trial.beyond(name)
    if beyond.size == 1:
        return f"{name} is wrong"
    return f"{int(beyond.sum())} of {beyond.size} elements of {name} are wrong"


def first_wrong(trial: Trial) -> list[str]:
    """Show the first wrong element, where there is one to show."""
    name = trial.wrong[0]
    if any(trial.of_other_shape(one) for one in trial.wrong):
        return []
    index = tuple(int(i) for i in np.argwhere(trial.beyond(name))[0])
    place = f"{name}[{', '.join(map(str, index))}]" if index else name
    return [f"{place} is {_shown(trial.got[name][index])}, {_shown(trial.want[name][index])} is expected"]


def the_case(trial: Trial) -> str:
    """Show the arguments of a case: small ones whole, others by their shape."""
    return f"case {trial.number}: " + ", ".join(_argument(n, v) for n, v in trial.given.items())


def _shown(value: object) -> str:
    return f"{float(value):.6g}" if isinstance(value, (float, np.floating)) else str(value)


def _argument(name: str, value: object) -> str:
    if isinstance(value, np.ndarray) and value.size > 4:
        return f"{name} of shape {value.shape}"
    if callable(value):
        return f"{name} a function"
    shown = (
        np.array2string(value, precision=4, separator=", ") if isinstance(value, np.ndarray) else repr(value)
    )
    return f"{name} = {' '.join(shown.split())[:80]}"
