"""Lessons: the files of `tutorials/`, read here, written in an editor of one's own."""

from functools import partial

import streamlit as st

from app import frame
from app.logic import lessons
from app.logic.lessons import Book
from app.work import work
from lora_np.teach.sections import Piece, Section

HERE = "views/lessons.py"
LINE, PAGE = 740, 960  # pixels: some 90 letters of prose, and 110 of code


def link(number: str, name: str, label: str, *, icon: str | None = None) -> None:
    """Link to a section of a lesson."""
    state = {**frame.reading_state(), "lesson": number, "section": name}
    st.page_link(HERE, label=label, icon=icon, query_params=state)


def titled(section: Section) -> str:
    """Name a section."""
    return f"{section.name} · {section.title}" if section.name.isdecimal() else section.title or "Start"


def contents(book: Book) -> None:
    """List the sections of a lesson."""
    for section in book.sections:
        link(book.lesson.number, section.name, titled(section))


def ladder() -> None:
    """List the lessons, and how long each takes."""
    for number, lesson in lessons.shelf().items():
        link(number, "start", f"{number} · {lesson.title}, {lessons.takes(number)}")


def take_along(book: Book) -> None:
    """Offer the student's files, and say what to do with them."""
    lesson = book.lesson
    st.markdown("You write in an editor of your own, and every answer is checked at once.")
    st.code("lora-np tutorials start my_lessons\nlora-np tutorials watch my_lessons", language="bash")
    st.markdown("Or take this lesson alone:")
    with st.container(horizontal=True):
        st.download_button(
            "Script",
            lambda: lessons.student_script(lesson),
            f"{lesson.name}.py",
            "text/x-python",
            key="lesson_script",
            on_click="ignore",
        )
        st.download_button(
            "Notebook",
            lambda: lessons.student_notebook(lesson),
            f"{lesson.name}.ipynb",
            "application/x-ipynb+json",
            key="lesson_notebook",
            on_click="ignore",
        )


# ---- the pieces of a section -----------------------------------------------------------------------------------


def show(number: str, piece: Piece) -> None:
    """Show one piece of a lesson."""
    if piece.kind == "equation":
        with st.container(border=True):
            frame.equation_line(piece.text)
    elif piece.kind == "code":
        st.code(piece.text, language="python", wrap_lines=True)
        printed = lessons.printouts().get(number, {}).get(piece.cell)
        if printed:
            st.markdown(":small[It prints]")
            st.code(printed, language="text", wrap_lines=True)
    elif piece.kind == "picture":
        picture(number, piece)
    elif piece.kind == "exercise":
        task(piece)
    elif piece.kind == "question":
        ask(number, piece)
    else:
        text = f"## {piece.text}" if piece.kind == "heading" else piece.text
        st.markdown(lessons.prose(text, frame.reading_state()), width=LINE)


def picture(number: str, piece: Piece) -> None:
    """Draw a picture; its numbers and the code that drew it are behind it."""
    chart = lessons.drawn(number, piece.cell)
    key = f"lesson_{number}_{piece.cell}"
    frame.draw(chart, key=key)
    with st.expander("Its numbers, and the code that drew it"):
        frame.table_card(chart, key=key)
        st.code(piece.text, language="python", wrap_lines=True)


def task(piece: Piece) -> None:
    """Show what is to be written, and offer hints one by one."""
    exercise = lessons.exercise(piece.id)
    st.code(piece.text, language="python", wrap_lines=True)
    with st.container(horizontal=True):
        for level, (name, hint) in enumerate(zip(lessons.HINTS, (*exercise.hints, ""), strict=True), 1):
            if hint or exercise.equations:
                with st.popover(f"Hint {level}: {name}", icon=":material/lightbulb:"):
                    if hint:
                        st.markdown(hint)
                    else:
                        frame.equation_card(exercise.equations, {})


def ask(number: str, piece: Piece) -> None:
    """Ask a question of the quiz; say whether a choice is right, and if not, where to read again."""
    question = lessons.question(piece)
    key = f"quiz_{number}_{question.number}"
    with st.container(border=True):
        st.markdown(f"**{question.number}.** {question.text}")
        letters = {f"{letter}) {words}": letter for letter, words in question.choices.items()}
        chosen = st.radio(question.text, list(letters), index=None, key=key, label_visibility="collapsed")
        if chosen is None or not frame.revealed("whether it is right", key=f"{key}_reveal"):
            return
        again = lessons.read_again(number, question.number, letters[chosen])
        if again:
            st.warning(f"**Not so.** Read again: {again}.", icon=":material/close:")
        else:
            st.success("**Right.**", icon=":material/check:")


# ---- the room --------------------------------------------------------------------------------------------------

try:
    shelf = lessons.shelf()
    lessons.book(next(iter(shelf)))  # what reads it is here
except lessons.MISSING as error:
    st.title("Lessons", anchor=False)
    st.warning(str(error))
    st.stop()

top = st.container()  # filled last: which lesson it is, is chosen below
with frame.controls():
    number = frame.choose_page("Lesson", list(shelf), key="lesson", drops=["section"])
    book = lessons.book(number)
    name = frame.choose_page("Section", book.names, key="section")
    with st.container(horizontal=True):
        with st.popover("All lessons", icon=":material/stairs:"):
            ladder()
        with st.popover("Its sections", icon=":material/toc:"):
            contents(book)
        with st.popover("Take it with you", icon=":material/download:"):
            take_along(book)
    if number not in lessons.printouts() and book.prints(name):
        work(
            "Run its code, to see what it prints",
            partial(lessons.print_out, number),
            key="lesson_run",
            about=number,
        )
with top:
    frame.heading(
        f"{number} · {book.lesson.title}", "Read it here, write it in your editor, and check it there."
    )

with st.container(width=PAGE):
    for section in book.read(name):
        if section.title:
            st.header(titled(section), anchor=False)
        for piece in section.pieces:
            show(number, piece)

before, after = book.around(name)
with st.container(horizontal=True):
    if before is not None:
        link(number, before.name, f"Back: {titled(before)}", icon=":material/arrow_back:")
    if after is not None:
        link(number, after.name, f"Next: {titled(after)}", icon=":material/arrow_forward:")
    following = lessons.following(number)
    if after is None and following is not None:
        label = f"Next: lesson {following.number} · {following.title}"
        link(following.number, "start", label, icon=":material/stairs:")
frame.ending(lesson=number, section=name)
