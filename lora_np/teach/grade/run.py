"""All submissions, some at a time.  Floor 6.  Shows nothing: whoever calls is told of each result.

Threads wait for processes; the judging itself is little work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from lora_np.teach.grade.grading import Course, grade
from lora_np.teach.grade.journal import Journal
from lora_np.teach.grade.marks import Result
from lora_np.teach.grade.submissions import Submission


def run(
    submissions: Sequence[Submission],
    course: Course,
    journal: Journal,
    *,
    jobs: int,
    resume: bool = True,
    done: Callable[[Result], None] = lambda _: None,
) -> tuple[list[Result], bool]:
    """Grade what the journal does not hold yet, `jobs` at a time; return all results, and whether all were done.

    `done` is told of each result.  Ctrl-C stops what runs, and keeps what was done.
    """
    there = journal.begin(resume=resume)
    results = {one.student: there[one.student] for one in submissions if _is_known(one, there)}
    waiting = [one for one in submissions if one.student not in results]
    for result in results.values():
        done(result)
    complete = True
    with ThreadPoolExecutor(jobs, thread_name_prefix="grade") as pool:
        running: set[Future[Result]] = set()
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.add(pool.submit(_safely, waiting.pop(0), course))
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    _keep(future.result(), results, journal, done)
        except KeyboardInterrupt:
            complete = False
            for future in [one for one in running if one.done()]:
                _keep(future.result(), results, journal, done)
            course.cancelled.set()
    return [results[one.student] for one in submissions if one.student in results], complete


def _keep(
    result: Result, results: dict[str, Result], journal: Journal, done: Callable[[Result], None]
) -> None:
    journal.add(result)
    results[result.student] = result
    done(result)


def _is_known(one: Submission, there: dict[str, Result]) -> bool:
    return one.student in there and there[one.student].digest == one.digest()


def _safely(one: Submission, course: Course) -> Result:
    """Grade one; a fault of the grader itself costs this one, and says so."""
    try:
        return grade(one, course)
    except Exception as error:
        note = f"the grader failed, not the student: {type(error).__name__}: {str(error)[:300]}"
        return Result(one.student, one.digest(), notes=(note,))
