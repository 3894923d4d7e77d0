"""Showing a picture in a lesson: the figure where there is a notebook, its sentence everywhere.  Floor 6."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lora_np.figures.chart import Chart


def picture(chart: Chart) -> None:
    """Show a chart of `lora_np.figures`: in Jupyter the figure, in a script the sentence that says what it shows.

    >>> from lora_np.figures.chart import Chart
    >>> picture(Chart(None, "Rank 8 keeps 91 % of the energy.", {}))
    Picture: Rank 8 keeps 91 % of the energy.
    """
    print(f"Picture: {chart.alt}")
    shell = sys.modules.get("IPython")
    if shell is not None and shell.get_ipython() is not None:
        shell.display.display(chart.figure)
