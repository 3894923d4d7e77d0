"""From a case and its answer to a record.  Floor 6.  Nothing here calls an implementation or prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_np.conformance.runner.adapter import Adapter, claims, declares
from lora_np.conformance.runner.answer import Answer
from lora_np.conformance.runner.comparing import Difference, compare, sentence
from lora_np.conformance.runner.levels import limit_in_u
from lora_np.conformance.runner.record import Record
from lora_np.conformance.runner.remote import Claims
from lora_np.conformance.vectors.format import Case

NOT_IMPLEMENTED = "NotImplementedError"
"""What an adapter raises for a case of a claimed capability that it does not claim after all."""


def unclaimed(case: Case, target: Adapter | Claims) -> str:
    """Say why a target does not claim a case; empty if it does."""
    if not claims(target, case.capability):  # type: ignore[arg-type]  # the attributes are what counts
        return f"capability {case.capability} is not claimed"
    if case.result == "invalid":
        unchecked = target.options.get("errors") == "none"
        return "refusing bad input is not claimed" if unchecked else ""
    if case.dtype not in target.dtypes:
        return f"element type {case.dtype} is not claimed"
    if case.option is not None and not declares(target, *case.option):  # type: ignore[arg-type]
        return f"option {case.option[0]} = {case.option[1]} is not declared"
    return ""


def judge(case: Case, answer: Answer, target: Adapter | Claims, level: str) -> Record:
    """Judge one answer: pass, fail, error, or not claimed after all."""
    if answer.raised is not None and answer.raised.name == NOT_IMPLEMENTED and case.result != "invalid":
        return _record(case, "not-claimed", reason=answer.raised.message or "not implemented")
    if answer.mutated:
        return _record(case, "fail", f"wrote into its inputs {', '.join(answer.mutated)}")
    if case.result == "invalid":
        return _judge_refusal(case, answer, target)
    if answer.raised is not None:
        return _record(case, "error", f"raised {answer.raised.name}: {answer.raised.message}")
    if answer.problem:
        return _record(case, "error" if answer.lost else "fail", answer.problem)
    return _judge_numbers(case, answer, level)


def _judge_numbers(case: Case, answer: Answer, level: str) -> Record:
    """Judge outputs by their errors; of several wrong ones the first is shown, and the others are named."""
    found = compare(case, answer.outputs, level)
    worst = max(found, key=lambda difference: (difference.percent, difference.error_u))
    wrong = [difference for difference in found if not difference.ok]
    errors: dict[str, Any] = {"error_u": worst.error_u, "limit_u": worst.limit_u, "percent": worst.percent}
    if not wrong:
        return _record(case, "pass", **errors)
    first = wrong[0]
    problem = sentence(case, first)
    if len(wrong) > 1:
        problem += f"; wrong too: {', '.join(difference.output for difference in wrong[1:])}"
    shown = first.index is not None
    return _record(
        case,
        "fail",
        problem,
        **errors,
        certified=any(_beyond_rounding(case, difference) for difference in wrong),
        output=first.output,
        index=first.index,
        got=first.got if shown else None,
        want=first.want if shown else None,
    )


def _beyond_rounding(case: Case, found: Difference) -> bool:
    """Tell whether an error is more than the rounding of any order of the arithmetic explains."""
    if found.problem:
        return False
    roundings = case.outputs[found.output].roundings
    return found.error_u > limit_in_u("bronze", roundings, case.dtype, case.method)


def _judge_refusal(case: Case, answer: Answer, target: Adapter | Claims) -> Record:
    """Judge what came of input that must be refused.

    Any exception is a refusal; who declares ``options["errors"] = "lora_np"`` is held to our class and words.
    """
    wanted: Mapping[str, Any] = case.error or {}
    name, words = wanted.get("class", "an error"), wanted.get("mentions", ())
    if answer.raised is None:
        if answer.lost:
            return _record(case, "error", answer.problem)
        return _record(
            case, "fail", f"accepted what must be refused with {name}: {case.comment}".rstrip(": ")
        )
    if target.options.get("errors") != "lora_np":
        return _record(case, "pass")
    if answer.raised.name != name:
        return _record(case, "fail", f"raised {answer.raised.name}, expected {name}: {answer.raised.message}")
    missing = [word for word in words if word not in answer.raised.message]
    if missing:
        return _record(
            case, "fail", f"the message of {name} does not mention {missing[0]!r}: {answer.raised.message}"
        )
    return _record(case, "pass")


def _record(case: Case, verdict: str, problem: str = "", **more: Any) -> Record:
    return Record(case.id, case.capability, case.dtype, verdict, problem=problem, **more)


def diagnosis(case: Case, answer: Answer) -> tuple[str, str]:
    """Name what is wrong with the outputs, and say it in a sentence; two empty texts where nothing explains them.

    A mistake of the diagnoser itself must not end a run: it is told in the sentence.
    """
    if not answer.outputs:
        return "", ""
    try:
        if case.operation == "state":
            from lora_np.conformance.state.explaining import explain

            return explain(case, answer.outputs)
        from lora_np.conformance.diagnose import diagnose

        found = diagnose(case, dict(answer.outputs))
    except Exception as error:
        return "", f"(the diagnoser failed: {type(error).__name__}: {error})"
    return ("", "") if found is None else (found.name, found.sentence)
