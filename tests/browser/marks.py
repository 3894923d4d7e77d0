"""What every browser test is marked with."""

import pytest

BROWSER = [
    pytest.mark.browser,
    # the browser's driver and its event loop are closed by the interpreter's end, not before
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
