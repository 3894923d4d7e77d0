"""The app in a real browser: every room by its deep link, in both schemes, offline, with several visitors.

Set LORA_NP_SHOTS to a folder to keep the screenshots; LORA_NP_WIDTH to look at another width than 1280.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.browser,
    # the browser's driver and its event loop are closed by the interpreter's end, not before
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("streamlit", reason="streamlit is not installed")

ROOT = Path(__file__).parents[2]
ROOMS = {"home": "/", "rank": "/rank", "cost": "/cost", "params": "/params", "prune": "/prune"}
PLOTS = {"home": 1, "rank": 3, "cost": 2, "params": 3, "prune": 2}
PATIENCE_MS = 120_000
WIDTH = int(os.environ.get("LORA_NP_WIDTH", "1280"))
# Streamlit asks for these beside the room's address before it asks at the root; the 404 is its own
EXPECTED_404 = ("/_stcore/health", "/_stcore/host-config")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The app as a user starts it, with Numba's most fragile threading layer."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1", "--server.headless", "true"]
    environment = os.environ | {"NUMBA_THREADING_LAYER": "workqueue"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process)
        yield address
        assert process.poll() is None, f"the server died with status {process.returncode}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        assert process.poll() is None, f"the server died with status {process.returncode}"
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail("the server did not get healthy")


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        running = driver.chromium.launch(executable_path=chromium, args=flags)
        yield running
        running.close()


class Visit:
    """One visitor's page, with everything it asked for and complained of."""

    def __init__(self, browser, scheme: str = "light") -> None:
        viewport = {"width": WIDTH, "height": 900}
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _listen(self, message) -> None:
        expected = str(message.location.get("url")).endswith(EXPECTED_404)
        if message.type == "error" and not expected:
            self.complaints.append(message.text)

    def open(self, address: str, plots: int) -> None:
        """Go there and wait until the room is drawn; then look at all of it."""
        self.page.goto(address)
        self.page.get_by_role("heading", level=1).wait_for()
        self.grow()
        self.page.wait_for_function(
            "n => document.querySelectorAll('.js-plotly-plot .main-svg').length >= n", arg=plots
        )
        self.page.wait_for_function("() => !document.querySelector('[data-testid=stStatusWidget]')")
        self.grow()

    def grow(self) -> None:
        """Make the window as high as the page, so that everything is drawn."""
        height = self.page.evaluate(
            "() => document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 900"
        )
        self.page.set_viewport_size({"width": WIDTH, "height": min(int(height) + 20, 8000)})

    def check(self) -> None:
        """Nothing was shown as an error, nothing complained, nothing left the machine."""
        assert self.page.get_by_test_id("stException").count() == 0
        assert self.complaints == []
        outside = [
            url
            for url in self.asked
            if not url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:"))
        ]
        assert outside == []


@pytest.fixture
def visit(browser, request):
    made: list[Visit] = []

    def come(scheme: str = "light") -> Visit:
        made.append(Visit(browser, scheme))
        return made[-1]

    yield come
    for visitor in made:
        visitor.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("room", ROOMS)
def test_a_room_opens_by_its_deep_link_and_draws(room, scheme, server, visit, tmp_path):
    visitor = visit(scheme)
    visitor.open(server + ROOMS[room], PLOTS[room])
    assert visitor.page.get_by_text("Page not found").count() == 0
    shots = Path(os.environ.get("LORA_NP_SHOTS", tmp_path))
    shots.mkdir(parents=True, exist_ok=True)
    time.sleep(1.0)  # let the last picture be painted
    visitor.page.screenshot(path=shots / f"{room}_{scheme}_{WIDTH}.png")
    paper = visitor.page.evaluate("() => getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    brightness = sum(int(part) for part in paper.strip("rgba()").split(",")[:3]) / 3
    assert (brightness > 128) == (scheme == "light")
    visitor.check()


def test_a_link_restores_the_controls(server, visit):
    visitor = visit()
    visitor.open(server + "/rank?kind=identity&r=9&rows=32&columns=16&form=row", 3)
    assert visitor.page.get_by_test_id("stMetricValue").nth(1).inner_text() == "56.2 %"  # 9 of 16 directions
    visitor.check()


def test_a_key_press_moves_a_slider_the_picture_and_the_address(server, visit):
    visitor = visit()
    visitor.open(server + "/rank?kind=identity", 3)
    shown = visitor.page.get_by_test_id("stMetricValue").nth(1)
    before = shown.inner_text()
    handle = visitor.page.get_by_role("slider", name="Rank r that is kept")
    handle.focus()
    handle.press("ArrowRight")
    visitor.page.wait_for_function(
        "was => document.querySelectorAll('[data-testid=stMetricValue]')[1]?.innerText != was", arg=before
    )
    assert shown.inner_text() == "7.81 %"  # 5 of 64 directions
    visitor.page.wait_for_url("**r=5**")
    visitor.check()


def test_a_prediction_is_answered_and_sets_the_controls(server, visit):
    visitor = visit()
    visitor.open(server + "/rank", 3)
    visitor.page.get_by_role("radio", name="about 50 %").or_(
        visitor.page.get_by_role("button", name="about 50 %")
    ).first.click()
    visitor.page.get_by_text("It is “about 6 %”").wait_for()
    visitor.page.get_by_text("Set the controls to it").click()
    visitor.page.wait_for_function(
        "() => document.querySelectorAll('[data-testid=stMetricValue]')[1]?.innerText == '6.25 %'"
    )
    visitor.check()


def test_absurd_links_neither_crash_nor_hang(server, visit):
    visitor = visit()
    visitor.open(server + "/rank?r=-5&rows=1e99&columns=nan&noise=inf&kind=&form=x&planted=9e999", 3)
    visitor.open(server + "/cost?tokens=99999999999999&d=-1&k=0&layer_rank=" + "9" * 3000, 2)
    visitor.open(server + "/params?model=&targets=" + "q,&targets=" * 500, 3)
    visitor.check()


def test_three_visitors_at_once(server, visit):
    """Under the workqueue layer: a kernel entered by two threads would end the process, and everybody's session."""
    visitors = [visit() for _ in range(3)]
    for number, visitor in enumerate(visitors, start=1):
        visitor.page.goto(f"{server}/rank?kind=random&rows=128&r={number}&noise=0.{number}")
    for number, visitor in enumerate(visitors, start=1):
        visitor.page.goto(f"{server}/prune?ratio=0.{number}")
    for visitor in visitors:
        visitor.page.get_by_test_id("stMetricValue").first.wait_for()
    for visitor in visitors:
        visitor.grow()
        visitor.page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot').length >= 2")
        visitor.check()
