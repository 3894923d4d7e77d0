"""The app in a real browser: every room by its deep link, in both schemes and widths, offline; links and keys."""

import itertools
import time

import pytest

from app.rooms import ROOMS, room
from tests.browser.marks import BROWSER
from tests.browser.visiting import DESKTOP, PHONE

pytestmark = BROWSER
WITHOUT_PICTURES = {"lessons", "quiz"}
QUICK_SECONDS = (
    1.5  # from a key press to the new picture, on two quiet cores without a GPU: printed, not asserted
)


@pytest.mark.parametrize("path", [room.path for room in ROOMS])
def test_a_room_opens_by_its_deep_link_draws_and_asks_nobody(path, server, visit):
    """In light on a desktop and in dark on a phone; nothing leaves the machine, nothing is wider than the window."""
    for scheme, width in (("light", DESKTOP), ("dark", PHONE)):
        visitor = visit(scheme, width=width)
        seconds = visitor.open(f"{server}/{room(path).address}")
        print(f"{path} {scheme} {width} px: first picture after {seconds:.1f} s")
        assert visitor.page.get_by_text("Page not found").count() == 0
        assert visitor.plots() >= (path not in WITHOUT_PICTURES)
        paper = visitor.page.evaluate(
            "() => getComputedStyle(document.querySelector('.stApp')).backgroundColor"
        )
        brightness = sum(int(part) for part in paper.strip("rgba()").split(",")[:3]) / 3
        assert (brightness > 128) == (scheme == "light")
        wide = visitor.page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollWidth")
        assert wide <= width
        visitor.check()


@pytest.mark.parametrize("path", [room.path for room in ROOMS])
def test_headings_come_in_order(path, server, visit):
    """One first heading, and no level left out."""
    visitor = visit()
    visitor.open(f"{server}/{room(path).address}")
    levels = visitor.page.evaluate(
        "() => [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => Number(h.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels


def test_a_link_restores_the_controls(server, visit):
    visitor = visit()
    visitor.open(server + "/rank?kind=identity&r=9&rows=32&columns=16&form=row")
    assert visitor.page.get_by_test_id("stMetricValue").nth(1).inner_text() == "56.2 %"  # 9 of 16 directions
    visitor.check()


def test_a_key_press_moves_a_slider_the_picture_and_the_address(server, visit):
    visitor = visit()
    visitor.open(server + "/rank?kind=identity")
    shown = visitor.page.get_by_test_id("stMetricValue").nth(1)
    before = shown.inner_text()
    handle = visitor.page.get_by_role("slider", name="Rank r that is kept")
    handle.focus()
    start = time.monotonic()
    handle.press("ArrowRight")
    visitor.page.wait_for_function(
        "was => document.querySelectorAll('[data-testid=stMetricValue]')[1]?.innerText != was", arg=before
    )
    print(f"from the key to the new number: {time.monotonic() - start:.2f} s (aim {QUICK_SECONDS} s)")
    assert shown.inner_text() == "7.81 %"  # 5 of 64 directions
    visitor.page.wait_for_url("**r=5**")
    visitor.check()


def test_a_prediction_is_answered_and_sets_the_controls(server, visit):
    visitor = visit()
    visitor.open(server + "/rank")
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
    visitor.open(server + "/rank?r=-5&rows=1e99&columns=nan&noise=inf&kind=&form=x&planted=9e999")
    visitor.open(server + "/cost?tokens=99999999999999&d=-1&k=0&layer_rank=" + "9" * 3000)
    visitor.open(server + "/params?model=&targets=" + "q,&targets=" * 500)
    visitor.check()
