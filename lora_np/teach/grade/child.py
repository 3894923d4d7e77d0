"""The process of a submission: it runs the cells one by one, then answers calls of the judge.  Floor 6.

It starts with NumPy and little else.  `lora_np.teach` is replaced by a stand-in whose `check` notes which function
answers which exercise and whose `hint` and `picture` do nothing: checks inside a submission are harmless, and neither
the hidden cases nor what is expected is in this process.  Nothing is judged here.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import io
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from types import CodeType, ModuleType
from typing import Any, NoReturn

from lora_np.teach import watching
from lora_np.teach.exercise import Task
from lora_np.teach.grade import kernel, messages
from lora_np.teach.grade.fence import Fence
from lora_np.teach.grade.limits import take
from lora_np.teach.grade.stopping import TimeUp, alarm, said_of
from lora_np.teach.watching import Problem, guarded

MAIN = "__main__"


class Process:
    """One submission's process: where it hears and speaks, what it knows."""

    def __init__(self, hears: int, speaks: int) -> None:
        self.hears, self.speaks = hears, speaks
        self.checked: dict[str, Any] = {}
        self.module = ModuleType(MAIN)
        self.fence: Fence | None = None
        self.limits: dict[str, float] = {}

    # ---- speaking and hearing ---------------------------------------------------------------------------------

    def say(self, **message: Any) -> None:
        """Send a message to the judge."""
        messages.send(self.speaks, messages.packed(message))

    def hear(self) -> Any:
        """Wait for what the judge sends: our own words, so unpickled."""
        return pickle.loads(messages.receive(self.hears))

    # ---- the cells --------------------------------------------------------------------------------------------

    def run_cells(self, cells: list[tuple[int, str, str]]) -> None:
        """Run (number, code, where) each; say which one is running, and what it raises."""
        for number, code, where in cells:
            self.say(cell=number)
            problem = self._run_cell(code, where)
            if problem:
                self.say(failed=where, words=problem)
        self.say(ready=True)

    def _run_cell(self, code: str, where: str) -> str:
        try:
            with alarm(self.limits["cell"]):
                exec(compile(code, f"<{where}>", "exec", dont_inherit=True), self.module.__dict__)
        except TimeUp:
            return f"is stopped after {self.limits['cell']:g} s"
        except SyntaxError as error:
            line = f" (line {error.lineno})" if error.lineno else ""
            return f"SyntaxError: {error.msg}{line}"
        except BaseException as error:
            return said_of(error)
        return ""

    # ---- the answers ------------------------------------------------------------------------------------------

    def find(self, id: str, name: str) -> dict[str, Any]:
        """Describe the answer to an exercise: what was checked under its id, or the function of its name."""
        answer = self.checked.get(id, self.module.__dict__.get(name))
        if answer is None:
            defined = [key for key, value in self.module.__dict__.items() if inspect.isfunction(value)]
            return {"missing": difflib.get_close_matches(name, defined, 1, 0.6)}
        if not callable(answer):
            return {"type": type(answer).__name__[:100]}
        try:
            parameters = inspect.signature(answer).parameters.values()
        except (TypeError, ValueError):
            return {"takes": None}
        return {"takes": [[one.name, int(one.kind), one.default is not one.empty] for one in parameters]}

    def call(self, order: dict[str, Any]) -> None:
        """Call an answer under the watch, and say what came back and how the arguments look now."""
        answer: Any = self.checked.get(order["id"], self.module.__dict__.get(order["name"]))
        task = Task(id=order["id"], forbidden=order["forbidden"], allowed=order["allowed"])
        arguments = self._arguments(order["arguments"])

        def run() -> Any:
            result = answer(*arguments)
            return result if result is Ellipsis else _Encoded(messages.encode(result))

        late: list[Problem] = []

        def rang() -> None:
            late.append(Problem("TimeLimit", f"it does not come back within {self.limits['call']:g} s"))
            if self.fence is not None:
                self.fence.answering = False  # an alarm inside the watch switches the watch off

        result: Any = None
        try:
            with self._answering(), alarm(self.limits["call"], rang):
                result = guarded(task, run)
        except AssertionError as error:
            if not late:
                self.say(asserts=str(error)[:500])
                return
        except BaseException as error:
            result = Problem("Raises", f"it raises {said_of(error)}")
        result = late[0] if late else result
        if isinstance(result, _Encoded):
            now = [None if callable(one) else messages.encode(one) for one in arguments]
            content = messages.packed({"returned": result.said, "arguments": now})
            if len(content) <= messages.MOST_BYTES:
                messages.send(self.speaks, content)
            else:
                self.say(problem=["WrongType", "it returns too much to be looked at"])
        elif isinstance(result, Problem):
            self.say(problem=[str(result.name)[:100], str(result.words)[:1000]])
        else:
            self.say(problem=["Raises", "it returns what cannot be read"])

    def _arguments(self, content: bytes) -> list[Any]:
        """Unpack the arguments; a function among them is called where the judge is."""
        process = self

        class Unpacking(pickle.Unpickler):
            def persistent_load(self, pid: Any) -> Any:
                return process._remote(*pid)

        values: list[Any] = Unpacking(io.BytesIO(content)).load()
        return values

    def _remote(self, number: int, name: str) -> Callable[..., Any]:
        def remote(*args: Any, **kwargs: Any) -> Any:
            said = messages.encode([list(args), kwargs])
            self.say(call=number, arguments=said)
            kind, content, args_now, keywords_now = self.hear()
            for before, after in zip(args, args_now, strict=False):
                messages.write_back(before, after)
            for key, after in keywords_now.items():
                messages.write_back(kwargs[key], after)
            if kind == "raised":
                raise content
            return content

        remote.__name__ = remote.__qualname__ = name
        return remote

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        if self.fence is None:
            yield
            return
        self.fence.answering = True
        try:
            yield
        finally:
            self.fence.answering = False

    # ---- from the first word to the last ----------------------------------------------------------------------

    def serve(self) -> None:
        """Obey orders until the judge says it is enough, or is gone."""
        while True:
            try:
                order = self.hear()
            except (messages.ChannelError, EOFError):
                return
            if order["do"] == "run":
                self.run_cells(order["cells"])
            elif order["do"] == "find":
                self.say(found=self.find(order["id"], order["name"]))
            elif order["do"] == "call":
                self.call(order)
            else:
                return


class _Encoded:
    """What an answer returned, in the words that go to the judge: encoded under the watch."""

    def __init__(self, said: Any) -> None:
        self.said = said


def stand_in(module: ModuleType, checked: dict[str, Any]) -> None:
    """Give a module what a submission imports from `lora_np.teach`, and nothing more to be found in it."""

    def check(id: str, answer: Any = None) -> bool:
        checked[str(id)] = answer
        return True

    def nothing(*_: Any, **__: Any) -> None:
        return None

    for name, function in (("check", check), ("hint", nothing), ("picture", nothing)):
        setattr(module, name, function)
    module.__path__ = []


def trusted() -> frozenset[CodeType]:
    """List the code that may switch the watch on and off: the watch's own."""
    functions = [one for one in vars(watching).values() if inspect.isfunction(one)]
    return frozenset(inspect.unwrap(one).__code__ for one in functions if one.__module__ == watching.__name__)


def main(hears: int, speaks: int) -> NoReturn:
    """Be the process of a submission: take the limits, close the fence, serve."""
    process = Process(hears, speaks)
    first = process.hear()
    process.limits = first["limits"]
    take(memory_bytes=int(first["memory_bytes"]), cpu_seconds=int(first["cpu_seconds"]))
    stand_in(sys.modules["lora_np.teach"], process.checked)
    sys.modules[MAIN] = process.module
    sys.argv = ["submission.py"]
    sys.path.append(os.getcwd())
    process.module.__file__ = os.path.join(os.getcwd(), sys.argv[0])
    process.fence = Fence(
        own=os.path.realpath(os.getcwd()),
        closed=tuple(first["closed"]),
        tell=lambda what: process.say(refused=what),
        trusted=trusted(),
    )
    kernel.hold(process.fence.own)
    process.fence.close()
    process.say(started=True)
    process.serve()
    os._exit(0)
