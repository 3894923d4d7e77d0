"""The server, the browser and the visitors of the browser tests."""

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("streamlit", reason="streamlit is not installed")

from tests.browser.visiting import Visit, browsing, serving


@pytest.fixture(scope="package")
def served() -> Iterator[tuple]:
    """The app's address and its process."""
    with serving() as running:
        yield running


@pytest.fixture(scope="package")
def server(served) -> str:
    """The app's address."""
    return served[0]


@pytest.fixture(scope="package")
def browser(chromium) -> Iterator:
    """The one browser of all visitors."""
    with browsing(chromium) as running:
        yield running


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Visit]]:
    """Let visitors come, each with a session of their own, and see them out."""
    made: list[Visit] = []

    def come(scheme: str = "light", **how) -> Visit:
        made.append(Visit(browser, scheme, **how))
        return made[-1]

    yield come
    for visitor in made:
        visitor.context.close()
