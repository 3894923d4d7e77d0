"""What released PEFT does differently when it combines and merges: the table, and every row run again.

The rows are observations of PEFT 0.21.2; another version may have mended one, so they are held for that version only.
Each row brings a script of its own, which prints what it got and what it should have got.
"""

import contextlib
import io
import json
import re
import warnings
from importlib import metadata, resources

import pytest

TABLE = "published/departures/combining.json"
ROWS = json.loads(resources.files("lora_np.conformance").joinpath(TABLE).read_text("utf-8"))
CODE = {row["id"]: row["reproducer"] for row in ROWS}
GOT = {  # the numbers that the scripts print after "got"; a text where they print one
    "combine-dare-density-zero": [30],
    "combine-dare-factors": [0.093, 0.499],
    "combine-density-rounding": [28],
    "combine-dora-magnitude-lost": [0.782],
    "combine-linear-cross-terms": [1.031, 0.0],
    "combine-lora-bias-lost": [0.0],
    "combine-magnitude-factors": [0.574, 0.0],
    "combine-name-taken": ["None"],
    "combine-rslora-scale": [2.0, 2.828, 2.236, 2.236, 2.236, 2.236],
    "combine-svd-default-rank": [0.199, 0.0],
    "combine-svd-rank-above-min": ["RuntimeError", "lora_A of 3 rows beside r = 8"],
    "combine-ties-factors": [0.647, 0.0],
    "combine-ties-no-majority": [2.0, 2.0],
    "combine-ties-votes-unweighted": [-0.5],
    "combine-weights-length": [0.0, 0.0],
    "combine-weights-nan": [30],
    "config-rslora-string": ["the scale 4.0"],
    "disable-unmerges": ["merged: False"],
    "merge-blames-adapter": ["NaNs detected", "NaNs detected"],
    "merge-drops-other-active": [0.680],
    "merge-inactive-acts": [1.342],
    "merge-name-twice": [0.846],
    "merge-not-atomic": ["merged: True False", "layer 0 moved by 2.6"],
    "merge-unknown-name": [0.846],
    "merge-writes-caller": [0.723],
    "scale-while-merged": [9.928],
    "train-while-merged": [5.050],
    "unmerge-by-arithmetic": ["back 0.89", "back 0.70"],
}


def test_the_table_is_complete_and_sorted():
    assert [row["id"] for row in ROWS] == sorted(GOT)
    for row in ROWS:
        assert list(row) == ["id", "method", "paper", "peft", "effect", "here", "verdict", "reproducer"]
        assert row["verdict"] in ("by design", "defect", "precision")
        assert all(isinstance(value, str) and value for value in row.values())
        assert len(row["reproducer"].splitlines()) <= 15
        assert "want" in row["reproducer"]
        compile(row["reproducer"], row["id"], "exec")


@pytest.fixture(scope="module")
def released():
    """PEFT 0.21.2 and torch, in one thread; skips where they are not installed."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("peft", reason="peft is not installed")
    if metadata.version("peft") != "0.21.2":
        pytest.skip(f"the rows are of PEFT 0.21.2; installed is {metadata.version('peft')}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.interop
@pytest.mark.parametrize("name", GOT)
def test_each_row_is_reproduced(name, released):
    """The script runs as it stands and prints what the table says; numbers to 2 %, nothing to 1e-5."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(CODE[name], name, "exec"), {"__name__": "reproducer"})
    got = re.findall(r"got:? ([^\n]*)", printed.getvalue())
    assert len(got) == len(GOT[name]), printed.getvalue()
    for found, due in zip(got, GOT[name], strict=True):
        if isinstance(due, str):
            assert found.startswith(due)
        else:
            assert float(found.split()[0]) == pytest.approx(due, rel=0.02, abs=1e-5)
