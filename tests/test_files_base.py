"""Base weights: found by name, read alone, in the shape of their increments; an index cannot lead out of its folder."""

import json
import math

import numpy as np
import pytest

from lora_np import errors
from lora_np.files import Limits, adapter_from_bytes, read_base, sources
from lora_np.files.base import matched
from tests.naive import tensor_files as make


def weight(d, k, start=0.0):
    """Pack a weight (d, k) of running numbers."""
    return "F32", (d, k), make.floats(make.ramp(d * k, start=start))


def numbers(d, k, start=0.0):
    """Return the numbers of `weight`."""
    return np.reshape(make.ramp(d * k, start=start), (d, k)).tolist()


def modules(stem="q", d=3, k=4, **config):
    """Read the modules of an adapter of one module."""
    return adapter_from_bytes(make.linear(stem=stem, d=d, k=k), make.config(**config)).modules


class TestNames:
    @pytest.mark.parametrize(
        ("name", "stem"),
        [
            ("model.layers.0.q", "model.layers.0.q"),
            ("transformer.h.0.attn", "h.0.attn"),
            ("model.layers.0.q", "language_model.model.layers.0.q"),
            ("q", "model.q"),
        ],
    )
    def test_one_name_may_end_in_the_other(self, name, stem):
        keys = [f"{stem}.weight", f"{stem}.bias", "model.norm.weight", "v.weight"]
        assert matched([name], keys) == {name: f"{stem}.weight"}

    def test_of_two_endings_the_longer_is_meant(self):
        assert matched(["a.b.c.d"], ["c.d.weight", "b.c.d.weight"]) == {"a.b.c.d": "b.c.d.weight"}

    def test_the_same_name_goes_before_an_ending(self):
        assert matched(["q"], ["q.weight", "model.q.weight"]) == {"q": "q.weight"}

    @pytest.mark.parametrize(
        ("name", "keys"),
        [
            ("q", ["v.weight", "xq.weight", "q.bias"]),
            ("q", ["a.q.weight", "b.q.weight"]),
            ("m.x.q", ["p.m.x.q.weight", "x.q.weight"]),
            ("encoder.layer.0.q", ["decoder.layer.0.q.weight"]),
            ("model.layers.0.q", ["q.weight"]),
        ],
    )
    def test_a_name_that_is_missing_or_not_clear(self, name, keys):
        with pytest.raises(errors.MissingTensorError, match="weights of 1 modules"):
            matched([name], keys)

    def test_every_missing_name_is_listed(self):
        with pytest.raises(errors.MissingTensorError) as caught:
            matched([f"m{i}" for i in range(100)], ["a.weight", "b.m7.weight", "c.m7.weight"])
        assert all(f"'m{i}" in str(caught.value) for i in range(100))
        assert "b.m7" in str(caught.value)


class TestShapes:
    def test_names_alone_give_weights_as_stored(self):
        content = make.whole({"model.q.weight": weight(3, 4), "model.v.weight": weight(2, 2)})
        assert {name: W.tolist() for name, W in read_base(content, ["q"]).items()} == {"q": numbers(3, 4)}

    def test_a_linear_weight(self):
        read = read_base(make.whole({"q.weight": weight(3, 4)}), modules())
        assert read["q"].tolist() == numbers(3, 4)

    def test_conv1d_is_transposed(self):
        read = read_base(make.whole({"q.weight": weight(4, 3)}), modules(fan_in_fan_out=True))
        assert read["q"].tolist() == np.transpose(numbers(4, 3)).tolist()

    def test_a_square_conv1d_is_transposed_because_the_config_says_so(self):
        read = read_base(make.whole({"q.weight": weight(3, 3)}), modules(k=3, fan_in_fan_out=True))
        assert read["q"].tolist() == np.transpose(numbers(3, 3)).tolist()

    def test_a_linear_layer_beside_conv1d_keeps_its_shape(self):
        """PEFT too looks at the layer: the flag of the config is for all of them, and a Linear is not transposed."""
        read = read_base(make.whole({"q.weight": weight(3, 4)}), modules(fan_in_fan_out=True))
        assert read["q"].tolist() == numbers(3, 4)

    def test_an_embedding_is_transposed(self):
        content = make.whole(
            {
                "e.lora_embedding_A": ("F32", (1, 5), bytes(20)),
                "e.lora_embedding_B": ("F32", (3, 1), bytes(12)),
            }
        )
        module = adapter_from_bytes(content).modules
        read = read_base(make.whole({"e.weight": weight(5, 3)}), module)
        assert read["e"].tolist() == np.transpose(numbers(5, 3)).tolist()
        with pytest.raises(errors.ShapeError, match=r"\(3, 5\).*expects \(5, 3\)"):
            read_base(make.whole({"e.weight": weight(3, 5)}), module)

    def test_a_convolution_is_laid_out_as_rows(self):
        content = make.whole(
            {
                "c.lora_A.weight": ("F32", (1, 2, 3, 1), bytes(24)),
                "c.lora_B.weight": ("F32", (4, 1, 1, 1), bytes(16)),
            }
        )
        base = make.whole({"c.weight": ("F32", (4, 2, 3, 1), weight(4, 6)[2])})
        assert read_base(base, adapter_from_bytes(content).modules)["c"].tolist() == numbers(4, 6)

    def test_a_weight_of_another_model(self):
        with pytest.raises(
            errors.ShapeError, match=r"base weight 'q.weight'.*\(3, 5\).*'q' expects \(3, 4\)"
        ):
            read_base(make.whole({"q.weight": weight(3, 5)}), modules())

    def test_row_23_a_base_that_holds_nan(self):
        base = make.whole({"q.weight": ("F32", (1, 2), make.floats([0, math.nan]))})
        with pytest.raises(errors.NonFiniteError, match=r"base weight 'q.weight'.*1 non-finite.*\[0, 1\]"):
            read_base(base, ["q"])

    def test_a_quantized_base(self):
        with pytest.raises(errors.DTypeError, match="has dtype U8, supported: F64, F32, F16, BF16"):
            read_base(make.whole({"q.weight": ("U8", (4,), bytes(4))}), ["q"])


class TestReading:
    def test_only_what_is_asked_for_is_read(self, tmp_path, monkeypatch):
        tensors = {f"m{i}.weight": weight(50, 50, start=i) for i in range(20)}
        path = tmp_path / "model.safetensors"
        path.write_bytes(make.whole(tensors))
        spans, read = [], sources.FileSource.read

        def counted(self, start, stop):
            spans.append((start, stop))
            return read(self, start, stop)

        monkeypatch.setattr(sources.FileSource, "read", counted)
        assert read_base(path, ["m7"])["m7"].tolist() == numbers(50, 50, start=7)
        assert [stop - start for start, stop in spans if stop - start >= 10_000] == [10_000]

    def test_a_limit(self):
        base = make.whole({"q.weight": weight(3, 4), "v.weight": weight(9, 9)})
        assert set(read_base(base, ["q"], limits=Limits(tensor_bytes=48))) == {"q"}
        with pytest.raises(errors.AdapterFileError, match=r"48 bytes of the uploaded file.*limit is 47"):
            read_base(base, ["q"], limits=Limits(tensor_bytes=47))

    def test_what_is_no_source(self, tmp_path):
        with pytest.raises(errors.ConfigError, match="source must be a path"):
            read_base(3, ["q"])
        with pytest.raises(errors.AdapterFileError, match=r"no\.safetensors"):
            read_base(tmp_path / "no.safetensors", ["q"])


class TestFoldersAndShards:
    @pytest.fixture
    def folder(self, tmp_path):
        """A checkpoint in two files."""
        (tmp_path / "one.safetensors").write_bytes(make.whole({"q.weight": weight(3, 4)}))
        (tmp_path / "two.safetensors").write_bytes(
            make.whole({"v.weight": weight(2, 2, 5.0), "k.weight": weight(1, 1)})
        )
        return tmp_path

    def index(self, folder, **names):
        """Write an index."""
        path = folder / "model.safetensors.index.json"
        path.write_text(json.dumps({"metadata": {"total_size": 68}, "weight_map": names}))
        return path

    def whole_index(self, folder):
        """Write the index that belongs to the folder."""
        names = {"q.weight": "one.safetensors", "v.weight": "two.safetensors", "k.weight": "two.safetensors"}
        return self.index(folder, **names)

    def test_tensors_come_from_the_files_that_the_index_names(self, folder):
        path = self.whole_index(folder)
        for source in (path, folder, str(folder)):
            read = read_base(source, ["v", "q", "k"])
            assert list(read) == ["v", "q", "k"]
            assert (read["q"].tolist(), read["v"].tolist()) == (numbers(3, 4), numbers(2, 2, 5.0))

    def test_files_of_tensors_not_asked_for_are_not_opened(self, folder):
        self.whole_index(folder)
        (folder / "two.safetensors").write_bytes(b"broken")
        assert set(read_base(folder, ["q"])) == {"q"}

    def test_one_file_under_its_usual_name_or_alone(self, tmp_path):
        path = tmp_path / "model.safetensors"
        path.write_bytes(make.whole({"q.weight": weight(3, 4)}))
        assert set(read_base(tmp_path, ["q"])) == {"q"}
        path.rename(tmp_path / "other.safetensors")
        assert set(read_base(tmp_path, ["q"])) == {"q"}

    def test_a_folder_that_says_nothing(self, folder):
        with pytest.raises(
            errors.AdapterFileError, match=r"neither model\.safetensors nor model\.safetensors\.index"
        ):
            read_base(folder, ["q"])

    def test_row_60_a_folder_of_pickles(self, tmp_path):
        (tmp_path / "pytorch_model-00001.bin").write_bytes(b"\x80\x02")
        with pytest.raises(
            errors.UnsafeFormatError, match="refused: can execute code; convert to safetensors"
        ):
            read_base(tmp_path, ["q"])
        self.index(tmp_path, **{"q.weight": "pytorch_model-00001.bin"})
        with pytest.raises(
            errors.UnsafeFormatError, match="refused: can execute code; convert to safetensors"
        ):
            read_base(tmp_path, ["q"])

    @pytest.mark.parametrize(
        "name",
        ["../one.safetensors", "../../etc/x", "/etc/passwd", "C:\\x.safetensors", "a\\b", "sub/x.safetensors", "..",
         ".", "", "a\0b", "C:x"],
    )  # fmt: skip
    def test_row_59_a_name_that_leaves_the_folder(self, folder, name):
        path = self.index(folder, **{"q.weight": "one.safetensors", "v.weight": name})
        with pytest.raises(errors.UnsafePathError) as caught:
            read_base(path, ["q"])  # a bad name is refused, asked for or not
        assert str(folder) in str(caught.value)
        assert repr(name) in str(caught.value)

    def test_row_59_a_link_that_leaves_the_folder(self, folder, tmp_path_factory):
        outside = tmp_path_factory.mktemp("outside") / "two.safetensors"
        (folder / "two.safetensors").rename(outside)
        (folder / "two.safetensors").symlink_to(outside)
        with pytest.raises(errors.UnsafePathError, match="is a link to"):
            read_base(self.whole_index(folder), ["q"])

    def test_a_link_within_the_folder_is_followed(self, folder):
        (folder / "blob").write_bytes((folder / "two.safetensors").read_bytes())
        (folder / "two.safetensors").unlink()
        (folder / "two.safetensors").symlink_to("blob")
        assert set(read_base(self.whole_index(folder), ["v"])) == {"v"}

    def test_a_link_in_a_circle(self, folder):
        (folder / "two.safetensors").unlink()
        (folder / "two.safetensors").symlink_to("two.safetensors")
        with pytest.raises(errors.AdapterFileError, match=r"two\.safetensors"):
            read_base(self.whole_index(folder), ["v"])

    def test_an_index_that_is_wrong_about_its_files(self, folder):
        path = self.index(folder, **{"x.weight": "one.safetensors"})
        with pytest.raises(errors.MissingTensorError, match=r"'x\.weight'"):
            read_base(path, ["x"])
        path = self.index(folder, **{"x.weight": "three.safetensors"})
        with pytest.raises(errors.AdapterFileError, match=r"three\.safetensors"):
            read_base(path, ["x"])

    @pytest.mark.parametrize("text", ["{}", '{"weight_map": []}', '{"weight_map": {"q.weight": 3}}'])
    def test_an_index_without_names(self, folder, text):
        path = self.index(folder)
        path.write_text(text)
        with pytest.raises(errors.HeaderSchemaError, match="weight_map"):
            read_base(path, ["q"])

    def test_an_index_that_is_no_json(self, folder):
        path = self.index(folder)
        path.write_text("{]")
        with pytest.raises(errors.HeaderJSONError, match="1:2"):
            read_base(path, ["q"])

    def test_limits_of_an_index(self, folder):
        path = self.whole_index(folder)
        with pytest.raises(errors.HeaderJSONError, match="names 3 tensors, the limit is 2"):
            read_base(path, ["q"], limits=Limits(tensors=2))
        with pytest.raises(errors.HeaderTooLargeError, match="limit is 10; it was not read"):
            read_base(path, ["q"], limits=Limits(header_bytes=10))
