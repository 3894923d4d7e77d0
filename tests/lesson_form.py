"""The form of a lesson: a list of complaints about its text.  `python -m tests.lesson_form 05` prints those of one.

What a lesson prints when it runs, and where its links lead, is looked at in the tests themselves.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise

from app.rooms import ROOMS
from lora_np.equations import EQUATIONS
from lora_np.errors import LoraNpError
from lora_np.teach.build.notebooks import Part, parts
from lora_np.teach.build.strip import BEGIN, CHECK, chunks, strip
from lora_np.teach.exercise import Quiz
from lora_np.teach.exercises import exercises
from lora_np.teach.lessons import EQUATION_LINE, lessons, links
from lora_np.teach.running import _names
from tests.lesson_runs import master

HEADER = (
    r"\A# {number} · \S.*\n\n\*\*Time:\*\* \d+ minutes · \*\*Before:\*\* .+?\n\n\*\*Goals:\*\*.+?"
    r"\n\n\*\*The mistake this cures:\*\* [^\n]+"
)
TAGS = {"exercise", "check", "picture", "solution", "ungraded"}
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
EXERCISE = re.compile(r"^### Exercise (\d\d\.\d) (★{1,3}) · (.+)$", re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.])(\d[\d,_]*(?:\.\d+)?(?:e[+-]?\d+)?)(\s?%)?")
LETTERS = ("a", "b", "c", "d")


def complaints(number: str, text: str) -> list[str]:
    """List what is wrong with the form of a lesson."""
    try:
        strip(text)
        found = parts(text)
    except LoraNpError as error:
        return [str(error)]
    return [words for rule in RULES for words in rule(number, text, found)]


# ---- prose ---------------------------------------------------------------------------------------------------


def header(number: str, text: str, found: tuple[Part, ...]) -> Iterator[str]:
    if not text.startswith("# %% [markdown]\n"):
        yield "it must start with `# %% [markdown]`"
    if not re.match(HEADER.format(number=number), found[0].cell.text, re.DOTALL):
        yield "the first cell needs title, **Time:**, **Before:**, **Goals:**, **The mistake this cures:**"


def headings(number: str, text: str, found: tuple[Part, ...]) -> Iterator[str]:
    levels = [
        len(mark) for part in prose(found) for mark in re.findall(r"^(#+) ", part.cell.text, re.MULTILINE)
    ]
    if levels[:1] != [1] or levels.count(1) != 1:
        yield "one title `# `, and first"
    if any(after > before + 1 for before, after in pairwise(levels)):
        yield f"headings skip a level: {levels}"
    if max(levels, default=0) > 3:
        yield "no heading below ###"
    sections = [title for part in prose(found) for title in SECTION.findall(part.cell.text)]
    if sections[-2:] != ["Exit quiz", "Where next"]:
        yield f"the last sections must be Exit quiz and Where next, not {sections[-2:]}"


def equations(number: str, text: str, found: tuple[Part, ...]) -> Iterator[str]:
    keys = [key for part in prose(found) for key in EQUATION_LINE.findall(part.cell.text)]
    if not keys:
        yield "no equation of the registry"
    for key in keys:
        if key not in EQUATIONS:
            yield f"no equation has the key {key}"
    for part in prose(found):
        lines = part.cell.text.split("\n")
        for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
            if EQUATION_LINE.fullmatch(line) and (before.strip() or after.strip()):
                yield f"{line} needs an empty line before and after"
        if "$" in part.cell.text:
            yield f"LaTeX in prose: {part.cell.text[max(0, part.cell.text.index('$') - 30) :][:60]!r}"


def addresses(number: str, text: str, found: tuple[Part, ...]) -> Iterator[str]:
    there = [target for part in found for target in links(part.cell.text)]
    if len({target for kind, target in there if kind == "app"}) < 2:
        yield "at least two links into the app"
    rooms, numbers = {room.path for room in ROOMS}, {lesson.number for lesson in lessons()}
    for kind, target in there:
        if kind == "app" and target.partition("?")[0] not in rooms:
            yield f"the app has no room {target.partition('?')[0]}"
        if kind == "lesson" and target not in numbers:
            yield f"there is no lesson {target}"
    for part in prose(found):
        for target in re.findall(r"\]\(([^)]*)\)", part.cell.text):
            if not re.match(r"(app|lesson):|https://", target):
                yield f"a link to {target}"


# ---- cells ---------------------------------------------------------------------------------------------------


def tags(number: str, text: str, found: tuple[Part, ...]) -> Iterator[str]:
    for part in found:
        if set(part.cell.tags) - TAGS or len(part.cell.tags) > 1:
            yield f"cell {part.place}: tags {part.cell.tags}, one of {sorted(TAGS)} expected"
        if part.explains and part.cell.kind != "markdown":
            yield f"cell {part.place}: a solution cell is prose"
    for chunk in chunks(text):
        if chunk.is_code and "exercise" not in chunk.tags and any(BEGIN in line for line in chunk.lines):
            yield f"line {chunk.start}: a solution outside a cell tagged exercise"
    if sum("picture" in part.cell.tags for part in found) != 1:
        yield "one cell tagged picture"
    if not any(part.explains for part in found):
        yield "no cell tagged solution explains the quiz"


def exercise_cells(number: str, text: str, found: tuple[Part, ...]) -> Iterator[str]:
    seen = [part for part in found if part.asks or part.checks]
    for asks, checks in zip(seen[::2], seen[1::2], strict=False):
        if not (asks.asks and checks.checks):
            yield f"cell {asks.place}: an exercise cell, then its check cell"
            return
        if not CHECK.fullmatch(checks.cell.text):
            yield f'cell {checks.place}: exactly check("{number}.1", function)'
        if BEGIN not in asks.cell.text:
            yield f"cell {asks.place}: no {BEGIN}"
        functions = [one for one in ast.parse(asks.cell.text).body if isinstance(one, ast.FunctionDef)]
        if [one.name for one in functions] != [asks.function]:
            yield f"cell {asks.place}: it must define {asks.function} alone"
        elif not ast.get_docstring(functions[0]):
            yield f"cell {asks.place}: {asks.function} has no docstring"
    if len(seen) % 2:
        yield "an exercise without a check"
    ids = [part.exercise for part in seen if part.checks]
    if ids != [*(f"{number}.{n}" for n in range(1, len(ids))), f"{number}.quiz"] or len(ids) < 4:
        yield f"exercises {number}.1, .2, .3 ... and {number}.quiz expected, in order, not {ids}"


def independence(number: str, text: str, found: tuple[Part, ...]) -> Iterator[str]:
    """An answer needs nothing of other answers, and nothing else needs an answer."""
    known, functions = set(dir(builtins)) | {"__file__", "__name__"}, set[str]()
    for part in found:
        if part.cell.kind != "code" or part.checks:
            continue
        names = [_names(node) for node in ast.parse(part.cell.text).body]
        binds = set[str]().union(*(bound for bound, _ in names))
        uses = set[str]().union(*(used for _, used in names))
        if part.asks:
            lost = uses - known - binds
            if lost:
                yield f"cell {part.place}: {part.function} needs {sorted(lost)}, which no earlier plain cell defines"
            functions.add(part.function)
        else:
            used = uses & functions - known - binds
            if used:
                yield f"cell {part.place}: it uses the student's {sorted(used)}"
            known |= binds


def registry(number: str, text: str, found: tuple[Part, ...]) -> Iterator[str]:
    """Headings, functions and the exercises' own data agree."""
    tasks = {task.id: task for task in exercises(number)}
    asked = {part.exercise: part for part in found if part.asks}
    if list(tasks) != list(asked):
        yield f"the lesson asks {list(asked)}, its exercises are {list(tasks)}"
        return
    headed = {
        id: (len(stars), title)
        for part in prose(found)
        for id, stars, title in EXERCISE.findall(part.cell.text)
    }
    for id, task in tasks.items():
        if isinstance(task, Quiz):
            continue
        if headed.get(id) != (task.stars, task.title):
            yield f"{id}: the heading says {headed.get(id)}, the exercise {(task.stars, task.title)}"
        function = next(
            one for one in ast.parse(asked[id].cell.text).body if isinstance(one, ast.FunctionDef)
        )
        written = f"{function.name}({ast.unparse(function.args)})"
        if written != task.signature:
            yield f"{id}: the cell defines {written}, the exercise {task.signature}"


def quiz(number: str, text: str, found: tuple[Part, ...]) -> Iterator[str]:
    whole = "\n\n".join(part.cell.text for part in prose(found) if not part.explains)
    asked = whole.rpartition("## Exit quiz")[2].partition("## Where next")[0]
    _, *questions = re.split(r"^\*\*(\d)\.\*\* ", asked, flags=re.MULTILINE)
    numbers, bodies = questions[::2], questions[1::2]
    if not 3 <= len(numbers) <= 5 or numbers != [str(n) for n in range(1, len(numbers) + 1)]:
        yield f"three to five questions **1.**, **2.** ..., not {numbers}"
    for n, body in zip(numbers, bodies, strict=True):
        if tuple(re.findall(r"^(?:[-*] )?([a-z])\) \S", body, re.MULTILINE)) != LETTERS:
            yield f"question {n}: choices a) to d), a line each"
    task = next((task for task in exercises(number) if isinstance(task, Quiz)), None)
    if task is not None and not len(task.answers) == len(task.again) == len(numbers):
        yield f"{len(numbers)} questions, {len(task.answers)} answers, {len(task.again)} places to read again"


def frugal(number: str, text: str, found: tuple[Part, ...]) -> Iterator[str]:
    allowed = {"14"} if number == "14" else set()
    for module in ("torch", "numba", "requests", "urllib", "pandas", "scipy"):
        if re.search(rf"^\s*(import|from) {module}\b", text, re.MULTILINE) and not (
            module == "numba" and allowed
        ):
            yield f"it imports {module}"
    if re.search(r"np\.random\.(seed|rand|randn|normal)\(|default_rng\(\)", text):
        yield "randomness comes from np.random.default_rng(0)"


RULES: tuple[Callable[[str, str, tuple[Part, ...]], Iterator[str]], ...] = (
    header, headings, equations, addresses, tags, exercise_cells, independence, registry, quiz, frugal,
)  # fmt: skip


# ---- numbers -------------------------------------------------------------------------------------------------


def prose(found: tuple[Part, ...]) -> list[Part]:
    return [part for part in found if part.cell.kind == "markdown"]


def unfounded(text: str, output: str) -> list[str]:
    """List the numbers of the prose that stand neither in the code nor in what it prints.

    Those with a decimal point, a percent sign or three digits.  Free are the id of an exercise, what a link or a
    piece of code holds, a power such as 1e-10, and the quiz, whose numbers are its own.  A share may be printed as a
    fraction or in percent.
    """
    found = parts(text)
    run = "\n".join([*(part.cell.text for part in found if part.cell.kind == "code"), output])
    there = {value(word) for word in re.findall(r"\d[\d_,]*(?:\.\d+)?(?:e[+-]?\d+)?", run)}
    ids = {part.exercise for part in found}
    told = "\n\n".join(part.cell.text for part in prose(found) if not part.explains).partition(
        "## Exit quiz"
    )[0]
    told = re.sub(r"\]\([^)]*\)|`[^`]*`|[Ee]xercise \d\d\.\d", " ", told)
    lost = []
    for match in NUMBER.finditer(told):
        figure, percent = match[1].rstrip(",_"), match[2]
        weighty = "." in figure or percent or ("e" not in figure and value(figure) >= 100)
        if not weighty or figure in ids or value(figure) in there:
            continue
        if not (percent and round(value(figure) / 100, 12) in there):
            lost.append(match[0].strip())
    return lost


def value(word: str) -> float:
    return float(re.sub(r"[,_]", "", word))


if __name__ == "__main__":
    for lesson in lessons():
        if lesson.number in sys.argv[1:] or not sys.argv[1:]:
            ended = master(lesson.number)
            said = [*complaints(lesson.number, lesson.text), *ended.errors.splitlines()[-1:]]
            said += [f"{word} is not printed" for word in unfounded(lesson.text, ended.output)]
            print("\n".join(f"{lesson.name}: {words}" for words in said or ["✓"]))
