"""Calls that must be refused, each with its error class and the words that name the argument."""

import numpy as np
import pytest


def refuse(cases):
    """Make every call (error, words, call), and see it refused; what it overflows on the way is of no interest."""
    for error, words, call in cases:
        with np.errstate(all="ignore"), pytest.raises(error, match=words):
            call()
