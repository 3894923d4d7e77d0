"""Glossary and quiz: 25 things that are often said, and the words that the rooms use."""

import streamlit as st

from app import frame
from app.logic import quiz
from app.rooms import room
from lora_np.equations import equation
from lora_np.equations.typeset import in_lines


def see(link: quiz.Link) -> None:
    """Link to where something is seen, if that room is there."""
    if link.title is not None:
        st.page_link(
            room(link.room).view,
            label=f"See it: {link.title}",
            icon=":material/arrow_forward:",
            query_params=dict(link.state),
        )


def explain(item: quiz.Item, place: int) -> None:
    """Say whether an answer is right, why the right one is, and what is wrong with each of the others."""
    for here, text in enumerate(item.texts):
        said = " — your answer" if here == place else ""
        st.markdown(
            f":material/check: **{text}**{said}" if here == item.answer else f":material/close: {text}{said}"
        )
    if place == item.answer:
        st.success(f"**Right.** {item.because}", icon=":material/check:")
    else:
        chosen = item.options[place]
        st.warning(f"**Not so.** {chosen.mistake}", icon=":material/close:")
        if chosen.link is not None:
            see(chosen.link)
        st.info(f"**It is “{item.texts[item.answer]}”.** {item.because}", icon=":material/check:")
    with st.expander("What is wrong with the other answers"):
        for option in item.options:
            if option.link is not None and option is not item.options[place]:
                st.markdown(f"**{option.text}** — {option.mistake}")
                see(option.link)


def ask() -> None:
    """Ask the chosen question, explain what was answered, and count."""
    with frame.controls():
        first, second = st.columns(2)
        with first:
            topic = st.selectbox("Topic", quiz.topics(), key="quiz_topic", bind=frame.URL)
        asked = quiz.of_topic(topic)
        if st.session_state.get("quiz_item") not in list(asked):
            st.session_state.pop("quiz_item", None)
        with second:
            name = st.selectbox("Question", list(asked), key="quiz_item", bind=frame.URL)
    item, answers, mark = asked[name], quiz.given(), f"quiz_mark_{name}"
    if st.session_state.get(mark) not in item.texts:
        st.session_state.pop(mark, None)
    with st.container(border=True):
        st.markdown(f"**{item.question}**")
        if name not in answers:
            st.radio(item.question, item.texts, index=None, key=mark, label_visibility="collapsed")
            st.button("Answer", key="quiz_give", type="primary", on_click=quiz.give, args=(name, mark))
        elif frame.revealed("the answer", key=f"quiz_reveal_{name}"):
            explain(item, answers[name])
        else:
            st.markdown(f"Your answer: **{item.texts[answers[name]]}**")
            answers.pop(name)  # what is not revealed does not show in the score
        following = quiz.neighbour(asked, name)
        if following is not None:
            st.button("Next question", key="quiz_next", on_click=move, args=(following,))
    frame.numbers(
        ("Answered", f"{len(answers)} of {len(quiz.items())}", "measured"),
        ("Right", f"{quiz.right(answers)} of {len(answers)}", "measured"),
    )
    st.progress(quiz.share(answers), "Share of the questions that you have answered")
    with st.expander("By topic"):
        st.dataframe(
            quiz.by_topic(answers), hide_index=True, alt="Questions, answers and right answers by topic"
        )
    st.button("Start again", key="quiz_restart", on_click=quiz.restart, disabled=not answers)
    st.caption("Answers stay in this window: nothing is stored, and nothing is sent.")
    frame.ending(quiz_part="quiz", quiz_topic=topic, quiz_item=name)


def move(name: str) -> None:
    """Go to a question."""
    st.session_state["quiz_item"] = name


def look_up() -> None:
    """Show the glossary, or what of it holds the words that are searched for."""
    search = st.text_input(
        "Search the glossary", key="term", bind=frame.URL, max_chars=quiz.MOST_LETTERS, placeholder="rank"
    )
    found = quiz.matching(search)
    frame.numbers(("Terms shown", f"{len(found)} of {len(quiz.terms())}", "measured"))
    if not found:
        st.markdown("No term has these words. Try a shorter piece of one.")
    for term in found:
        with st.container(border=True):
            words, formula = st.columns([3, 2], vertical_alignment="center")
            with words:
                st.markdown(f"**{term.name}**  \n{term.text}")
                see(term.link)
            with formula:
                if term.equation:
                    entry = equation(term.equation)
                    st.latex(in_lines(entry.latex_row if frame.row_form() else entry.latex))
    frame.ending(quiz_part="glossary", term=search[: quiz.MOST_LETTERS])


frame.heading("Glossary and quiz", "Which of the things that are often said about LoRA are true?")
if frame.choose("Show", ["quiz", "glossary"], default="quiz", key="quiz_part") == "quiz":
    ask()
else:
    look_up()
