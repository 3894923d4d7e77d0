"""Damaged vectors: each way a file, a list or a directory can be wrong has a message with the path."""

from __future__ import annotations

import contextlib
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.conformance.vectors import integrity
from lora_np.conformance.vectors.export import export
from lora_np.conformance.vectors.format import read_all, read_file, shipped
from lora_np.conformance.vectors.generate.directory import write_lists
from lora_np.conformance.vectors.schema import require_schema
from lora_np.conformance.vectors.strict_json import LARGEST, parse, read_content
from lora_np.errors import BackendError, ConfigError, VectorFileError

SMALL = ("bitfit/forward.json", "adalora/budget.json")

# ---- damage -------------------------------------------------------------------------------------------------

GOOD = (shipped() / SMALL[0]).read_text("utf-8")


def spoilt(change):
    """A small file with one change to its first test."""
    content = json.loads(GOOD)
    change(content, content["testGroups"][0]["tests"][0])
    return json.dumps(content)


DAMAGED = {
    "": "is empty (0 bytes)",
    "version https://git-lfs.github.com/spec/v1\n": "Git LFS pointer",
    "\x1f\x8b": "gzip",
    "PK\x03\x04": "zip archive",
    "\ufeff{}": "byte order mark",
    "{": "is not JSON: line 1, column 2",
    GOOD[: len(GOOD) // 2]: "is not JSON: line",
    '{"a": 1, "a": 2}': "the key 'a' stands twice",
    '{"a": NaN}': "NaN is not a JSON number",
    '{"a": ' + "[" * 100_000: "nested too deeply",
    "[]": "is not a file of test vectors",
    "{}": "'method' is missing",
    "3": "is not a file of test vectors",
    spoilt(lambda _, test: test["in"]["X"].update(shape=[2, -1])): "is not a shape",
    spoilt(lambda _, test: test["in"]["X"].update(shape=[True, 5])): "is not a shape",
    spoilt(lambda _, test: test["in"]["X"].update(shape=[1.5])): "is not a shape",
    spoilt(
        lambda _, test: test["in"]["X"].update(shape=[7, 7])
    ): "shape [7, 7] needs 49 numbers, there are 10",
    spoilt(lambda _, test: test["in"]["X"]["hex"].pop()): "needs 10 numbers, there are 9",
    spoilt(lambda _, test: test["in"]["X"]["hex"].__setitem__(0, "one")): "case 1: ",
    spoilt(lambda _, test: test["in"]["X"].update(memory="upside down")): "memory is 'upside down'",
    spoilt(lambda _, test: test["out"]["Y"].pop("bound")): "'bound' is missing",
    spoilt(lambda _, test: test["in"].update(X={"dtype": "float16", "shape": [1], "bits": [-1]})): "case 1: ",
    spoilt(lambda _, test: test.update(result="perhaps")): "one of valid, invalid, acceptable expected",
    spoilt(lambda content, _: content["testGroups"][0].pop("tests")): "'tests' is missing",
    spoilt(lambda content, _: content.update(testGroups=3)): "is not a file of test vectors",
}


@pytest.mark.parametrize(("text", "what"), DAMAGED.items(), ids=[what[:30] for what in DAMAGED.values()])
def test_a_damaged_file_is_named_with_its_path_and_what_is_wrong(tmp_path, text, what):
    path = tmp_path / "lora.json"
    path.write_bytes(text.encode("latin-1") if text[:1] == "\x1f" else text.encode())
    with pytest.raises(VectorFileError) as error:
        read_file(path)
    assert str(path) in str(error.value)
    assert what in str(error.value)


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(VectorFileError, match="No such file"):
        read_file(tmp_path / "nowhere.json")
    with pytest.raises(VectorFileError, match="Is a directory"):
        read_file(tmp_path)
    with pytest.raises(VectorFileError, match="is not a directory of test vectors"):
        read_all(tmp_path / "nowhere")
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(VectorFileError, match="not UTF-8 text: byte 7"):
        read_file(tmp_path / "latin.json")
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(VectorFileError, match="more than a file of vectors may have"):
        read_content(tmp_path / "big.json")


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_in_our_words(data):
    with contextlib.suppress(VectorFileError):
        parse(data, "x.json")


SCHEMA_BREAKS = {
    "numberOfTests": lambda content, _: content.update(numberOfTests=-1),
    "testGroups/0/dtype": lambda content, _: content["testGroups"][0].update(dtype="float128"),
    "testGroups/0/tests/0/tcId": lambda _, test: test.update(tcId=0),
    "testGroups/0/tests/0/in/X": lambda _, test: test["in"]["X"].pop("hex"),
    "testGroups/0/tests/0/in/X/shape/0": lambda _, test: test["in"]["X"].update(shape=["2", 5]),
    "testGroups/0/tests/0/out/Y/hex/0": lambda _, test: test["out"]["Y"]["hex"].__setitem__(0, "0.1"),
    "testGroups/0/tests/0/out/Y/bound/0": lambda _, test: test["out"]["Y"]["bound"].__setitem__(0, "-0x1p+0"),
    "testGroups/0/tests/0": lambda _, test: test.update(result="invalid"),
    "schema": lambda content, _: content.update(schema="another.json"),
    "the top": lambda content, _: content.pop("notes"),
}


@pytest.mark.parametrize(("place", "change"), SCHEMA_BREAKS.items())
def test_what_breaks_the_schema_is_named_with_its_place(place, change):
    with pytest.raises(VectorFileError) as error:
        require_schema(json.loads(spoilt(change)), "x.json")
    assert f"x.json breaks its schema at {place}: " in str(error.value)


def test_without_jsonschema_the_error_names_the_extra(monkeypatch):
    from lora_np.conformance.vectors import schema

    schema._validator.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "jsonschema", None)
    with pytest.raises(BackendError, match=r"lora-np\[vectors\]"):
        require_schema({}, "x.json")


# ---- directories --------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """A directory of two files with its lists."""
    root = tmp_path / "vectors"
    for name in SMALL:
        (root / name).parent.mkdir(parents=True)
        shutil.copy(shipped() / name, root / name)
    write_lists(root)
    return root


def test_a_small_directory_is_whole(small):
    assert list(integrity.checksum_problems(small)) == []
    assert list(integrity.manifest_problems(small)) == []


def test_changed_missing_and_foreign_files_are_named(small):
    (small / SMALL[0]).write_text(GOOD.replace("0x1p", "0x1p", 1) + " ")
    (small / SMALL[1]).unlink()
    (small / "lora").mkdir()
    (small / "lora/extra.json").write_text("{}")
    problems = list(integrity.checksum_problems(small))
    assert [problem.split("vectors/")[-1].split(" ")[0] for problem in problems] == [
        SMALL[1],
        "lora/extra.json",
        SMALL[0],
    ]
    manifest = list(integrity.manifest_problems(small))
    assert any("listed in manifest.json" in problem for problem in manifest)
    assert any("there but not in manifest.json" in problem for problem in manifest)
    assert "breaks its schema" in next(integrity.content_problems(small, "lora/extra.json"))


SUMS = {
    "nonsense\n": "line 1: not a checksum",
    f"{'0' * 64}  ../../etc/passwd\n": "not a checksum and a file below the directory",
    f"{'0' * 64}  /etc/passwd\n": "not a checksum and a file below the directory",
    f"{'0' * 64}  C:\\x\n": "not a checksum and a file below the directory",
    f"{'0' * 64}  a.json\n" * 2: "line 2: a.json is listed twice",
    "": "lists no file",
}


@pytest.mark.parametrize(("text", "what"), SUMS.items(), ids=SUMS.values())
def test_a_list_of_checksums_that_is_none(small, text, what):
    (small / "SHA256SUMS").write_text(text)
    with pytest.raises(VectorFileError) as error:
        integrity.read_sums(small)
    assert what in str(error.value)


def test_a_list_of_checksums_that_cannot_be_read(small):
    (small / "SHA256SUMS").write_bytes(b"\xff")
    with pytest.raises(VectorFileError, match="not UTF-8"):
        integrity.read_sums(small)
    (small / "SHA256SUMS").unlink()
    with pytest.raises(VectorFileError, match="cannot read"):
        integrity.read_sums(small)
    with pytest.raises(VectorFileError, match="not a directory"):
        integrity.files_in(small / "nowhere")


def test_a_manifest_that_does_not_add_up(small):
    path = small / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "numberOfTests": 1}))
    assert "add up to" in next(integrity.manifest_problems(small))
    path.write_text("[]")
    assert "has no list of files" in next(integrity.manifest_problems(small))


def test_contents_that_contradict_themselves(small):
    content = json.loads(GOOD)
    tests = content["testGroups"][0]["tests"]
    tests.append({**tests[0], "flags": ["Unheard"]})
    (small / SMALL[0]).write_text(json.dumps(content))
    found = "\n".join(integrity.content_problems(small, SMALL[0]))
    assert "tests and has" in found
    assert "the id bitfit/forward#1 stands twice" in found
    assert "no note explains the flag Unheard" in found
    (small / "bitfit/backward.json").write_text(GOOD)
    assert "holds bitfit/forward" in next(integrity.content_problems(small, "bitfit/backward.json"))


# ---- export -------------------------------------------------------------------------------------------------


@pytest.fixture
def small_shipped(small, monkeypatch):
    monkeypatch.setattr("lora_np.conformance.vectors.export.shipped", lambda: small)
    return small


def everything(directory):
    return {p.relative_to(directory): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_an_export_holds_everything_and_may_be_repeated(tmp_path, small_shipped):
    target = tmp_path / "deep" / "out"
    assert export(target) == len(everything(small_shipped))
    assert everything(target) == everything(small_shipped)
    (target / SMALL[0]).write_text("changed by the user's editor")
    export(target)
    assert everything(target) == everything(small_shipped)
    assert sorted(p.name for p in target.parent.iterdir()) == ["out"]  # nothing is left beside it


def test_an_empty_directory_is_filled(tmp_path, small_shipped):
    (tmp_path / "out").mkdir()
    export(tmp_path / "out")
    assert everything(tmp_path / "out") == everything(small_shipped)


@pytest.mark.usefixtures("small_shipped")
def test_what_is_not_ours_is_never_replaced(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is not empty and holds no export"):
        export(target)
    (target / "thesis.txt").unlink()
    export(target)
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(
        ConfigError, match=r"thesis.txt is not listed in SHA256SUMS, so it is not ours to replace"
    ):
        export(target)
    assert (target / "thesis.txt").read_text() == "years of work"
    with pytest.raises(ConfigError, match="is not a directory"):
        export(target / "thesis.txt")
    with pytest.raises(ConfigError, match="cannot write beside"):
        export(target / "thesis.txt" / "below")


def test_a_damaged_source_is_not_exported_and_leaves_nothing(tmp_path, small_shipped):
    (small_shipped / SMALL[0]).write_text("damaged")
    with pytest.raises(VectorFileError, match="the shipped vectors are damaged"):
        export(tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["vectors"]


@pytest.mark.usefixtures("small_shipped")
def test_a_failure_at_the_last_moment_brings_the_old_export_back(tmp_path, monkeypatch):
    target = tmp_path / "out"
    export(target)
    before, rename = everything(target), type(target).rename

    def failing(self, to):
        if self.name.startswith(".out.") and to == target:
            raise OSError("disk on fire")
        return rename(self, to)

    monkeypatch.setattr(type(target), "rename", failing)
    with pytest.raises(OSError, match="disk on fire"):
        export(target)
    assert everything(target) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "vectors"]
