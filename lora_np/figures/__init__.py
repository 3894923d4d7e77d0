"""Figures: pure functions from numbers to plotly pictures, one file per subject.  Floor 6.

Every builder returns a `Chart`: the figure, one computed sentence that says what it shows, and the table of the
numbers drawn.  Nothing here computes a result, knows a page, or picks a background: a figure stands on light and
dark paper alike.
"""
