"""The LoRA paper's printed counts and statements: which come out, by which rounding, and which do not."""

import re
from fractions import Fraction

import pytest

from lora_np.counts import PAPER_ROWS, VERDICTS, claims, count, speedup
from lora_np.counts.paper_tables import PaperRow

YES, ROUNDED, NO = VERDICTS

# Printed figure, our count, verdict: typed from the paper and computed by hand from its formulas.
GPT3 = {
    "FT": ("175255.8", 174_604_259_328, NO),
    "BitFit": ("14.2", 12_988_416, NO),
    "PreEmbed lp=32 li=8": ("0.4", 491_520, ROUNDED),
    "PreEmbed lp=64 li=8": ("0.9", 884_736, YES),
    "PreEmbed lp=128 li=8": ("1.7", 1_671_168, YES),
    "PreEmbed lp=256 li=8": ("3.2", 3_244_032, YES),
    "PreEmbed lp=512 li=8": ("6.4", 6_389_760, YES),
    "PreLayer lp=2 li=2": ("5.1", 4_718_592, NO),
    "PreLayer lp=8 li=0": ("10.1", 9_437_184, NO),
    "PreLayer lp=8 li=8": ("20.2", 18_874_368, NO),
    "PreLayer lp=32 li=4": ("44.1", 42_467_328, NO),
    "PreLayer lp=64 li=0": ("76.1", 75_497_472, NO),
    "AdapterH r=1": ("7.1", 7_078_080, YES),
    "AdapterH r=4": ("21.2", 21_234_432, YES),
    "AdapterH r=8": ("40.1", 40_109_568, YES),
    "AdapterH r=16": ("77.9", 77_859_840, YES),
    "AdapterH r=64": ("304.4", 304_361_472, YES),
    "LoRA rv=2": ("4.7", 4_718_592, YES),
    "LoRA rq=rv=1": ("4.7", 4_718_592, YES),
    "LoRA rq=rv=2": ("9.4", 9_437_184, YES),
    "LoRA rq=rk=rv=ro=1": ("9.4", 9_437_184, YES),
    "LoRA rq=rv=4": ("18.8", 18_874_368, ROUNDED),
    "LoRA rq=rk=rv=ro=2": ("18.8", 18_874_368, ROUNDED),
    "LoRA rq=rv=8": ("37.7", 37_748_736, YES),
    "LoRA rq=rk=rv=ro=4": ("37.7", 37_748_736, YES),
    "LoRA rq=rv=64": ("301.9", 301_989_888, ROUNDED),
    "LoRA rq=rk=rv=ro=64": ("603.8", 603_979_776, ROUNDED),
    "LoRA+PE r=8 lp=8 li=4": ("37.8", 37_896_192, ROUNDED),
    "LoRA+PE r=32 lp=8 li=4": ("151.1", 151_142_400, YES),
    "LoRA+PE r=64 lp=8 li=4": ("302.1", 302_137_344, YES),
    "LoRA+PL r=8 lp=8 li=4": ("52.8", 51_904_512, NO),
}
ROBERTA_BASE = {
    "FT": ("125.0", 124_645_632, ROUNDED),
    "BitFit": ("0.1", 102_144, YES),
    "AdptD r=16": ("0.3", 304_320, YES),
    "AdptD r=48": ("0.9", 894_528, YES),
    "LoRA r=8": ("0.3", 294_912, YES),
}
ROBERTA_LARGE = {
    "FT": ("355.0", 355_359_744, ROUNDED),
    "LoRA r=8": ("0.8", 786_432, YES),
    "AdptP r=64": ("3.0", 3_171_840, ROUNDED),
    "AdptP r=16": ("0.8", 811_392, YES),
    "AdptH r=64": ("6.0", 6_343_680, ROUNDED),
    "AdptH r=8": ("0.8", 835_968, YES),
}
DEBERTA = {"FT": ("1500.0", 1_564_549_632, ROUNDED), "LoRA r=16": ("4.7", 4_718_592, YES)}
GPT2_MEDIUM = {
    "FT": ("354.92", 354_823_168, NO),
    "AdptL r=6": ("0.37", 368_784, YES),
    "AdptL r=224": ("11.09", 11_089_152, YES),
    "AdptH r=112": ("11.09", 11_064_576, NO),
    "FT Top2": ("25.19", 25_192_448, YES),
    "PreLayer n=14": ("0.35", 344_064, NO),
    "LoRA r=4": ("0.35", 393_216, NO),
}
GPT2_LARGE = {
    "FT": ("774.03", 774_030_080, YES),
    "AdptL r=8": ("0.88", 875_808, YES),
    "AdptL r=248": ("23.00", 23_002_848, YES),
    "PreLayer n=17": ("0.77", 783_360, NO),
    "LoRA r=4": ("0.77", 737_280, NO),
}
EXPECTED = {
    (name, label): want
    for name, rows in {
        "gpt3-175b": GPT3,
        "roberta-base": ROBERTA_BASE,
        "roberta-large": ROBERTA_LARGE,
        "deberta-v2-xxlarge": DEBERTA,
        "gpt2-medium": GPT2_MEDIUM,
        "gpt2-large": GPT2_LARGE,
    }.items()
    for label, want in rows.items()
}


def test_every_row_is_expected_once():
    assert sorted((row.architecture, row.label) for row in PAPER_ROWS) == sorted(EXPECTED)


@pytest.mark.parametrize("row", PAPER_ROWS, ids=lambda row: f"{row.architecture} {row.label}")
def test_each_row_has_its_count_and_its_verdict(row):
    """The golden rows of tables 2, 3, 4 and 15.  [count-lora] [count-adapter] [count-prefix-layer]"""
    assert (row.printed, row.ours, row.verdict) == EXPECTED[row.architecture, row.label]
    assert bool(row.reason) or row.verdict == YES


@pytest.mark.parametrize("row", PAPER_ROWS, ids=lambda row: f"{row.architecture} {row.label}")
def test_reproduced_means_within_half_of_the_last_printed_digit(row):
    """The verdict from another road: whole numbers only."""
    last_digit = Fraction(10**6, 10 ** len(row.printed.partition(".")[2]))
    gap = abs(Fraction(row.printed) * 10**6 - row.ours)
    assert (gap <= last_digit / 2) == (row.verdict == YES)
    if (
        row.verdict == ROUNDED and row.digit is None and row.unit == 10**6
    ):  # truncated: below, by less than a digit
        assert 0 <= row.ours - Fraction(row.printed) * 10**6 < row.pieces * last_digit


def test_a_wrong_count_is_noticed():
    """A planted error of one part in 400 turns a reproduced row into one that is not."""
    right = PaperRow("4", "LoRA", "37.7", "gpt3-175b", "lora", {"rank": 8})
    wrong = PaperRow("4", "LoRA", "37.6", "gpt3-175b", "lora", {"rank": 8})
    assert (right.verdict, wrong.verdict) == (YES, NO)
    assert right.paper == 37_700_000


def test_the_share_of_the_papers_reduction():
    """Table 4: 4.7M of 175B trained, 0.003 %; the text's "10,000 times fewer".  [count-share]"""
    found = count("gpt3-175b", "lora", rank=4, targets="q,v")
    assert 9_000 < found.base / found.trainable < 10_000


# ---- statements ----------------------------------------------------------------------------------------------


def claim(name):
    return next(found for found in claims() if found.name == name)


def test_vram_from_bytes_per_parameter():
    """1.2 TB lies between weights + two moments, and those + gradients, in 16 bit.  [memory-training]"""
    P = 174_604_259_328
    assert claim("full fine-tuning, weights and Adam's moments").ours == pytest.approx(
        6 * P / 1e12, rel=1e-15
    )
    assert 6 * P < 1.2e12 < 8 * P
    assert claim("LoRA in training").ours == pytest.approx((2 * (P + 18_874_368) + 6 * 18_874_368) / 1e9)
    assert round(claim("LoRA in training").ours) == 349
    assert claim("share of memory saved, without gradients").ours == pytest.approx(2 / 3, abs=1e-4)


def test_files():
    """35 MB is 36 MiB exactly; 100 tasks are 353.5 GB against 35 TB.  [memory-adapter]"""
    assert claim("checkpoint of one task").ours * 1e6 == 18_874_368 * 2 == 36 * 2**20
    assert claim("100 tasks as adapters").ours == 353.5
    assert claim("100 tasks as models").ours == 35.0


def test_speed():
    """32.5 to 43.1 tokens a second: 32.6 % throughput, 24.6 % time.  [count-speedup]"""
    throughput, time = speedup(43.1, 32.5)
    assert throughput == pytest.approx(float(Fraction(431, 325) - 1))
    assert time == pytest.approx(float(1 - Fraction(325, 431)))
    assert (round(100 * throughput, 1), round(100 * time, 1)) == (32.6, 24.6)
    assert claim("time saved in training").verdict == YES
    assert claim("throughput gained in training").verdict == NO


def test_all_six_latency_percentages_recompute():
    found = [found for found in claims() if found.name.startswith("latency")]
    assert [c.printed for c in found] == ["+2.2%", "+3.0%", "+5.0%", "+8.4%", "+20.7%", "+30.3%"]
    for c in found:
        ms, base = (Fraction(text) for text in re.findall(r"[\d.]+", c.arithmetic)[:2])
        assert abs(ms / base - 1 - Fraction(c.printed.strip("+%")) / 100) <= Fraction(5, 10_000)
        assert c.verdict == YES
