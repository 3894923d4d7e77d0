"""What holds of every picture: titled axes, a sentence with numbers, a whole table, no paper of its own."""

import csv
import io

from lora_np.figures.chart import Chart, csv_text


def check_chart(chart: Chart, *, axes: bool = True) -> None:
    """Assert all of it; `axes` is false for diagrams, which have none."""
    if axes:
        titles = [axis.title.text for axis in chart.figure.select_xaxes()]
        titles += [axis.title.text for axis in chart.figure.select_yaxes()]
        assert titles
        assert all(titles), titles
    check_sentence(chart.alt)
    check_table(chart)
    layout = chart.figure.layout
    assert layout.paper_bgcolor is None
    assert layout.plot_bgcolor is None
    assert layout.font.color is None


def check_sentence(alt: str) -> None:
    """It holds a number, ends like a sentence, and has nothing unformatted in it."""
    assert any(letter.isdigit() for letter in alt), alt
    assert alt.endswith("."), alt
    for unformatted in ("nan", "inf ", "{", "None", "np."):
        assert unformatted not in alt, alt


def check_table(chart: Chart) -> None:
    """Its columns are equally long, and it survives CSV."""
    assert len({len(column) for column in chart.table.values()}) == 1
    rows = list(csv.reader(io.StringIO(csv_text(chart.table))))
    assert rows[0] == list(chart.table)
    assert len(rows) == 1 + len(next(iter(chart.table.values())))
