"""A server as a user starts it, a browser that is already there, and a visitor who notes what is asked and said."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_MS = 120_000
DESKTOP, PHONE = 1280, 390
TALLEST = 12_000  # pixels of a page that is photographed whole
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
# Streamlit asks for these beside the room's address before it asks at the root; the 404 is its own
EXPECTED_404 = ("/_stcore/health", "/_stcore/host-config")
LOCAL = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")
DRAWN = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  const still = app && app.getAttribute('data-test-script-state') === 'notRunning';
  const charts = [...document.querySelectorAll('[data-testid=stPlotlyChart]')].filter(c => c.offsetParent);
  const waiting = document.querySelector('[data-testid=stSkeleton]');
  return still && !waiting && document.querySelector('h1') && charts.every(c => c.querySelector('.main-svg'))
    ? charts.length + 1 : 0;
}"""
PICTURES = "() => [...document.querySelectorAll('.js-plotly-plot .main-svg')].map(s => s.innerHTML).join()"
SETTLED_MS = 400  # a room is drawn when it was drawn this long ago, too, with as many pictures


def found_browser() -> str | None:
    """Find a Chromium on the path."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def free_port() -> int:
    """Ask the system for a port nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve the app with Numba's most fragile threading layer; give its address and its process."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1", "--server.headless", "true"]
    environment = os.environ | {"NUMBA_THREADING_LAYER": "workqueue"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}", process
        assert process.poll() is None, f"the server died with status {process.returncode}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(address: str, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    """Wait until the server says that it is well."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, f"the server died with status {process.returncode}"
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"the server did not get healthy in {seconds} s")


@contextlib.contextmanager
def browsing(path: str) -> Iterator[Any]:
    """Start the browser, and close it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=[*FLAGS, *QUIET])
        yield running
        running.close()


class Visit:
    """One visitor's page, with everything it asked for and complained of."""

    def __init__(self, browser: Any, scheme: str = "light", width: int = DESKTOP) -> None:
        self.width = width
        viewport = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _listen(self, message: Any) -> None:
        expected = str(message.location.get("url")).endswith(EXPECTED_404)
        if message.type == "error" and not expected:
            self.complaints.append(message.text)

    def open(self, address: str) -> float:
        """Go there and wait until the room is drawn; give the seconds it took; then let all of it be seen."""
        start = time.monotonic()
        self.page.goto(address)
        self.drawn()
        seconds = time.monotonic() - start - SETTLED_MS / 1000
        self.grow()
        self.drawn()
        return seconds

    def drawn(self) -> None:
        """Wait until the script has ended and every picture in sight is there."""
        before = -1
        while before != (now := self.page.wait_for_function(DRAWN).json_value()):
            before = now
            self.page.wait_for_timeout(SETTLED_MS)

    def grow(self) -> None:
        """Make the window as high as the page, so that everything is drawn."""
        height = self.page.evaluate(
            "() => document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 900"
        )
        self.page.set_viewport_size({"width": self.width, "height": min(int(height) + 20, TALLEST)})

    def answers_a_key(self) -> float | None:
        """Press a key on the first slider; give the seconds until the picture is another; None without a slider."""
        slider = self.page.get_by_test_id("stMain").get_by_role("slider").first
        if slider.count() == 0:
            return None
        before = self.page.evaluate(PICTURES)
        at_its_end = slider.evaluate("slider => slider.value === slider.max")
        slider.focus()
        start = time.monotonic()
        slider.press("ArrowLeft" if at_its_end else "ArrowRight")
        try:
            self.page.wait_for_function(f"was => ({PICTURES})() != was", arg=before, timeout=PATIENCE_MS / 4)
        except Exception as error:
            if "Timeout" in type(error).__name__:
                return None  # this slider moves a number, not a picture
            raise
        return time.monotonic() - start

    def plots(self) -> int:
        """Count the pictures in sight."""
        return int(self.page.locator(".js-plotly-plot .main-svg:first-child").count())

    def check(self) -> None:
        """Nothing was shown as an error, nothing complained, nothing left the machine."""
        assert self.page.get_by_test_id("stException").count() == 0
        assert self.complaints == []
        assert [url for url in self.asked if not url.startswith(LOCAL)] == []
