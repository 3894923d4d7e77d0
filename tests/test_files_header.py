"""Headers of safetensors files: what holds together is believed, every other one raises our error and costs nothing.

The files are put together byte by byte (tests/naive/tensor_files.py); the format's own library judges the whole ones.
"""

import gzip
import io
import json
import os
import struct
import tracemalloc
import zipfile

import pytest
import safetensors
import safetensors.numpy

from lora_np import errors
from lora_np.files import Limits, TensorEntry, read_safetensors_header
from tests.naive import tensor_files as make

TENSOR = {"x": ("F32", (2, 3), make.floats(range(6)))}


def refused(content, error, *words, **options):
    """Assert that the bytes raise exactly this class, with all the words; return the message."""
    with pytest.raises(errors.LoraNpError) as caught:
        read_safetensors_header(content, **options)
    assert type(caught.value) is error, caught.value
    for word in words:
        assert word in str(caught.value), f"{word!r} not in: {caught.value}"
    return str(caught.value)


class TestWholeFiles:
    def test_entries_and_metadata_are_those_that_were_written(self):
        content = make.whole(TENSOR | {"y": ("BF16", (2,), b"\x80\x3f\x00\x40")}, metadata={"format": "pt"})
        header = read_safetensors_header(content)
        start = 8 + struct.unpack("<Q", content[:8])[0]
        assert dict(header.tensors) == {
            "x": TensorEntry("F32", (2, 3), start, start + 24),
            "y": TensorEntry("BF16", (2,), start + 24, start + 28),
        }
        assert dict(header.metadata) == {"format": "pt"}
        assert header.data_start == start

    def test_a_path_reads_as_its_bytes_do(self, tmp_path):
        path = tmp_path / "x.safetensors"
        path.write_bytes(make.whole(TENSOR))
        assert read_safetensors_header(path) == read_safetensors_header(str(path))
        assert read_safetensors_header(path) == read_safetensors_header(path.read_bytes())

    @pytest.mark.parametrize(
        "tensors",
        [
            {},
            {"scalar": ("F64", (), make.floats([1], "d"))},
            {"empty": ("F32", (0, 5), b""), "x": TENSOR["x"][:3]},
            {"x": TENSOR["x"], "empty": ("I64", (0,), b"")},
            {"é / …": ("U8", (1,), b"\1")},
            {f"t{i}": ("U8", (1,), b"\1") for i in range(300)},
        ],
        ids=["none", "scalar", "empty first", "empty last", "letters", "many"],
    )
    def test_what_the_library_takes_is_taken(self, tensors):
        content = make.whole(tensors)
        judged = safetensors.numpy.load(content)
        assert {name: e.shape for name, e in read_safetensors_header(content).tensors.items()} == {
            name: x.shape for name, x in judged.items()
        }

    def test_order_in_the_header_is_free_and_spaces_may_follow(self):
        text = json.dumps({"b": make.entry("U8", [1], 1, 2), "a": make.entry("U8", [1], 0, 1)}) + "   "
        content = make.raw(text, b"\1\2")
        assert safetensors.numpy.load(content).keys() == read_safetensors_header(content).tensors.keys()

    @pytest.mark.parametrize(
        ("dtype", "count", "span"), [("F8_E4M3", 3, 3), ("F4", 4, 2), ("F6_E2M3", 4, 3), ("C64", 1, 8)]
    )
    def test_types_that_are_not_read_are_still_measured(self, dtype, count, span):
        content = make.whole({"x": (dtype, (count,), bytes(span))})
        assert [name for name, _ in safetensors.deserialize(content)] == ["x"]
        assert read_safetensors_header(content).tensors["x"].dtype == dtype


class TestRow44And45MissingEmptyShort:
    def test_missing_path(self, tmp_path):
        refused(tmp_path / "no.safetensors", errors.AdapterFileError, "no.safetensors", "No such file")

    def test_directory(self, tmp_path):
        refused(tmp_path, errors.AdapterFileError, str(tmp_path))

    def test_a_pipe_is_refused_and_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        refused(tmp_path / "pipe", errors.AdapterFileError, "not a regular file")

    def test_a_path_that_cannot_be(self):
        refused("a\0b", errors.AdapterFileError, "null")
        refused("x" * 5000, errors.AdapterFileError, "too long")
        refused(7, errors.ConfigError, "source must be a path", "int")

    def test_empty(self):
        refused(b"", errors.AdapterFileError, "0 bytes")

    @pytest.mark.parametrize("size", range(1, 8))
    def test_fewer_than_eight_bytes(self, size):
        refused(b"\1" * size, errors.TruncatedFileError, "8-byte header length", f"{size} bytes")


class TestRow46HeaderLength:
    @pytest.mark.parametrize("length", [2**62, 2**64 - 1, 100_000_001])
    def test_a_claim_beyond_the_limit_costs_nothing(self, length):
        content = make.raw("{}", b"", length=length)
        tracemalloc.start()
        refused(content, errors.HeaderTooLargeError, str(length), "100000000")
        assert tracemalloc.get_traced_memory()[1] < 100_000
        tracemalloc.stop()

    def test_a_claim_beyond_the_file(self):
        refused(make.raw("{}", b"1234", length=7), errors.HeaderTooLargeError, "7 bytes", "6 bytes follow")

    def test_the_last_length_that_fits(self):
        assert not read_safetensors_header(make.raw("{}    ", length=6)).tensors

    def test_a_limit_of_the_caller(self):
        refused(
            make.whole(TENSOR), errors.HeaderTooLargeError, "limit is 10;", limits=Limits(header_bytes=10)
        )

    def test_a_big_endian_length_is_told(self):
        content = b"\0" * 7 + b"\x02" + b"{}"
        refused(content, errors.HeaderTooLargeError, "big-endian", "little-endian")


class TestRow47And48Json:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (b"[1]", ["byte 0", "'{'"]),
            (b"   ", ["byte 0"]),
            (b'{"x": \xff}', ["not UTF-8", "byte 6"]),
            (b'{"x": 1', ["1:8"]),
            (b'{"x": 1,}', ["not JSON", "1:9"]),
            (b'{"x": 1} 2', ["1:10"]),
            (b'{"x": "\\ud800"}', ["surrogate"]),
            (b'{"x', ["not JSON"]),
            (b"\xef\xbb\xbf{}", ["BOM"]),
            (b'{"x": {}, "x": {}}', ["'x'", "twice"]),
            (b'{"x": {"dtype": "F32", "dtype": "F32"}}', ["'dtype'", "twice"]),
            (b'{"__metadata__": {"a": "1", "a": "1"}}', ["'a'", "twice"]),
            (b'{"x": [[[1]]]}', ["4 deep", "limit is 3"]),
        ],
    )
    def test_text_that_is_no_object_is_told_with_its_place(self, text, words):
        refused(make.raw(text), errors.HeaderJSONError, *words)

    @pytest.mark.parametrize("bracket", [b"[", b'{"x":'])
    def test_depth_of_a_hundred_thousand(self, bracket):
        refused(make.raw(b'{"x": ' + bracket * 100_000), errors.HeaderJSONError, "limit is")

    def test_brackets_in_names_do_not_count(self):
        content = make.whole({"[[[[{{{{": ("U8", (1,), b"\1"), 'quo"te\\': ("U8", (1,), b"\1")})
        assert set(read_safetensors_header(content).tensors) == {"[[[[{{{{", 'quo"te\\'}

    def test_an_unpaired_surrogate_is_told_from_a_pair_and_from_a_backslash(self):
        for name in ("😀", "\\ud800"):
            content = make.whole({name: ("U8", (1,), b"\1")})
            assert set(read_safetensors_header(content).tensors) == {name}

    def test_a_million_tensors_are_refused_before_they_are_parsed(self):
        text = b'{"a":{},' + b'"b":{},' * 999_999 + b'"c":{}}'
        tracemalloc.start()
        refused(make.raw(text), errors.HeaderJSONError, "1000002 objects", "limit is 100002")
        assert tracemalloc.get_traced_memory()[1] < 10 * len(text)
        tracemalloc.stop()

    def test_as_many_tensors_as_allowed_and_one_more(self):
        many = make.whole({f"t{i}": ("U8", (1,), b"\1") for i in range(6)}, metadata={"a": "b"})
        assert len(read_safetensors_header(many, limits=Limits(tensors=6)).tensors) == 6
        refused(many, errors.HeaderJSONError, "8 objects", "limit is 7", limits=Limits(tensors=5))
        plain = make.whole({f"t{i}": ("U8", (1,), b"\1") for i in range(6)})
        refused(plain, errors.HeaderJSONError, "6 tensors", "limit is 5", limits=Limits(tensors=5))

    def test_a_long_list_is_refused_before_it_is_parsed(self):
        text = b'{"x": [' + b"0," * 3_000_000 + b"0]}"
        tracemalloc.start()
        refused(make.raw(text), errors.HeaderJSONError, " values,")
        assert tracemalloc.get_traced_memory()[1] < 5 * len(text)
        tracemalloc.stop()

    @pytest.mark.parametrize("text", [b'"' + b'\\"' * 300_000, b'{"' + b"\\" * 500_001, b'{"a' * 200_000])
    def test_quotes_that_never_close_take_linear_time(self, text):
        refused(make.raw(text), errors.HeaderJSONError)


class TestRow49Schema:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
            ("1e400", "1e400"),
            ("-1", "-1"),
            ("1.5", "1.5"),
            ("2.0", "2.0"),
            ("true", "True"),
            ("null", "None"),
            ('"3"', "'3'"),
            ("18446744073709551616", "18446744073709551616"),
            ("9" * 5000, "9999"),
        ],
    )
    @pytest.mark.parametrize("key", ["shape", "data_offsets"])
    def test_a_number_that_is_no_extent(self, key, value, shown):
        facts = {"shape": "[1]", "data_offsets": "[0, 1]"} | {key: f"[0, {value}]"}
        text = (
            f'{{"x": {{"dtype": "U8", "shape": {facts["shape"]}, "data_offsets": {facts["data_offsets"]}}}}}'
        )
        message = refused(make.raw(text, b"\0"), errors.HeaderSchemaError, key, shown, "'x'")
        assert len(message) < 1000

    @pytest.mark.parametrize(
        "facts",
        [
            3,
            [],
            {},
            {"dtype": "U8", "shape": [1]},
            make.entry("U8", [1], 0, 1) | {"more": 1},
            make.entry("U8", 1, 0, 1),
            make.entry("U8", {"a": 1}, 0, 1),
            make.entry("U8", [1] * 65, 0, 1),
        ],
    )
    def test_an_entry_that_describes_no_tensor(self, facts):
        refused(make.raw(json.dumps({"x": facts}), b"\0"), errors.HeaderSchemaError, "'x'")

    def test_empty_shapes_that_no_array_can_have(self):
        for shape in ([0, 2**63], [2**40, 2**40, 0]):
            content = make.raw(json.dumps({"x": make.entry("F32", shape, 0, 0)}))
            refused(content, errors.HeaderSchemaError, "shape")

    @pytest.mark.parametrize("metadata", [3, [], {"a": 1}, {"a": None}])
    def test_metadata_is_text(self, metadata):
        refused(make.raw(json.dumps({"__metadata__": metadata})), errors.HeaderSchemaError, "__metadata__")

    def test_a_long_name_is_cut_in_the_message(self):
        assert (
            len(refused(make.raw(json.dumps({"n" * 10**6: 3})), errors.HeaderSchemaError, "1000002")) < 1000
        )


class TestRow50To52Offsets:
    def spans(self, *spans, data):
        """Put together tensors of bytes at the given spans."""
        header = {f"t{i}": make.entry("U8", [abs(b - a)], a, b) for i, (a, b) in enumerate(spans)}
        return make.raw(json.dumps(header), bytes(data))

    def test_overlap(self):
        refused(self.spans((0, 4), (3, 6), data=6), errors.OffsetError, "'t1'", "overlaps", "6 bytes")

    def test_the_same_span_twice(self):
        refused(self.spans((0, 4), (0, 4), data=4), errors.OffsetError, "overlaps")

    def test_hole(self):
        refused(self.spans((0, 4), (5, 6), data=6), errors.OffsetError, "'t1'", "hole")

    def test_hole_at_the_start(self):
        refused(self.spans((1, 4), data=4), errors.OffsetError, "hole after the header")

    def test_reversed(self):
        refused(self.spans((4, 0), data=4), errors.OffsetError, "[4, 0]", "start <= stop")

    def test_beyond_the_end(self):
        refused(self.spans((0, 9), data=4), errors.TruncatedFileError, "5 are missing")

    @pytest.mark.parametrize("stop", [2**63, 2**64 - 1])
    def test_unsigned_overflow(self, stop):
        header = {"x": make.entry("U8", [stop], 0, stop)}
        refused(make.raw(json.dumps(header)), errors.HeaderSchemaError, "shape")
        header = {"x": make.entry("F64", [2**61], 0, 0)}  # no bytes, were their number taken modulo 2^64
        refused(make.raw(json.dumps(header)), errors.OffsetError, "1.8446744073709552e+19 bytes")

    def test_three_offsets(self):
        header = {"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 1]}}
        refused(make.raw(json.dumps(header), b"\0"), errors.OffsetError, "[0, 1, 1]")

    @pytest.mark.parametrize(("shape", "needs"), [([2, 3], "24"), ([7], "28"), ([], "4")])
    def test_shape_against_span(self, shape, needs):
        header = {"x": make.entry("F32", shape, 0, 20)}
        refused(make.raw(json.dumps(header), bytes(20)), errors.OffsetError, needs, "span 20")

    def test_half_a_byte_is_no_span(self):
        header = {"x": make.entry("F4", [3], 0, 1)}
        refused(make.raw(json.dumps(header), bytes(1)), errors.OffsetError, "1.5 bytes")

    def test_truncated_by_one_byte(self):
        content = make.whole(TENSOR)
        words = (f"has {len(content) - 1} bytes", f"need {len(content)}", "1 are missing")
        refused(content[:-1], errors.TruncatedFileError, *words)

    def test_trailing_byte(self):
        content = make.whole(TENSOR)
        refused(content + b"\0", errors.OffsetError, f"{len(content) + 1} bytes", "1 trailing")


class TestRow53And64Types:
    @pytest.mark.parametrize("dtype", ["F128", "f32", ">F32", "float32", "", None, 32, ["F32"], {}])
    def test_unknown_type(self, dtype):
        header = {"x": make.entry(dtype, [1], 0, 4)}
        refused(make.raw(json.dumps(header), bytes(4)), errors.DTypeError, "'x'", "BF16", "little-endian")


class TestRow60And61OtherFormats:
    @pytest.mark.parametrize("suffix", [".bin", ".pt", ".PTH", ".ckpt", ".pkl", ".npy", ".npz"])
    def test_a_pickle_is_refused_by_name_and_never_opened(self, tmp_path, suffix):
        words = "refused: can execute code; convert to safetensors"
        refused(tmp_path / f"adapter_model{suffix}", errors.UnsafeFormatError, words)

    def test_a_pickle_is_refused_by_content(self):
        import pickle

        import numpy as np

        array = io.BytesIO()
        np.save(array, np.zeros(20))
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps({}))
        contents = [pickle.dumps(list(range(99)), protocol=p) for p in (2, 3, 4, 5)]
        for content in (*contents, array.getvalue(), archive.getvalue()):
            refused(content, errors.UnsafeFormatError, "can execute code", "convert to safetensors")

    def test_a_header_whose_length_looks_like_a_pickle_is_none(self):
        content = make.raw("{}" + " " * (0x0280 - 2))
        assert content.startswith(b"\x80\x02")
        assert not read_safetensors_header(content).tensors

    def test_git_lfs_pointer(self):
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
        refused(pointer, errors.AdapterFileError, "looks like a Git LFS pointer")

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (gzip.compress(make.whole(TENSOR), mtime=0), "gzip"),
            (b"PK\x03\x04" + bytes(60), "zip"),
            (b"GGUF" + bytes(20), "GGUF"),
            (b"<!DOCTYPE html><html></html>", "web page"),
        ],
    )
    def test_other_formats_are_named(self, content, words):
        refused(content, errors.AdapterFileError, words)

    def test_a_zip_bomb_is_not_unpacked(self):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("model.safetensors", bytes(20_000_000))
        content = archive.getvalue()
        tracemalloc.start()
        refused(content, errors.AdapterFileError, "zip archive")
        assert tracemalloc.get_traced_memory()[1] < 100_000
        tracemalloc.stop()


class TestErrors:
    def test_every_class_has_its_own_code(self):
        classes = [
            c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.LoraNpError)
        ]
        assert len({c.code for c in classes}) == len(classes)

    def test_limits_are_checked(self):
        with pytest.raises(errors.ConfigError, match="header_bytes"):
            Limits(header_bytes=-1)
