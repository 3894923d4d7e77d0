"""Writing adapters: what was read comes back bit for bit, the library reads it, and a failure leaves the old file."""

import json
import os
import struct
import sys

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from lora_np import errors
from lora_np.files import adapter_from_bytes, adapter_to_bytes, make_adapter, read_adapter, write_adapter
from lora_np.files.module import AdapterFile
from lora_np.files.tensors import decode, encode
from lora_np.lora import LoraParams
from tests.naive import tensor_files as make

STEM = "base_model.model.q"
PARAMS = LoraParams(B=np.arange(6.0).reshape(3, 2), A=np.ones((2, 4)))


def tensors_of(content):
    """Take a file apart with plain means: {name: (dtype, shape, bytes)}."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    header.pop("__metadata__", None)
    return {
        name: (e["dtype"], e["shape"], data[e["data_offsets"][0] : e["data_offsets"][1]])
        for name, e in header.items()
    }


class TestRoundTrip:
    @pytest.mark.parametrize(
        ("dtype", "pack"),
        [
            ("BF16", make.bfloats),
            ("F16", lambda values: make.floats(values, "e")),
            ("F32", make.floats),
            ("F64", lambda values: make.floats(values, "d")),
        ],
    )
    def test_every_kind_of_module_comes_back_bit_for_bit(self, dtype, pack):
        tensors = {
            f"{STEM}.lora_A.weight": (dtype, [2, 4], pack(range(8))),
            f"{STEM}.lora_B.weight": (dtype, [3, 2], pack([1, -2, 0.5, 4, -0.0, 96])),
            f"{STEM}.lora_magnitude_vector": ("F32", [3], make.floats([1, 2, 3])),
            "base_model.model.e.lora_embedding_A": (dtype, [2, 3], pack(range(6))),
            "base_model.model.e.lora_embedding_B": (dtype, [1, 2], pack([3, 4])),
            "base_model.model.e.lora_magnitude_vector": (dtype, [1], pack([3])),
            "base_model.model.c.lora_A.weight": (dtype, [2, 1, 2, 2], pack(range(8))),
            "base_model.model.c.lora_B.weight": (dtype, [3, 2, 1, 1], pack(range(6))),
            "base_model.model.c.lora_magnitude_vector": (dtype, [1, 3, 1, 1], pack([1, 2, 3])),
            "base_model.model.lm_head.weight": ("I64", [1], struct.pack("<q", -3)),
        }
        config = make.config(use_dora=True, target_modules=["q", "e", "c"], new=[1, {"a": None}])
        written, settings = adapter_to_bytes(adapter_from_bytes(make.whole(tensors), config))
        assert tensors_of(written) == tensors
        assert json.loads(config).items() <= json.loads(settings).items()

    def test_the_bias_of_b(self):
        tensors = tensors_of(
            make.linear(**{f"{STEM}.lora_B.bias": ("F16", [3], make.floats([1, 2, 3], "e"))})
        )
        read = adapter_from_bytes(make.whole(tensors), make.config(lora_bias=True))
        assert tensors_of(adapter_to_bytes(read)[0]) == tensors

    def test_the_library_reads_what_was_written(self):
        content, _ = adapter_to_bytes(make_adapter({"q": PARAMS}, alpha=4))
        judged = safetensors.numpy.load(content)
        assert judged[f"{STEM}.lora_A.weight"].tolist() == PARAMS.A.tolist()
        assert judged[f"{STEM}.lora_B.weight"].tolist() == PARAMS.B.tolist()
        assert struct.unpack("<Q", content[:8])[0] % 8 == 0

    def test_a_folder_is_made_and_read_again(self, tmp_path):
        adapter = make_adapter({"q": PARAMS}, alpha=4, use_rslora=True, base_model_name="some/model")
        write_adapter(tmp_path / "a" / "b", adapter)
        read = read_adapter(tmp_path / "a" / "b")
        assert read.modules["q"].params.B.tolist() == PARAMS.B.tolist()
        assert read.modules["q"].scale == pytest.approx(4 / 2**0.5, rel=1e-15)
        assert (read.config.base_model_name, read.config.target_modules) == ("some/model", ("q",))
        assert sorted(os.listdir(tmp_path / "a" / "b")) == [
            "adapter_config.json",
            "adapter_model.safetensors",
        ]

    def test_modules_of_other_ranks_stand_in_the_pattern(self, tmp_path):
        """[lora-scale]"""
        small = LoraParams(B=np.ones((3, 1)), A=np.ones((1, 4)))
        write_adapter(tmp_path, make_adapter({"a.q": PARAMS, "a.v": small}, alpha=4, dtype="bfloat16"))
        read = read_adapter(tmp_path)
        assert dict(read.config.rank_pattern) == {"a.v": 1}
        assert {name: (m.rank, m.scale, m.dtype) for name, m in read.modules.items()} == {
            "a.q": (2, 2.0, "bfloat16"),
            "a.v": (1, 4.0, "bfloat16"),
        }


class TestRounding:
    """Numbers are rounded to nearest, ties to even, where the stored type is narrower."""

    @given(
        st.floats(allow_nan=False, allow_infinity=False, width=32, min_value=-(2.0**127), max_value=2.0**127)
    )
    def test_bfloat16_is_the_nearest_of_its_neighbours(self, x):
        """Judged among the three nearest bit patterns, in plain Python floats."""
        bits = struct.unpack("<I", struct.pack("<f", x))[0] >> 16
        got = struct.unpack("<H", encode(np.array([x], np.float32), "BF16"))[0]

        def value(pattern):
            return struct.unpack("<f", struct.pack("<I", pattern << 16))[0]

        error, tie = min((abs(value(p) - x), p & 1) for p in (bits, bits + 1))
        assert (abs(value(got) - x), got & 1) == (error, tie)

    @pytest.mark.parametrize(
        ("steps", "nearest"), [(0.5, 0), (1.5, 2), (2.5, 2), (0.5 + 2**-15, 1), (-1.5, -2)]
    )
    def test_a_number_halfway_goes_to_the_even_neighbour(self, steps, nearest):
        """Between 1 and 2 the numbers of bfloat16 are 1/128 apart, below 1 they are 1/256 apart."""
        x = 1 + steps / 128 if steps > 0 else 1 + steps / 256
        wanted = 1 + nearest / (128 if steps > 0 else 256)
        assert decode(encode(np.array([x], np.float32), "BF16"), "BF16")[0] == wanted

    def test_every_finite_bfloat16_comes_back(self):
        bits = np.arange(2**16, dtype="<u2")
        bits = bits[(bits & 0x7F80) != 0x7F80]
        assert encode(decode(bits.tobytes(), "BF16"), "BF16") == bits.tobytes()

    def test_every_finite_half_comes_back(self):
        bits = np.arange(2**16, dtype="<u2")
        bits = bits[(bits & 0x7C00) != 0x7C00]
        assert encode(decode(bits.tobytes(), "F16"), "F16") == bits.tobytes()

    @pytest.mark.parametrize(
        ("dtype", "x"), [("F16", 65520.0), ("BF16", 3.4e38), ("F32", 1e39), ("F64", np.nan)]
    )
    def test_what_does_not_fit_is_refused(self, dtype, x):
        with pytest.raises(errors.NonFiniteError, match="1 non-finite"):
            encode(np.array([0.0, x]), dtype)


class TestFailures:
    def test_row_63_an_interrupted_write_leaves_the_old_file(self, tmp_path, monkeypatch):
        write_adapter(tmp_path, make_adapter({"q": PARAMS}, alpha=4))
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

        def stop(handle):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", stop)
        with pytest.raises(KeyboardInterrupt):
            write_adapter(tmp_path, make_adapter({"v": PARAMS}, alpha=8))
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_a_folder_that_cannot_be(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(errors.AdapterFileError, match="cannot be written"):
            write_adapter(tmp_path / "file", make_adapter({"q": PARAMS}, alpha=4))

    def test_without_a_config_there_is_no_alpha_to_write(self):
        with pytest.raises(errors.ConfigError, match="no alpha to write"):
            adapter_to_bytes(adapter_from_bytes(make.linear()))

    def test_what_is_no_adapter(self):
        with pytest.raises(errors.ConfigError, match="AdapterFile"):
            write_adapter("x", {"q": PARAMS})
        with pytest.raises(errors.ConfigError, match="params"):
            make_adapter([PARAMS], alpha=1)
        with pytest.raises(errors.ConfigError, match="bfloat17"):
            make_adapter({"q": PARAMS}, alpha=1, dtype="bfloat17")
        with pytest.raises(errors.RankError):
            make_adapter({"q": LoraParams(B=np.ones((3, 1)), A=np.ones((2, 4)))}, alpha=1)

    def test_extras_made_by_hand_are_float32(self):
        made = make_adapter({"q": PARAMS}, alpha=4)
        more = AdapterFile(made.config, made.modules, extra={"head.bias": np.ones(2)})
        assert tensors_of(adapter_to_bytes(more)[0])["head.bias"] == ("F32", [2], make.floats([1, 1]))


def test_numbers_of_the_other_byte_order_are_written_little_endian():
    other = ">" if sys.byteorder == "little" else "<"
    for code in ("f4", "f8"):
        assert encode(np.array([1.0, 2.5], other + code), "F32") == make.floats([1.0, 2.5])
