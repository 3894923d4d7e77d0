"""Reading adapters: shapes and scales are those of the tensors and the config, and whatever does not fit is refused.

Every file is put together byte by byte (tests/naive/tensor_files.py); expected numbers are those that were packed.
"""

import json
import math
import struct

import numpy as np
import pytest

from lora_np import errors, files
from lora_np.files import Limits, adapter_from_bytes, read_adapter
from tests.naive import tensor_files as make

STEM = "base_model.model.q"
MAGNITUDE = {f"{STEM}.lora_magnitude_vector": ("F32", (3,), make.floats([1, 2, 3]))}
BIAS = {f"{STEM}.lora_B.bias": ("F32", (3,), make.floats([4, 5, 6]))}


def refused(error, words, *args, **options):
    """Assert that reading raises exactly this class, with all the words; return the message."""
    with pytest.raises(errors.LoraNpError) as caught:
        adapter_from_bytes(*args, **options)
    assert type(caught.value) is error, caught.value
    for word in words:
        assert word in str(caught.value), f"{word!r} not in: {caught.value}"
    return str(caught.value)


def only(adapter):
    """Return the one module of an adapter."""
    (module,) = adapter.modules.values()
    return module


def factors(A, B, **more):
    """Put together a file of two factors, given as (dtype, shape, bytes), and more tensors."""
    return make.whole({f"{STEM}.lora_A.weight": A, f"{STEM}.lora_B.weight": B} | more)


class TestShapesAndNumbers:
    def test_a_linear_module_has_the_papers_shapes(self):
        read = adapter_from_bytes(make.linear(d=3, k=4, r=2), make.config())
        module = read.modules["q"]
        assert module.params.A.tolist() == np.reshape(make.ramp(8), (2, 4)).tolist()
        assert module.params.B.tolist() == np.reshape(make.ramp(6, start=-2.0), (3, 2)).tolist()
        assert (module.shape, module.rank, module.kind, module.base_shape) == ((3, 4), 2, "linear", (3, 4))
        assert (module.dtype, module.params.A.dtype) == ("float32", np.float32)
        assert read.size_bytes == len(make.linear(d=3, k=4, r=2))
        assert not module.scale_assumed

    def test_conv1d_is_declared_transposed(self):
        read = adapter_from_bytes(make.linear(), make.config(fan_in_fan_out=True))
        assert only(read).transposed
        assert only(read).base_shape == (4, 3)

    def test_an_embedding_acts_on_its_transposed_table(self):
        content = make.whole(
            {
                f"{STEM}.lora_embedding_A": ("F32", (2, 5), make.floats(range(10))),
                f"{STEM}.lora_embedding_B": ("F32", (3, 2), make.floats(range(6))),
            }
        )
        module = only(adapter_from_bytes(content, make.config()))
        assert (module.kind, module.shape, module.base_shape) == ("embedding", (3, 5), (5, 3))
        assert module.transposed
        assert module.params.A[1].tolist() == [5, 6, 7, 8, 9]

    def test_a_convolution_is_laid_out_as_rows(self):
        """ΔW[o, c, y, x] = Σ_t B[o, t] A[t, c, y, x], in plain loops."""
        A, B = list(range(2 * 3 * 2 * 2)), [1.0, -2.0, 3.0, 0.5]
        content = factors(("F32", (2, 3, 2, 2), make.floats(A)), ("F32", (2, 2, 1, 1), make.floats(B)))
        module = only(adapter_from_bytes(content, make.config()))
        delta = (module.params.B @ module.params.A).reshape(module.base_shape)
        assert module.kind == "conv2d"
        for o in range(2):
            for c in range(3):
                for y in range(2):
                    for x in range(2):
                        entry = sum(B[2 * o + t] * A[12 * t + 4 * c + 2 * y + x] for t in range(2))
                        assert delta[o, c, y, x] == entry

    @pytest.mark.parametrize(
        ("dtype", "pack", "kept"),
        [
            ("F64", lambda v: make.floats(v, "d"), np.float64),
            ("F32", make.floats, np.float32),
            ("F16", lambda v: make.floats(v, "e"), np.float32),
            ("BF16", make.bfloats, np.float32),
        ],
    )
    def test_every_float_type_is_read_exactly(self, dtype, pack, kept):
        """Property of row 64: bfloat16 without any package, by its bits."""
        A, B = [1.5, -0.25, 0.0, 2.0**-14], [-3.0, 96.0]
        read = only(
            adapter_from_bytes(factors((dtype, (2, 2), pack(A)), (dtype, (1, 2), pack(B))), make.config())
        )
        assert read.params.A.ravel().tolist() == A
        assert read.params.B.ravel().tolist() == B
        assert read.params.A.dtype == kept
        assert read.dtype == {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}[dtype]

    def test_the_smallest_and_largest_of_bfloat16_and_half(self):
        bits = [0x0001, 0x7F7F, 0x8000, 0x0080]
        wanted = [struct.unpack("<f", struct.pack("<I", b << 16))[0] for b in bits]
        A = ("BF16", (2, 2), struct.pack("<4H", *bits))
        read = only(adapter_from_bytes(factors(A, ("BF16", (1, 2), make.bfloats([1, 1]))), make.config()))
        assert read.params.A.ravel().tolist() == wanted
        assert math.copysign(1, read.params.A[1, 0]) == -1

    def test_what_is_read_cannot_be_written_into(self):
        module = only(adapter_from_bytes(make.linear(), make.config()))
        for x in module.params:
            with pytest.raises(ValueError, match="read-only"):
                x[...] = 0

    def test_a_name_without_the_prefix_is_a_name(self):
        assert set(adapter_from_bytes(make.linear(stem="layers.0.v"), make.config()).modules) == {
            "layers.0.v"
        }

    def test_a_module_combines_as_adapters_do(self):
        module = only(adapter_from_bytes(make.linear(), make.config()))
        by_hand = [[4.0 * sum(b * a for b, a in zip(row, column, strict=True)) for column in module.params.A.T.tolist()]
                   for row in module.params.B.tolist()]  # fmt: skip
        assert module.lora.delta().tolist() == by_hand


class TestScale:
    """[lora-scale] [lora-scale-rs]: s = alpha / r, or alpha / sqrt(r), after the patterns."""

    def test_alpha_over_r(self):
        module = only(adapter_from_bytes(make.linear(r=2), make.config(lora_alpha=7)))
        assert (module.scale, module.alpha) == (3.5, 7.0)

    def test_rank_stabilized(self):
        module = only(adapter_from_bytes(make.linear(r=4), make.config(r=4, lora_alpha=7, use_rslora=True)))
        assert module.scale == 3.5

    def test_patterns_state_rank_and_alpha_of_one_module(self):
        content = make.linear(stem=f"{STEM}.k_proj", r=3)
        config = make.config(r=2, lora_alpha=8, rank_pattern={"k_proj": 3}, alpha_pattern={"q.k_proj": 6})
        module = only(adapter_from_bytes(content, config))
        assert (module.rank, module.alpha, module.scale) == (3, 6.0, 2.0)

    def test_alpha_does_not_follow_the_rank_of_a_pattern(self):
        config = make.config(r=2, lora_alpha=8, rank_pattern={"q": 4})
        assert only(adapter_from_bytes(make.linear(r=4), config)).scale == 2.0

    def test_without_a_config_the_scale_is_assumed_and_marked(self):
        read = adapter_from_bytes(make.linear())
        assert read.config is None
        assert (only(read).scale, only(read).alpha, only(read).scale_assumed) == (1.0, None, True)

    def test_without_a_config_the_caller_may_state_it(self):
        module = only(adapter_from_bytes(make.linear(), scale=0.5))
        assert (module.scale, module.scale_assumed) == (0.5, False)

    def test_the_scale_is_stated_once(self):
        refused(errors.ConfigError, ["scale", "config"], make.linear(), make.config(), scale=2.0)
        refused(errors.ConfigError, ["finite"], make.linear(), scale=float("nan"))

    def test_the_base_that_an_initialization_shifts_is_told(self):
        for init, shifted in (("pissa_niter_16", True), ("olora", True), (True, False), ("gaussian", False)):
            config = make.config(init_lora_weights=init)
            assert adapter_from_bytes(make.linear(), config).config.shifts_base is shifted


class TestDoraAndBias:
    def test_magnitude(self):
        module = only(adapter_from_bytes(make.linear(**MAGNITUDE), make.config(use_dora=True)))
        assert module.magnitude.tolist() == [1, 2, 3]

    def test_magnitude_of_a_convolution_loses_its_axes_of_one(self):
        content = factors(
            ("F32", (2, 1, 1, 1), make.floats([1, 2])),
            ("F32", (3, 2, 1, 1), make.floats(range(6))),
            **{f"{STEM}.lora_magnitude_vector": ("F16", (1, 3, 1, 1), make.floats([1, 2, 3], "e"))},
        )
        module = only(adapter_from_bytes(content, make.config(use_dora=True)))
        assert (module.magnitude.tolist(), module.vector_dtype) == ([1, 2, 3], "float16")

    def test_bias(self):
        module = only(adapter_from_bytes(make.linear(**BIAS), make.config(lora_bias=True)))
        assert module.bias.tolist() == [4, 5, 6]

    def test_without_a_config_both_are_taken_as_they_are(self):
        assert only(adapter_from_bytes(make.linear(**MAGNITUDE))).magnitude is not None

    def test_dora_without_its_magnitude(self):
        words = ["lora_magnitude_vector"]
        refused(errors.MissingTensorError, words, make.linear(), make.config(use_dora=True))

    @pytest.mark.parametrize("tensor", [MAGNITUDE, BIAS])
    def test_what_the_config_rules_out_is_unexpected(self, tensor):
        content = make.linear(**tensor)
        refused(errors.UnexpectedTensorError, [*tensor, "strict=False"], content, make.config())
        read = adapter_from_bytes(content, make.config(), strict=False)
        assert only(read).magnitude is None
        assert only(read).bias is None
        assert set(read.extra) == set(tensor)

    def test_a_vector_of_another_length(self):
        wrong = {f"{STEM}.lora_magnitude_vector": ("F32", (2,), make.floats([1, 2]))}
        refused(
            errors.ShapeError, ["magnitude", "(2,)", "3"], make.linear(**wrong), make.config(use_dora=True)
        )

    def test_the_same_part_under_two_names(self):
        twice = MAGNITUDE | {f"{STEM}.lora_magnitude_vector.weight": ("F32", (3,), make.floats([7, 8, 9]))}
        config = make.config(use_dora=True)
        refused(errors.UnexpectedTensorError, ["lora_magnitude_vector.weight"], make.linear(**twice), config)


class TestRow53To57:
    def test_integers_are_no_factors(self):
        content = factors(("I32", (2, 2), bytes(16)), ("F32", (1, 2), bytes(8)))
        refused(
            errors.DTypeError, ["I32", "lora_A", "supported: F64, F32, F16, BF16"], content, make.config()
        )

    @pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "U8"])
    def test_eight_bit_types_are_refused_with_what_is_supported(self, dtype):
        content = factors((dtype, (2, 2), bytes(4)), (dtype, (1, 2), bytes(2)))
        refused(errors.DTypeError, [dtype, "BF16", "little-endian"], content, make.config())

    def test_factors_of_two_types(self):
        content = factors(("F32", (2, 2), bytes(16)), ("F16", (1, 2), bytes(4)))
        refused(errors.DTypeError, ["F16, F32"], content, make.config())

    def test_rank_against_the_config(self):
        refused(errors.RankError, ["rank 3", "r = 2", STEM], make.linear(r=3), make.config(r=2))

    def test_rank_against_a_pattern(self):
        config = make.config(r=3, rank_pattern={"q": 2})
        refused(errors.RankError, ["rank 3", "r = 2"], make.linear(r=3), config)

    def test_factors_that_disagree(self):
        content = factors(("F32", (2, 2), bytes(16)), ("F32", (1, 3), bytes(12)))
        refused(errors.RankError, ["(2, 2)", "(1, 3)", "lora_A", "lora_B"], content, make.config())

    @pytest.mark.parametrize(
        ("A", "B"),
        [
            ((4,), (1, 4)),
            ((2, 2, 2), (1, 2)),
            ((2, 1, 1, 1), (1, 2)),
            ((2, 2), (1, 2, 1, 1)),
            ((2, 1, 1, 1), (1, 2, 1, 2)),
            ((2, 0), (1, 2)),
        ],
    )
    def test_factors_of_other_axes(self, A, B):
        content = factors(("F32", A, bytes(4 * math.prod(A))), ("F32", B, bytes(4 * math.prod(B))))
        refused(errors.ShapeError, [str(A), str(B), STEM], content, make.config())

    def test_every_missing_partner_is_listed(self):
        """Properties of row 55: the full list, and an error, not a warning."""
        half = {f"m{i}.lora_A.weight": ("F32", (2, 1), bytes(8)) for i in range(150)}
        half["n.lora_B.weight"] = ("F32", (1, 2), bytes(8))
        message = refused(errors.MissingTensorError, ["151"], make.whole(half), make.config())
        assert all(f"'m{i}.lora_B.weight'" in message for i in range(150))
        assert "'n.lora_A.weight'" in message

    def test_a_magnitude_alone(self):
        content = make.whole({"q.lora_magnitude_vector": ("F32", (1,), bytes(4))})
        refused(errors.MissingTensorError, ["q.lora_A.weight", "q.lora_B.weight"], content)

    def test_no_key_matches(self):
        content = make.whole({"model.q.weight": ("F32", (1,), bytes(4))})
        refused(errors.MissingTensorError, ["'model.q.weight'", "lora_A", "PEFT"], content, make.config())
        refused(errors.MissingTensorError, ["nothing"], make.whole({}), make.config())

    def test_factors_of_two_kinds(self):
        more = {f"{STEM}.lora_embedding_{x}": ("F32", (1, 1), bytes(4)) for x in "AB"}
        refused(errors.UnexpectedTensorError, ["two kinds"], make.linear(**more), make.config())

    def test_one_module_under_two_names(self):
        other = {f"q.lora_{x}.weight": ("F32", (2, 2), bytes(16)) for x in "AB"}
        refused(errors.UnexpectedTensorError, ["prefix"], make.linear(**other), make.config())

    def test_unexpected_tensors_are_listed_and_kept_on_request(self):
        more = {"x.weight": ("F32", (2,), make.floats([1, 2])), "y": ("I64", (), struct.pack("<q", -7))}
        words = ["'x.weight'", "'y'", "2 tensors", "strict=False"]
        refused(errors.UnexpectedTensorError, words, make.linear(**more), make.config())
        read = adapter_from_bytes(make.linear(**more), make.config(), strict=False)
        assert {name: x.tolist() for name, x in read.extra.items()} == {"x.weight": [1, 2], "y": -7}
        assert dict(read.extra_dtypes) == {"x.weight": "F32", "y": "I64"}

    @pytest.mark.parametrize(
        ("name", "config"),
        [
            ("base_model.model.classifier.weight", {"modules_to_save": ["classifier"]}),
            ("base_model.model.head.dense.bias", {"modules_to_save": ["head"]}),
            ("base_model.model.lm_head.weight", {}),
            (f"{STEM}.base_layer.weight", {}),
            (f"{STEM}.base_layer.bias", {"bias": "lora_only"}),
            ("base_model.model.norm.bias", {"bias": "all"}),
            (
                "base_model.model.e.token_adapter.trainable_tokens_delta",
                {"trainable_token_indices": {"e": [1]}},
            ),
        ],
    )
    def test_what_the_config_announces_is_extra(self, name, config):
        content = make.linear(**{name: ("F32", (1,), make.floats([7]))})
        assert adapter_from_bytes(content, make.config(**config)).extra[name].tolist() == [7]

    def test_without_a_config_nothing_is_unexpected(self):
        assert set(adapter_from_bytes(make.linear(**{"x.weight": ("F32", (), bytes(4))})).extra) == {
            "x.weight"
        }

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("dtype", ["F32", "F16", "F64"])
    def test_non_finite_numbers_are_named(self, value, dtype):
        code = {"F32": "f", "F16": "e", "F64": "d"}[dtype]
        numbers = [0.0, 1.0, 2.0, value, 4.0, value]
        content = factors(
            (dtype, (2, 3), make.floats(numbers, code)), (dtype, (1, 2), make.floats([1, 1], code))
        )
        words = ["lora_A", "2 non-finite", f"({value})", "[1, 0]"]
        refused(errors.NonFiniteError, words, content, make.config())

    def test_a_signalling_nan_of_bfloat16(self):
        A = ("BF16", (2, 1), struct.pack("<2H", 0x3F80, 0x7F81))
        content = factors(A, ("BF16", (1, 2), bytes(4)))
        refused(errors.NonFiniteError, ["1 non-finite", "[1, 0]"], content, make.config())

    def test_non_finite_numbers_in_what_was_saved_beside(self):
        content = make.linear(**{"lm_head.weight": ("F32", (1,), make.floats([math.nan]))})
        refused(errors.NonFiniteError, ["lm_head"], content, make.config())


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "adapter_model.safetensors").write_bytes(make.linear())
        (tmp_path / "adapter_config.json").write_bytes(make.config(lora_alpha=6))
        return tmp_path

    def test_folder_file_and_text_are_the_same(self, folder):
        for source in (folder, str(folder), folder / "adapter_model.safetensors"):
            assert only(read_adapter(source)).scale == 3.0

    def test_a_file_alone_has_no_config(self, folder):
        (folder / "adapter_config.json").unlink()
        module = only(read_adapter(folder / "adapter_model.safetensors"))
        assert module.scale_assumed

    def test_row_58_a_folder_without_config(self, folder):
        (folder / "adapter_config.json").unlink()
        with pytest.raises(errors.ConfigFileError, match=r"adapter_config\.json is missing"):
            read_adapter(folder)

    def test_row_44_a_folder_without_tensors(self, folder):
        (folder / "adapter_model.safetensors").unlink()
        with pytest.raises(errors.AdapterFileError, match=r"adapter_model\.safetensors is missing"):
            read_adapter(folder)
        with pytest.raises(errors.ConfigFileError, match="missing"):
            read_adapter(folder / "..")

    def test_row_60_a_folder_with_a_pickle(self, folder):
        (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
        with pytest.raises(
            errors.UnsafeFormatError, match="refused: can execute code; convert to safetensors"
        ):
            read_adapter(folder)

    def test_missing(self, tmp_path):
        with pytest.raises(errors.AdapterFileError, match=r"no\.safetensors"):
            read_adapter(tmp_path / "no.safetensors")
        with pytest.raises(errors.ConfigError, match="adapter_from_bytes"):
            read_adapter(make.linear())

    @pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
    def test_row_59_a_link_that_leaves_the_folder(self, folder, tmp_path_factory, name):
        elsewhere = tmp_path_factory.mktemp("elsewhere") / name
        (folder / name).rename(elsewhere)
        (folder / name).symlink_to(elsewhere)
        with pytest.raises(errors.UnsafePathError) as caught:
            read_adapter(folder)
        assert str(elsewhere) in str(caught.value)
        assert str(folder) in str(caught.value)

    def test_the_links_of_a_hugging_face_cache_lead_to_its_blobs(self, folder, tmp_path):
        """models--a--b/snapshots/<revision>/file -> ../../blobs/<hash>, as huggingface_hub lays it out."""
        snapshot, blobs = tmp_path / "m" / "snapshots" / "0123", tmp_path / "m" / "blobs"
        snapshot.mkdir(parents=True)
        blobs.mkdir()
        for i, name in enumerate(("adapter_model.safetensors", "adapter_config.json")):
            (folder / name).rename(blobs / str(i))
            (snapshot / name).symlink_to(f"../../blobs/{i}")
        assert only(read_adapter(snapshot)).scale == 3.0

    @pytest.mark.parametrize("more", [b"", b"more"])
    def test_row_63_a_file_that_changes_while_it_is_read(self, folder, monkeypatch, more):
        path = folder / "adapter_model.safetensors"
        decode = files.tensors.decode

        def meanwhile(content, dtype):
            path.write_bytes(make.linear() + more)
            return decode(content, dtype)

        monkeypatch.setattr(files.tensors, "decode", meanwhile)
        with pytest.raises(errors.AdapterFileError, match="changed while it was read"):
            read_adapter(folder)

    def test_row_63_a_file_that_is_cut_while_it_is_read(self, folder, monkeypatch):
        path, parse = folder / "adapter_model.safetensors", files.header.parse_object

        def meanwhile(*args, **options):
            found = parse(*args, **options)
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size - 50)
            return found

        monkeypatch.setattr(files.header, "parse_object", meanwhile)
        path.write_bytes(make.linear(d=5000))
        with pytest.raises(errors.TruncatedFileError, match="ends at byte"):
            read_adapter(path)
        path.write_bytes(make.linear())  # so small that it was read ahead
        with pytest.raises(errors.AdapterFileError, match="changed while it was read"):
            read_adapter(path)

    def test_row_63_a_file_that_is_replaced_is_read_as_it_was_opened(self, folder, monkeypatch):
        path, parse = folder / "adapter_model.safetensors", files.header.parse_object

        def meanwhile(*args, **options):
            (folder / "new").write_bytes(make.linear(d=7, k=9))
            (folder / "new").replace(path)
            return parse(*args, **options)

        monkeypatch.setattr(files.header, "parse_object", meanwhile)
        assert only(read_adapter(folder)).shape == (3, 4)


class TestArgumentsAndLimits:
    def test_bytes_are_bytes(self):
        refused(errors.ConfigError, ["tensors", "bytes", "str"], "text")
        refused(errors.ConfigError, ["config", "bytes", "dict"], make.linear(), {"r": 2})

    def test_more_bytes_than_allowed(self):
        content = make.linear()
        words = ["56 bytes", "limit is 55"]
        refused(errors.AdapterFileError, words, content, make.config(), limits=Limits(tensor_bytes=55))
        adapter_from_bytes(content, make.config(), limits=Limits(tensor_bytes=56))

    def test_the_names_of_a_hostile_file_are_cut(self):
        content = make.whole({"n" * 10**6 + f"{i}": ("U8", (1,), b"\1") for i in range(3)})
        assert len(refused(errors.MissingTensorError, ["1000003"], content)) < 2000

    def test_the_config_is_kept_with_what_is_not_understood(self):
        config = json.loads(make.config(lora_dropout=0.1, new_key={"a": [1]}, target_modules=["q"]))
        read = adapter_from_bytes(make.linear(), json.dumps(config).encode()).config
        assert (read.r, read.alpha, read.target_modules) == (2, 8, ("q",))
        assert dict(read.other) == {"lora_dropout": 0.1, "new_key": {"a": [1]}}
