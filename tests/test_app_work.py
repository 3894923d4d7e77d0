"""Long work in slices: starts at a press, shows how far it is, can be cancelled, and never outlives its question."""

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")
from streamlit.testing.v1 import AppTest

from app import work


def room():
    """A page whose work counts to a bound; its question is the number it starts from."""
    import streamlit as st

    from app.work import work

    first = st.number_input("first", value=10, key="first")

    def counting():
        total = first
        for step in range(5):
            st.session_state["steps"] = st.session_state.get("steps", 0) + 1
            total += 1
            yield (step + 1) / 5, f"step {step + 1}"
        return total

    result = work("Count", counting, key="count", about=first)
    st.text(f"result: {result}")


@pytest.fixture
def app(monkeypatch):
    monkeypatch.setattr(work, "SLICE_SECONDS", 0.0)  # one step a slice
    return AppTest.from_function(room, default_timeout=30).run()


def texts(app):
    return [text.value for text in app.text]


def test_nothing_runs_before_the_press(app):
    assert "steps" not in app.session_state
    assert texts(app) == ["result: None"]


def test_each_look_does_one_slice_and_the_end_gives_the_result(app):
    app.button(key="count_start").click().run()
    assert app.session_state["steps"] == 1
    for done in range(2, 6):
        app.run()
        assert app.session_state["steps"] == done
        assert texts(app) == ["result: None"]
    app.run()  # the generator ends
    assert texts(app) == ["result: 15"]
    assert app.session_state["steps"] == 5
    app.run()
    assert texts(app) == ["result: 15"]
    assert app.session_state["steps"] == 5  # nothing goes on by itself


def test_cancelling_ends_it_and_offers_to_start_again(app):
    app.button(key="count_start").click().run()
    app.button(key="count_cancel").click().run()
    assert texts(app) == ["result: None"]
    assert app.session_state["steps"] == 1
    app.button(key="count_start").click().run()
    assert app.session_state["steps"] == 2


def test_another_question_drops_the_work_and_the_result(app):
    app.button(key="count_start").click().run()
    app.number_input(key="first").set_value(20).run()
    assert "count_job" not in app.session_state
    app.button(key="count_start").click().run()
    for _ in range(6):
        app.run()
    assert texts(app) == ["result: 25"]
    app.number_input(key="first").set_value(10).run()
    assert texts(app) == ["result: None"]


def test_a_slice_lasts_as_long_as_it_may(monkeypatch):
    now = iter([0.0, 0.04, 0.08, 0.12])
    monkeypatch.setattr(work, "perf_counter", lambda: next(now))
    steps = iter([(0.1, "a"), (0.2, "b"), (0.3, "c"), (0.4, "d")])
    assert work.one_slice(steps) == (0.3, "c")
