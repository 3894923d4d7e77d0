"""Many visitors of one server: nobody's session ends another's, and each costs a bounded amount of memory."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.browser.marks import BROWSER

pytestmark = BROWSER
VISITORS = 20
MEGABYTE = 2**20
PER_SESSION = 25 * MEGABYTE  # what a session may keep: three rooms visited, widgets, figures under way


def resident(pid: int) -> int:
    """Read how much memory a process holds, in bytes."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("no /proc on this system: the memory of the server cannot be read")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def test_three_visitors_at_once(server, visit):
    """Under the workqueue layer: a kernel entered by two threads would end the process, and everybody's session."""
    visitors = [visit() for _ in range(3)]
    for number, visitor in enumerate(visitors, start=1):
        visitor.page.goto(f"{server}/rank?kind=random&rows=128&r={number}&noise=0.{number}")
    for number, visitor in enumerate(visitors, start=1):
        visitor.page.goto(f"{server}/prune?ratio=0.{number}")
    for visitor in visitors:
        visitor.drawn()
        assert visitor.plots() >= 2
        visitor.check()


def test_twenty_sessions_at_once_work_and_stay_small(served, visit):
    """Twenty sessions open three rooms each, all at the same time; then each still answers, in bounded memory."""
    address, process = served
    first = visit()
    for path in ("rank", "prune", "params"):  # what all sessions share is loaded before anybody is counted
        first.open(f"{address}/{path}")
    before = resident(process.pid)
    with Crowd(address, VISITORS) as crowd:
        for path in ("rank", "prune", "params"):
            answers = crowd.go(path)
            assert len(answers) == VISITORS
            assert all(answers)
        grown = resident(process.pid) - before
    each, all_of_it = grown / VISITORS / MEGABYTE, resident(process.pid) / MEGABYTE
    print(f"{VISITORS} sessions: {each:.1f} MB each; the server: {all_of_it:.0f} MB")
    assert grown <= VISITORS * PER_SESSION
    first.open(f"{address}/cost")
    first.check()


class Crowd:
    """Sessions without a browser each: what a browser says over the socket, said by threads."""

    def __init__(self, address: str, visitors: int) -> None:
        self.address, self.visitors = address, visitors

    def __enter__(self) -> "Crowd":
        from tests.browser.session import Session

        self.pool = ThreadPoolExecutor(self.visitors)
        self.sessions = list(self.pool.map(lambda _: Session(self.address), range(self.visitors)))
        return self

    def go(self, path: str) -> list[bool]:
        """Let every session open a room, each with another state; tell who got it drawn."""
        numbered = enumerate(self.sessions, start=1)
        query = "r={0}&ratio=0.{0}&adapter_rank=8"
        return list(self.pool.map(lambda one: one[1].open(path, query.format(one[0] % 9 + 1)), numbered))

    def __exit__(self, *_: object) -> None:
        for session in self.sessions:
            session.close()
        self.pool.shutdown()
