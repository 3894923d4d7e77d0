"""Whatever the bytes are, the reader answers with an adapter or one of our errors, in little memory.

Whole files are cut, and their bytes changed; the examples are the same in every run.
"""

import tracemalloc

import pytest
import safetensors
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lora_np.errors import LoraNpError
from lora_np.files import adapter_from_bytes, adapter_to_bytes, read_base, read_safetensors_header
from tests.naive import tensor_files as make

WHOLE = make.whole(
    {
        "base_model.model.q.lora_A.weight": ("F32", (2, 4), make.floats(range(8))),
        "base_model.model.q.lora_B.weight": ("F32", (3, 2), make.floats(range(6))),
        "base_model.model.e.lora_embedding_A": ("BF16", (2, 3), make.bfloats(range(6))),
        "base_model.model.e.lora_embedding_B": ("BF16", (1, 2), make.bfloats([3, 4])),
        "base_model.model.lm_head.weight": ("F16", (3,), make.floats([1, 2, 3], "e")),
    },
    metadata={"format": "pt"},
)
CONFIG = make.config(
    target_modules=["q", "e"],
    rank_pattern={"e": 2},
    alpha_pattern={r"q|.*\.v": 4},
    use_rslora=False,
    bias="none",
)
START = len(WHOLE) - 32 - 24 - 12 - 4 - 6  # of the data
MEMORY = 2_000_000  # bytes; the file has a thousandth of it
PARTS = [
    *(bytes([c]) for c in b'"{}[],:-90.\\\xff\0'),
    b"e9",
    b"\\u",
    b"null",
    b"NaN",
    b"true",
    b"F64",
    b"9" * 21,
]
FUZZ = settings(max_examples=150, deadline=None, derandomize=True)


def changed(content):
    """Draw ways to damage a file: bytes replaced, cut, doubled or moved; most of them in its text."""
    byte = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    spans = st.tuples(st.integers(0, len(content)), st.integers(0, len(content))).map(sorted)
    parts = st.sampled_from(PARTS)
    return st.one_of(
        st.lists(byte, min_size=1, max_size=4).map(lambda bytes_: replaced(content, bytes_)),
        spans.map(lambda ab: content[: ab[0]] + content[ab[1] :]),
        spans.map(lambda ab: content[: ab[1]] + content[ab[0] :]),
        st.tuples(spans, parts).map(lambda x: content[: x[0][0]] + x[1] + content[x[0][0] + len(x[1]) :]),
        st.tuples(spans, parts).map(lambda x: content[: x[0][0]] + x[1] + content[x[0][0] :]),
        st.integers(0, len(content)).map(lambda n: content[:n]),
        st.binary(max_size=40).map(lambda tail: content + tail),
    )


def replaced(content, bytes_):
    """Put other bytes into a file."""
    made = bytearray(content)
    for place, value in bytes_:
        made[place] = value
    return bytes(made)


def answered(read, *args):
    """Call a reader; return what it reads or None where it refuses, and see to the memory it took."""
    tracemalloc.start()
    try:
        return read(*args)
    except LoraNpError:
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY


def test_the_files_are_whole():
    assert len(adapter_from_bytes(WHOLE, CONFIG).modules) == 2


@FUZZ
@given(changed(WHOLE))
@example(WHOLE[:START])
def test_a_damaged_tensor_file(content):
    adapter = answered(adapter_from_bytes, content, CONFIG)
    answered(read_base, content, ["lm_head"])
    if adapter is not None:
        adapter_from_bytes(*adapter_to_bytes(adapter))


@FUZZ
@given(changed(CONFIG))
def test_a_damaged_config(content):
    answered(adapter_from_bytes, WHOLE, content)


@FUZZ
@given(changed(WHOLE[:START]).map(lambda header: header + WHOLE[START:]))
def test_a_header_that_is_believed_is_believed_by_the_library(content):
    """The other way round we are stricter: keys that stand twice, for example."""
    header = answered(read_safetensors_header, content)
    if header is not None:
        assert {name for name, _ in safetensors.deserialize(content)} == set(header.tensors)


@given(st.binary(max_size=200))
def test_any_bytes(content):
    answered(adapter_from_bytes, content)
    answered(adapter_from_bytes, WHOLE, content)


@pytest.mark.parametrize("place", range(START, len(WHOLE), 5))
def test_a_changed_number_is_read_as_it_is_or_refused(place):
    answered(adapter_from_bytes, replaced(WHOLE, [(place, 0x7F), (place - 1, 0xFF)]), CONFIG)
