"""Pictures of the chain rule: the cells behind a cell, the roads to a gradient, the error of a difference.  Floor 6.

The pictures of one room stand together, so the file is longer than most.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import plotly.graph_objects as go

from lora_np._typing import Array
from lora_np.figures.chart import (
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    VERMILLION,
    Chart,
    Table,
    bar_style,
    finished,
    line_style,
    mark,
)
from lora_np.figures.grad_scene import Entry, ErrorCurves, GradScene, Sum

LINES = (("X", "A", "Z", "B", "W0"), ("gY", "gZ", "gB", "gA", "gX"))  # what goes forward, what comes back
LATEX = {name: rf"g_{name[1]}" for name in LINES[1]} | {"W0": "W_0"}
SUBSCRIPT = {name: f"g<sub>{name[1]}</sub>" for name in LINES[1]} | {"W0": "W<sub>0</sub>"}
BORDERS = {  # role of a cell -> its colour, dash and width; and its words
    "result": (GREEN, "solid", 5, "the cell"),
    "first": (BLUE, "solid", 3, "first factor"),
    "second": (VERMILLION, "dash", 3, "second factor"),
    "inner": (PURPLE, "dot", 2, "inside a cell of g<sub>Z</sub>"),
    "": (GREY, "solid", 0.5, ""),
}
GAP = 0.7
ALL_DIGITS = 16.0  # a double has no more: two that are equal agree in all
WORDS = {"forward": "forward difference", "central": "central difference"}


# ---- the sum -----------------------------------------------------------------------------------------------------


def written_out(scene: GradScene, part: Sum) -> str:
    r"""Write a sum in LaTeX: in letters, in numbers, and what it comes to."""
    letters = _in_lines([f"{_cell(a)} {_cell(b)}" for a, b in part.terms], 2)
    factors = [(_number(scene.value(a)), _number(scene.value(b))) for a, b in part.terms]
    values = _in_lines([rf"{a} \cdot {b}" for a, b in factors], 3)
    if part.scaled:
        letters, values = rf"s\,({letters})", rf"{scene.layer.scale:g}\,({values})"
    lines = [f"{_cell(part.cell)} &= {letters}", f"&= {values}", f"&= {scene.value(part.cell):g}"]
    return r"\begin{aligned} " + r" \\ ".join(lines) + r" \end{aligned}"


def _in_lines(terms: list[str], each: int) -> str:
    """Add terms up, a few on each line: a phone shows no more."""
    lines = [" + ".join(terms[i : i + each]) for i in range(0, len(terms), each)]
    return r" \\ &\quad + ".join(lines)


def _cell(entry: Entry) -> str:
    """Write a cell in LaTeX."""
    return f"{LATEX.get(entry.matrix, entry.matrix)}[{entry.row},{entry.column}]"


def _number(value: float) -> str:
    """Write a factor; a negative one stands in brackets."""
    return f"{value:g}" if value >= 0 else f"({value:g})"


def as_text(entry: Entry) -> str:
    """Write a cell in plain letters.

    >>> as_text(Entry("gB", 2, 1))
    'g_B[2,1]'
    """
    return f"{LATEX.get(entry.matrix, entry.matrix).replace('W_0', 'W0')}[{entry.row},{entry.column}]"


def upstream(scene: GradScene, Y: Array) -> str:
    """Write in LaTeX how the loss makes g_Y from the outputs and what is wanted of them."""
    gY, T = scene.matrices["gY"], scene.layer.T
    power = "" if (gY == Y - T).all() else "^{3}"  # of each entry
    return rf"g_Y = ({_matrix(Y)} - {_matrix(T)}){power} = {_matrix(gY)}"


def _matrix(M: Array) -> str:
    """Write a matrix in LaTeX."""
    return r"\begin{bmatrix}" + r"\\".join(" & ".join(f"{x:g}" for x in row) for row in M) + r"\end{bmatrix}"


# ---- the matrices ------------------------------------------------------------------------------------------------


def matrices(scene: GradScene) -> Chart:
    """Draw all matrices with their numbers, and mark the cells that enter one of them.  [grad-2] [lora-grad-x]"""
    part, roles = scene.sums[0], roles_of(scene.sums)
    places = dict(_places(scene))
    figure = go.Figure()
    figure.add_scatter(
        x=[x + 0.53 for x, _ in places.values()],
        y=[y + 0.53 for _, y in places.values()],
        text=[f"{scene.value(entry):g}" for entry in places],
        mode="text",
        hovertext=[f"{as_text(entry)} = {scene.value(entry):g}" for entry in places],
        hoverinfo="text",
        textfont={"size": 13},
        showlegend=False,
    )
    tagged = [entry for entry in places if roles.get(entry, ("", 0))[1]]
    figure.add_scatter(
        x=[places[entry][0] + 0.2 for entry in tagged],
        y=[places[entry][1] + 0.25 for entry in tagged],
        text=[f"{roles[entry][1]}" for entry in tagged],
        mode="text",
        hoverinfo="skip",
        textfont={"size": 11},
        showlegend=False,
    )
    for role in [role for role in BORDERS if role in {role for role, _ in roles.values()}]:
        colour, dash, width, words = BORDERS[role]
        line = {"color": colour, "dash": dash, "width": width}
        figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name=words)
    finished(figure, height=400)
    ordered = sorted(places, key=lambda entry: entry in roles)  # plain borders first, under the others
    figure.update_layout(
        shapes=[_border(*places[entry], roles.get(entry, ("", 0))[0]) for entry in ordered],
        annotations=list(_names(scene)),
        margin={"l": 0, "r": 0, "t": 40, "b": 0},
    )
    figure.update_xaxes(visible=False, range=[-0.1, _width(scene) + 0.1], fixedrange=True)
    figure.update_yaxes(visible=False, range=[8.2, -0.8], fixedrange=True)
    return Chart(figure, _sentence(scene, part), _cells(scene, roles))


def roles_of(sums: tuple[Sum, ...]) -> dict[Entry, tuple[str, int]]:
    """Say of each cell that enters which factor of which term it is; those inside g_Z belong to no term."""
    roles = {cell: ("inner", 0) for part in sums[1:] for term in part.terms for cell in term}
    for number, (first, second) in enumerate(sums[0].terms, start=1):
        roles |= {first: ("first", number), second: ("second", number)}
    return {sums[0].cell: ("result", 0)} | roles


def _corners(scene: GradScene) -> Iterator[tuple[str, float, float]]:
    """Place the matrices on two lines: name, left, top."""
    for line, names in enumerate(LINES):
        left = 0.0
        for name in names:
            yield name, left, 4.4 * line + 0.2
            left += scene.matrices[name].shape[1] + GAP


def _width(scene: GradScene) -> float:
    """Tell how wide the wider line is."""
    return max(left + float(scene.matrices[name].shape[1]) for name, left, _ in _corners(scene))


def _places(scene: GradScene) -> Iterator[tuple[Entry, tuple[float, float]]]:
    """Place every cell: its left upper corner."""
    for name, left, top in _corners(scene):
        rows, columns = scene.matrices[name].shape
        for i in range(rows):
            for j in range(columns):
                yield Entry(name, i + 1, j + 1), (left + j, top + i)


def _names(scene: GradScene) -> Iterator[dict[str, Any]]:
    """Write the name over each matrix."""
    for name, left, top in _corners(scene):
        middle = left + scene.matrices[name].shape[1] / 2
        text = f"<b>{SUBSCRIPT.get(name, name)}</b>"
        yield {"x": middle, "y": top - 0.35, "text": text, "showarrow": False, "font": {"size": 15}}


def _border(x: float, y: float, role: str) -> dict[str, Any]:
    """Draw the border of a cell, a little inside where it is marked."""
    colour, dash, width, _ = BORDERS[role]
    inset = 0.06 if role else 0.0
    return {
        "type": "rect",
        "x0": x + inset,
        "x1": x + 1 - inset,
        "y0": y + inset,
        "y1": y + 1 - inset,
        "line": {"color": colour, "dash": dash, "width": width},
    }


def _sentence(scene: GradScene, part: Sum) -> str:
    """Say the sum in words and numbers."""
    products = " + ".join(f"{_number(scene.value(a))} · {_number(scene.value(b))}" for a, b in part.terms)
    made = f"{scene.layer.scale:g} · ({products})" if part.scaled else products
    names = sorted({entry.matrix for term in part.terms for entry in term})
    letters = ", ".join(LATEX.get(name, name) for name in names).replace("W_0", "W0")
    return (
        f"{as_text(part.cell)} = {made} = {scene.value(part.cell):g}: {len(part.terms)} terms, each a cell "
        f"of one matrix times a cell of another ({letters})."
    )


def _cells(scene: GradScene, roles: dict[Entry, tuple[str, int]]) -> Table:
    """List every cell with its number and its part in the sum."""
    entries = [entry for entry, _ in _places(scene)]
    words = {role: text.replace("<sub>Z</sub>", "_Z") for role, (*_, text) in BORDERS.items()}
    return {
        "cell": [as_text(entry) for entry in entries],
        "value": [scene.value(entry) for entry in entries],
        "part": [words[roles.get(entry, ("", 0))[0]] for entry in entries],
        "term": [roles.get(entry, ("", 0))[1] or None for entry in entries],
    }


# ---- the roads ---------------------------------------------------------------------------------------------------


def agreeing_digits(got: float, want: float) -> float:
    """Count the digits in which two numbers agree: −log10 of the relative error, all 16 where they are equal.

    >>> agreeing_digits(2.0, 2.0), round(agreeing_digits(1001.0, 1000.0), 3), agreeing_digits(7.0, 1.0)
    (16.0, 3.0, 0.0)
    """
    if got == want:
        return ALL_DIGITS
    return min(max(-math.log10(abs(got - want) / (abs(want) or 1.0)), 0.0), ALL_DIGITS)


def roads_chart(scene: GradScene, *, h: float) -> Chart:
    """Show in how many digits each road agrees with lora-2, cell by cell.  [grad-1] [grad-2]"""
    g = scene.gradient
    rows, columns = g.shape
    cells = [f"[{i + 1},{j + 1}]" for i in range(rows) for j in range(columns)]
    table: dict[str, Any] = {"cell": cells, "lora-2": _listed(g)}
    figure = go.Figure()
    for index, (road, got) in enumerate(scene.roads.items()):
        digits = [agreeing_digits(a, b) for a, b in zip(_listed(got), _listed(g), strict=True)]
        name = WORDS.get(road, road)
        figure.add_bar(x=cells, y=digits, name=name, marker=bar_style(index))
        table |= {name: _listed(got), f"digits of {name}": digits}
    finished(figure, x=f"cell of {LATEX[scene.which]}", y="digits that agree with lora-2")
    figure.update_yaxes(range=[0, 17])
    worst = {name: min(table[f"digits of {name}"]) for name in (*("lora-1", "autograd"), *WORDS.values())}
    exact = [name for name in ("lora-1", "autograd") if worst[name] == ALL_DIGITS]
    alt = (
        f"{' and '.join(exact) or 'No other road'} agrees with lora-2 in all 16 digits of every cell; at h = "
        f"{power(h)} a forward difference keeps {worst['forward difference']:.1f} digits in its worst cell, a central "
        f"one {worst['central difference']:.1f}."
    ).replace("lora-1 and autograd agrees", "lora-1 and autograd agree")
    return Chart(figure, alt, table)


def side_by_side(scene: GradScene) -> Table:
    """Write every cell of the gradient by every road, with all the digits a double has."""
    cells = [
        f"{as_text(Entry(scene.which, i + 1, j + 1))}"
        for i in range(scene.gradient.shape[0])
        for j in range(scene.gradient.shape[1])
    ]
    found = {"by hand (lora-2)": scene.gradient} | {WORDS.get(k, k): g for k, g in scene.roads.items()}
    return {"cell": cells} | {
        name: [f"{x:.12f}".rstrip("0").rstrip(".") for x in _listed(g)] for name, g in found.items()
    }


def _listed(M: Array) -> list[float]:
    """Read a matrix row by row."""
    return [float(x) for x in M.ravel()]


# ---- the error of a difference -----------------------------------------------------------------------------------


def v_curve(curves: ErrorCurves, *, h: float) -> Chart:
    """Show the error of both differences against the step, with the branches that theory names."""
    figure, best = go.Figure(), curves.best
    for index, (name, errors) in enumerate(curves.errors.items()):
        figure.add_scatter(
            x=curves.steps,
            y=_drawable(errors),
            name=f"{name} difference",
            mode="lines+markers",
            **line_style(index),
        )
    for text, place, branch in (
        ("truncation, ~ h", 21, curves.truncation["forward"]),
        ("truncation, ~ h²", 12, curves.truncation["central"]),
        ("rounding, ~ 1 / h", 24, curves.rounding),
    ):
        if any(branch):
            _branch(figure, curves.steps, branch, text, place)
    mark(figure, h, f" h = {power(h)} ", log=True, side="left" if h < 1e-8 else "right")
    finished(figure, x="step h (unit of the entry)", y="relative error ‖got − g‖ / ‖g‖", height=400)
    figure.update_xaxes(type="log", exponentformat="power", dtick=2)
    figure.update_yaxes(type="log", exponentformat="power", range=[-17, 0.5], dtick=2)
    table: Table = {
        "h": curves.steps,
        **{f"error of {name} difference": errors for name, errors in curves.errors.items()},
        "truncation of forward in theory": curves.truncation["forward"],
        "truncation of central in theory": curves.truncation["central"],
        "rounding in theory": curves.rounding,
    }
    return Chart(figure, _v_sentence(curves, best), table)


def _branch(figure: go.Figure, steps: list[float], branch: list[float], text: str, place: int) -> None:
    """Draw what theory says of one error as a thin dotted line, and name it."""
    line = {"color": GREY, "dash": "dot", "width": 1.5}
    shown = [error if error > 1e-17 else None for error in branch]
    figure.add_scatter(x=steps, y=shown, name=text, mode="lines", line=line, showlegend=False)
    x, y = math.log10(steps[place]), math.log10(branch[place])
    side = {"xanchor": "left", "yanchor": "bottom" if text.startswith("rounding") else "top"}
    figure.add_annotation(x=x, y=y, text=f" {text}", showarrow=False, **side)


def power(h: float) -> str:
    """Write a step with one digit.

    >>> power(1e-8), power(10**-8.5), power(0.1)
    ('1e-8', '3e-9', '0.1')
    """
    return f"{h:.0e}".replace("e-0", "e-") if h < 1e-3 else f"{h:.1g}"


def _drawable(errors: Iterable[float]) -> list[float | None]:
    """Leave out what a logarithmic axis cannot show."""
    return [error or None for error in errors]


def _v_sentence(curves: ErrorCurves, best: dict[str, float]) -> str:
    """Say where each difference is most exact, and what happens to both sides of it."""
    least = {kind: min(errors) for kind, errors in curves.errors.items()}
    smallest = curves.errors["forward"][-1]
    said = {kind: f"{power(step)} (relative error {power(least[kind])})" for kind, step in best.items()}
    central = (
        f"a central one at {said['central']}"
        if any(curves.truncation["central"])
        else f"a central one, which has no truncation on a parabola, at its largest step, {said['central']}"
    )
    end = f"at h = {power(curves.steps[-1])} rounding leaves an error of {smallest:.1g}"
    return f"A forward difference is most exact at h = {said['forward']}, {central}; {end}."
