"""Finding and reading what students hand in: whatever it is, it becomes cells of code or one clear sentence."""

import json
import os

import pytest

from lora_np.errors import ConfigError
from lora_np.teach.grade import reading
from lora_np.teach.grade.reading import UnreadableError, lessons_of, read
from lora_np.teach.grade.submissions import find


def put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def notebook(*cells):
    return json.dumps({"cells": list(cells), "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


def test_a_student_is_a_folder_or_a_file(tmp_path):
    files = {
        "anna/05.py": "x = 1",
        "anna/deep/06.ipynb": "{}",
        "bob.py": "x = 1",
        "bob.ipynb": "{}",
        "carl.pdf": "%PDF",
        "dora/notes.txt": "",
        ".hidden/05.py": "",
        "__pycache__/bob.pyc": "",
        "anna/.ipynb_checkpoints/05.ipynb": "{}",
        "report.csv": "",
    }
    put(tmp_path, files)
    found = {one.student: one for one in find(tmp_path, ignore=[tmp_path / "report.csv"])}
    assert list(found) == ["anna", "bob", "carl", "dora"]
    assert [path.name for path in found["anna"].files] == ["05.py", "06.ipynb"]
    assert [path.name for path in found["bob"].files] == ["bob.ipynb", "bob.py"]
    assert (found["carl"].files, found["carl"].others) == ((), ("carl.pdf",))
    assert found["dora"].others == ("notes.txt",)


def test_a_folder_without_submissions_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no submission"):
        find(tmp_path)
    with pytest.raises(ConfigError, match="is no folder"):
        find(tmp_path / "none")


def test_the_digest_is_of_what_was_handed_in(tmp_path):
    put(tmp_path, {"anna.py": "x = 1"})
    (before,) = find(tmp_path)
    first = before.digest()
    put(tmp_path, {"anna.py": "x = 2"})
    assert before.digest() != first
    put(tmp_path, {"anna.py": "x = 1"})
    assert before.digest() == first


def test_a_script_is_cut_at_its_marks(tmp_path):
    marked = '# %% [markdown]\n# # Title\n\n# %% tags=["exercise", "x"]\ndef f():\n    return 1\n\n'
    text = marked + "#%%\n# words\n# %%\nf()\n"
    put(tmp_path, {"a.py": text})
    cells = read(tmp_path / "a.py")
    assert [(cell.tags, cell.line) for cell in cells] == [(("exercise", "x"), 4), ((), 10)]
    assert "return 1" in cells[0].code
    assert cells[1].where == "cell at line 10"


def test_a_script_without_marks_is_cut_into_statements(tmp_path):
    text = '"""Words."""\nimport math\n\n@staticmethod\ndef f():\n    # why\n    return "é"\n\nf(\n  )\n'
    put(tmp_path, {"a.py": text})
    cells = read(tmp_path / "a.py")
    assert [cell.line for cell in cells] == [1, 2, 4, 9]
    assert cells[2].code == '@staticmethod\ndef f():\n    # why\n    return "é"'


@pytest.mark.parametrize("text", ["a = 1; b = 2\n", "def f(:\n", "x = 1\n" + "(" * 500])
def test_a_script_that_cannot_be_cut_is_left_whole(text, tmp_path):
    put(tmp_path, {"a.py": text})
    assert [cell.code for cell in read(tmp_path / "a.py")] == [text]


def test_a_notebook_gives_its_code_without_magic(tmp_path):
    cells = (
        {"cell_type": "markdown", "source": "# Title"},
        {
            "cell_type": "code",
            "source": ["%matplotlib inline\n", "!pip install x\n", "x = (5\n", " % 3)\n", "x?"],
        },
        {"cell_type": "code", "source": "%%bash\nrm -rf /"},
        {"cell_type": "code", "source": "%%time\ny = 1"},
        {"cell_type": "code", "source": "y = (5\n % 3)", "metadata": {"tags": ["exercise"]}},
        "not a cell",
        {"cell_type": "code", "source": None},
    )
    put(tmp_path, {"a.ipynb": notebook(*cells)})
    first, timed, last = read(tmp_path / "a.ipynb")
    assert first.code.startswith("pass  # %matplotlib inline\npass  # !pip install x\n")
    assert (timed.code, last.code, last.tags, last.where) == (
        "y = 1",
        "y = (5\n % 3)",
        ("exercise",),
        "cell 5",
    )


UNREADABLE = {
    "empty": (b"", "is empty"),
    "blank": (b" \n\t\n", "is empty"),
    "words alone": (b"# %% [markdown]\n# nothing\n", "holds no code"),
    "Latin-1": ("größe = 1".encode("latin-1"), "is not text in UTF-8"),
    "a made-up encoding": (b"# coding: klingon\n", "is not text in UTF-8"),
}
NO_NOTEBOOKS = {
    "not JSON": (b'{"cells": [', "its JSON is broken"),
    "deep": (b"[" * 100_000, "its JSON is broken"),
    "a list": (b"[]", "JSON without a list of cells"),
    "no cells": (b'{"worksheets": []}', "JSON without a list of cells"),
    "cells no list": (b'{"cells": {}}', "JSON without a list of cells"),
    "no code": (notebook({"cell_type": "markdown", "source": "x"}).encode(), "holds no code"),
    "a script": (b"x = 1", "its JSON is broken"),
}


@pytest.mark.parametrize(("content", "said"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_script_says_why(content, said, tmp_path):
    put(tmp_path, {"a.py": content})
    with pytest.raises(UnreadableError, match=said):
        read(tmp_path / "a.py")


@pytest.mark.parametrize(("content", "said"), NO_NOTEBOOKS.values(), ids=NO_NOTEBOOKS)
def test_an_unreadable_notebook_says_why(content, said, tmp_path):
    put(tmp_path, {"a.ipynb": content})
    with pytest.raises(UnreadableError, match=said):
        read(tmp_path / "a.ipynb")


def test_links_pipes_and_giants_are_not_opened(tmp_path, monkeypatch):
    put(tmp_path, {"real.py": "x = 1"})
    (tmp_path / "link.py").symlink_to("real.py")
    os.mkfifo(tmp_path / "pipe.py")
    for name in ("link.py", "pipe.py", "gone.py"):
        with pytest.raises(UnreadableError, match="a link or a special file"):
            read(tmp_path / name)
    monkeypatch.setattr(reading, "MOST_BYTES", 4)
    with pytest.raises(UnreadableError, match="is larger than"):
        read(tmp_path / "real.py")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_what_editors_write_is_read(encoding, ending, tmp_path):
    put(tmp_path, {"a.py": f"# %%{ending}name = 'Ζωή'{ending}".encode(encoding)})
    assert [cell.code for cell in read(tmp_path / "a.py")] == ["# %%\nname = 'Ζωή'\n"]


def test_the_lesson_is_told_by_the_checks_then_by_the_name(tmp_path):
    put(tmp_path, {"a.py": "check('05.2', f)\ncheck( \"07.quiz\", quiz)"})
    assert lessons_of(tmp_path / "01_a.py", read(tmp_path / "a.py")) == ["05", "07"]
    assert lessons_of(tmp_path / "01_a.py", []) == ["01"]
    assert lessons_of(tmp_path / "2026_a.py", []) == []
    assert lessons_of(tmp_path / "anna.py", []) == []
