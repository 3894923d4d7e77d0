"""A student's function as the judge sees it: called here, run in the submission's process.  Floor 6.

Arguments go there, what comes back is compared here.  Arrays that the function wrote into are written into here too,
so that the judge sees it; a function among the arguments stays here, and the submission calls it from afar.
"""

from __future__ import annotations

import builtins
import inspect
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from lora_np.teach.exercise import Task
from lora_np.teach.grade import messages
from lora_np.teach.grade.messages import ChannelError
from lora_np.teach.grade.sandbox import Sandbox, StoppedError
from lora_np.teach.watching import Problem, unwatched

MOST_CALLS = 10_000
"""How often a submission may call a function that it was given, in one call."""


def remote(task: Task, found: dict[str, Any], sandbox: Sandbox, *, seconds: float) -> Any:
    """Make the function that the judge calls, from what the process found under the exercise's name.

    `seconds` is how long the process may be silent in one call.  What is no function is a thing of the same type name.
    """
    if "type" in found:
        return messages.stranger(str(found["type"])[:100])
    name = name_of(task)
    late: list[Problem] = []

    def answer(*args: Any) -> Any:
        if late:  # one case that never ended is enough
            return late[0]
        result = _called(task, name, args, sandbox, seconds)
        if isinstance(result, Problem) and result.name == "TimeLimit":
            late.append(result)
        return result

    seen = unwatched(answer)
    seen.__name__ = name
    seen.__signature__ = _signature(found.get("takes"))  # type: ignore[attr-defined]
    return seen


def name_of(task: Task) -> str:
    """Name the function that an exercise asks for.

    >>> name_of(Task(id="05.2", signature="backward(gY, X)")), name_of(Task(id="05.quiz"))
    ('backward', 'quiz')
    """
    return task.signature.partition("(")[0] or "quiz"


def _signature(takes: Any) -> inspect.Signature:
    """Make the signature again that the process described; any arguments where it could not."""
    anything = inspect.Signature([inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)])
    if not isinstance(takes, list):
        return anything
    try:
        return inspect.Signature(
            [
                inspect.Parameter(
                    str(name),
                    list(inspect._ParameterKind)[kind],
                    default=None if has else inspect.Parameter.empty,
                )
                for name, kind, has in takes
            ]
        )
    except (ValueError, TypeError, IndexError):
        return anything


def _called(task: Task, name: str, args: tuple[Any, ...], sandbox: Sandbox, seconds: float) -> Any:
    given: list[Callable[..., Any]] = []
    sandbox.order(
        do="call",
        id=task.id,
        name=name,
        forbidden=task.forbidden,
        allowed=task.allowed,
        arguments=_pickled(list(args), given),
    )
    for _ in range(MOST_CALLS):
        message = sandbox.answer(seconds=seconds)
        if "call" not in message:
            return _result(message, args, sandbox)
        sandbox.tell(_asked(message, given))
    sandbox.end = "it is stopped: it calls the function that it was given without end"
    sandbox.stop()
    raise StoppedError(sandbox.end)


def _pickled(args: list[Any], given: list[Callable[..., Any]]) -> bytes:
    """Pickle arguments; a function among them becomes its number in `given`."""
    functions = list(_functions(args))

    class Pickling(pickle.Pickler):
        def persistent_id(
            self, value: Any
        ) -> Any:  # asked for every part, also for how arrays are made again
            if not any(value is one for one in functions):
                return None
            given.append(value)
            return len(given) - 1, getattr(value, "__name__", "function")

    content = io.BytesIO()
    Pickling(content).dump(args)
    return content.getvalue()


def _functions(value: Any) -> Iterator[Callable[..., Any]]:
    if inspect.isroutine(value):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _functions(one)
    elif isinstance(value, dict):
        yield from _functions(list(value.values()))


def _asked(message: dict[str, Any], given: list[Callable[..., Any]]) -> bytes:
    """Call a function that the answer was given, and say what came back or was raised."""
    args, keywords = _plain(message.get("arguments"))
    try:
        result = given[int(message["call"])](*args, **keywords)
    except Exception as error:
        return pickle.dumps(("raised", _sendable(error), args, keywords))
    try:
        return pickle.dumps(("returned", result, args, keywords))
    except Exception as error:  # a generator, a lambda
        problem = TypeError(f"the function returned what cannot be sent: {error}")
        return pickle.dumps(("raised", problem, [], {}))


def _plain(said: Any) -> tuple[list[Any], dict[str, Any]]:
    try:
        args, keywords = messages.decode(said)
        return list(args), {str(key): value for key, value in dict(keywords).items()}
    except (ChannelError, TypeError, ValueError):
        return [], {}


def _sendable(error: Exception) -> Exception:
    """Make an error that the other process can unpickle: a builtin of the same name, or the nearest."""
    kind = type(error)
    known = (
        kind
        if getattr(builtins, kind.__name__, None) is kind
        else next(base for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base)
    )
    try:
        made: Exception = known(str(error))
        return made
    except TypeError:  # one that takes more than a sentence
        return ValueError(str(error))


def _result(message: dict[str, Any], args: tuple[Any, ...], sandbox: Sandbox) -> Any:
    """Say what the call came to: a value, a `Problem`, or an `AssertionError`, which the judge reads itself."""
    if "asserts" in message:
        raise AssertionError(str(message["asserts"])[:500])
    problem = message.get("problem")
    if isinstance(problem, list) and len(problem) == 2:
        return Problem(str(problem[0])[:100], str(problem[1])[:1000])
    try:
        now = message["arguments"]
        for before, said in zip(args, now, strict=True):
            if not callable(before):
                messages.write_back(before, messages.decode(said))
        return messages.decode(message["returned"])
    except (ChannelError, KeyError, TypeError, ValueError):
        sandbox.end = "it is stopped: it writes into the grader's channel"
        sandbox.stop()
        raise StoppedError(sandbox.end) from None
