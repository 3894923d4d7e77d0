"""`lora-np params`: what it prints for people and for programs, and how it refuses."""

import json
import sys

import pytest

from lora_np.cli import main
from lora_np.counts import ARCHITECTURES, METHODS


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process: (exit status, what it printed, what it complained)."""

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["lora-np", "params", *words])
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return stopped.value.code or 0, printed.out, printed.err

    return command


@pytest.mark.parametrize(
    ("words", "trainable"),
    [
        ("gpt3-175b --method lora --rank 4 --targets q,v", 18_874_368),
        ("llama-7b --method full", 6_738_415_616),
        ("roberta-base -m bitfit", 102_144),
        ("gpt3-175b -m prefix-embedding --prefix 256 --infix 8", 3_244_032),
        ("gpt3-175b -m prefix-layer --prefix 8", 9_437_184),
        ("gpt2-medium -m adapter-l -r 6", 368_784),
        ("roberta-large -m adapter-p -r 64", 3_171_840),
        ("roberta-large -m adapter-h -r 64", 6_343_680),
        ("llama-3-8b -m ia3", 524_288),
        ("llama-3-8b -m lora -r q=8,v=4", 2_752_512),
        ("gpt2 -m lora -r 4 --layers 6", 73_728),
        ("gpt2 -m linear-probe --classes 10", 7_690),
        ("llama-7b -m oft --block 16 -t q", 32 * 256 * 120),
    ],
)
def test_json_gives_trainable_and_total(run, words, trainable):
    """[count-lora] [count-full]"""
    status, out, err = run(*words.split(), "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert found["trainable"] == trainable
    assert found["total"] == ARCHITECTURES[words.split()[0]].total + found["added"]
    assert sum(row["count"] for row in found["rows"] if row["trainable"]) == trainable


def test_people_get_a_table(run):
    status, out, _ = run("gpt3-175b", "--rank", "4")
    assert status == 0
    for words in (
        "block.attn.q.B",
        "12288 x 4",
        "4,718,592",
        "trainable 18,874,368 of 174,623,133,696",
        "37.7 MB",
    ):
        assert words in out
    assert "rank q=4,v=2" in run("gpt2", "--rank", "q=4,v=2")[1]
    assert "saved file, 16 bit: 1.54 kB" in run("gpt2", "-m", "linear-probe", "--classes", "1")[1]
    assert "saved file, 16 bit: 48 B" in run("gpt2", "-m", "lora-xs", "--rank", "1")[1]
    assert "13.5 GB" in run("llama-7b", "-m", "full")[1]


def test_without_an_architecture_it_lists_what_it_knows(run):
    status, out, _ = run()
    assert status == 0
    for name in [*ARCHITECTURES, "124,439,808", "all-linear"]:
        assert name in out
    status, out, _ = run("--json")
    known = json.loads(out)
    assert known["architectures"]["llama-7b"] == 6_738_415_616
    assert list(known["methods"]) == list(METHODS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("llma-7b", "did you mean 'llama-7b'"),
        ("gpt2 -m lorra", "did you mean 'lora'"),
        ("gpt2 -t q,gate", "got 'gate'"),
        ("gpt2 -r 0", "rank r must be a positive int, got 0"),
        ("gpt2 -r 2.5", "rank must be a positive int or pairs of target=int, got '2.5'"),
        ("gpt2 -r q=4,v", "pairs of target=int"),
        ("gpt2 --prefix 3", "no option 'prefix'"),
        ("llama-7b -m bitfit", "no bias vectors"),
    ],
)
def test_a_mistake_ends_in_one_line_and_status_2(run, words, message):
    status, out, err = run(*words.split())
    assert status == 2
    assert out == ""
    assert err.startswith("lora-np: ")
    assert message in err
    assert err.count("\n") == 1
