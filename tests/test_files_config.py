"""adapter_config.json and its patterns: broken ones are told with their place, none makes the reader work for long.

Patterns are judged by Python's own `re`, in the form that PEFT gives them.
"""

import json
import random
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import errors
from lora_np.files import Limits, PeftConfig, adapter_from_bytes, read_adapter
from lora_np.files.patterns import resolve
from tests.naive import tensor_files as make

WRITTEN = [
    r"q",
    r"q_proj",
    r"layers.0.q_proj",
    r"1.q_proj",
    r"q.proj",
    r"^layers.0.q_proj",
    r"^q_proj",
    r".*q_proj$",
    r"[qk]_proj",
    r"layers\.(0|11)\..*",
    r"layers\.\d+\.\w+",
    r"[^0-9]*",
    r"(?:q|k)_proj",
    r"(q|k|)_?proj",
    r"q_proj|k_proj",
    r"\D{3,6}",
    r"layers.{,3}q_proj",
    r"l.*?j",
    r"[]q-]_proj",
    r"[^]q-]_proj",
    r"[\d_]*",
    r"\S+\.q_proj",
    r"x{0}q_proj",
    "",
]
NAMES = [
    "q_proj",
    "k_proj",
    "layers.0.q_proj",
    "layers.11.k_proj",
    "layers.1.q_proj",
    "layers.0.kq_proj",
    "proj",
    "layersX0.q_proj",
]
ATOMS = st.sampled_from(
    [
        r"a",
        r"b",
        r".",
        r"\.",
        r"\d",
        r"\W",
        r"[ab]",
        r"[^a]",
        r"[a-c0]",
        r"(",
        r"(?:",
        r")",
        r"|",
        r"*",
        r"+",
        r"?",
        r"{1,2}",
        r"{2}",
        r"{,2}",
        r"{1,}",
        r"^",
        r"$",
        r"0",
        r"*?",
        r"[]a]",
        r"[\d-]",
        r"[-a]",
        r"[a-]",
    ]
)


def refused(content, error, *words, **options):
    """Assert that the config raises exactly this class, with all the words."""
    with pytest.raises(errors.LoraNpError) as caught:
        adapter_from_bytes(make.linear(), content, **options)
    assert type(caught.value) is error, caught.value
    for word in words:
        assert word in str(caught.value), f"{word!r} not in: {caught.value}"
    assert len(str(caught.value)) < 2000


class TestRow58:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", ["starts with", "byte 0"]),
            (b"[]", ["byte 0"]),
            (b"\xef\xbb\xbf{}", ["BOM", "1:1"]),
            (b'{\n  "r": 2,\n  "lora_alpha": 8,\n}', ["4:1", "line:column"]),
            (b'{"r": 2', ["1:8"]),
            (b'{"r": 2, "r": 4}', ["'r'", "twice"]),
            (b'{"peft_type": "LORA",\n "r": 2, "lora_alpha": NaN}', ["2:24", "NaN is no number"]),
            (b'{"peft_type": "LORA", "r": 2, "x": -Infinity}', ["1:36", "-Infinity"]),
            (b'{"peft_type": "LORA", "r": 2}', ["lacks lora_alpha"]),
            (b'{"peft_type": "LORA"}', ["lacks r and lora_alpha"]),
            (b'{"peft_type": "LO\xff"}', ["not UTF-8", "17"]),
            (b'{"x":' * 5000, ["nested", "limit is 64"]),
            (b"version https://git-lfs.github.com/spec/v1", ["version https:/"]),
        ],
    )
    def test_no_json_object(self, content, words):
        refused(content, errors.ConfigFileError, *words)

    def test_the_words_of_constants_may_stand_in_text(self):
        config = make.config(note='a "NaN" \\', other=["Infinity"])
        assert adapter_from_bytes(make.linear(), config).config.other["other"] == ["Infinity"]

    def test_a_gigabyte_is_not_read(self, tmp_path):
        (tmp_path / "adapter_model.safetensors").write_bytes(make.linear())
        with (tmp_path / "adapter_config.json").open("wb") as file:
            file.truncate(2**30)  # takes no room on the disk
        tracemalloc.start()
        words = r"1073741824 bytes, the limit is 1000000; it was not read"
        with pytest.raises(errors.ConfigFileError, match=words):
            read_adapter(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 100_000
        tracemalloc.stop()

    def test_the_limit_of_the_caller(self):
        refused(make.config(), errors.ConfigFileError, "limit is 9;", limits=Limits(config_bytes=9))


class TestValues:
    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"peft_type": "LORAX"}, ["LORAX", "'LORA'"]),
            ({"peft_type": None}, ["peft_type", "'LORA'"]),
            ({"peft_type": "IA3"}, ["IA3", "cannot be read yet"]),
            ({"r": 0}, ["got 0", "omit the adapter"]),
            ({"r": -1}, ["got -1"]),
            ({"r": 2.0}, ["float", "2.0"]),
            ({"r": True}, ["bool"]),
            ({"r": "4"}, ["str", "'4'"]),
            ({"lora_alpha": "8"}, ["alpha", "str"]),
            ({"lora_alpha": 10**400}, ["alpha"]),
            ({"use_rslora": "false"}, ["bool required, got str 'false'"]),
            ({"use_dora": 1}, ["use_dora", "int"]),
            ({"fan_in_fan_out": "no"}, ["fan_in_fan_out"]),
            ({"lora_bias": "no"}, ["lora_bias"]),
            ({"bias": "some"}, ["bias", "'lora_only'"]),
            ({"target_modules": 3}, ["target_modules", "3"]),
            ({"target_modules": ["q", 3]}, ["target_modules", "3"]),
            ({"modules_to_save": "head"}, ["modules_to_save", "'head'"]),
            ({"base_model_name_or_path": ["x"]}, ["base_model_name_or_path"]),
            ({"rank_pattern": [1]}, ["rank_pattern", "[1]"]),
            ({"rank_pattern": {"q": 0}}, ["rank_pattern['q']", "0"]),
            ({"rank_pattern": {"q": "2"}}, ["rank_pattern['q']", "str"]),
            ({"alpha_pattern": {"q": None}}, ["alpha_pattern['q']"]),
            ({"use_qalora": True}, ["use_qalora"]),
            ({"use_bdlora": {"a": 1}}, ["use_bdlora"]),
            ({"kasa_config": {}, "use_rslora": 0}, ["use_rslora"]),
        ],
    )
    def test_a_value_that_cannot_be(self, values, words):
        refused(make.config(**values), errors.ConfigError, *words)

    def test_a_float_too_large_for_any(self):
        text = make.config().replace(b'"lora_alpha": 8', b'"lora_alpha": 1e400')
        refused(text, errors.ConfigError, "alpha", "1e400")

    def test_null_is_what_peft_writes_for_not_set(self):
        text = json.loads(make.config())
        text |= dict.fromkeys(("rank_pattern", "alpha_pattern", "target_modules", "use_rslora", "bias"))
        config = adapter_from_bytes(make.linear(), json.dumps(text).encode()).config
        assert (config.rank_pattern, config.target_modules, config.bias) == ({}, None, "none")

    def test_the_record_can_be_made_by_hand(self):
        with pytest.raises(errors.ConfigError, match="rank r"):
            PeftConfig(r=0, alpha=8)


class TestRow62Patterns:
    """Patterns of a config; target_modules is never evaluated at all."""

    @pytest.mark.parametrize("pattern", ["(a+)+$", "(.*)*x", "(?=(a*))*" * 9, "(", "a{9999999}"])
    def test_target_modules_is_kept_as_text(self, pattern):
        config = make.config(target_modules=pattern)
        assert adapter_from_bytes(make.linear(stem="a" * 900), config).config.target_modules == pattern

    @pytest.mark.parametrize(
        "pattern", ["(a+)+", "(a|a)*", "(a|aa)+", "(.*a){9}", "([a-z]+)*", "(a*)*(a*)*(a*)*"]
    )
    def test_a_pattern_that_backtracks_for_ever_is_answered(self, pattern):
        assert resolve({pattern + "x": 1}, ["a" * 200, "a" * 200 + "x"], 0) == {
            "a" * 200: 0,
            "a" * 200 + "x": 1,
        }

    @pytest.mark.parametrize(
        ("pattern", "words"),
        [
            ("(?=a)", "look-around"),
            (r"(a)\1", r"\1 is not evaluated"),
            (r"\bq", r"\b is not evaluated"),
            ("(a", "not closed"),
            ("a)", "none opened"),
            ("*a", "nothing that * could repeat"),
            ("a**", "a repetition is repeated"),
            ("a++", "possessive"),
            ("a{2", "brace"),
            ("a{3,2}", "more at least"),
            ("[a", "ends too early"),
            ("a\\", "ends too early"),
            ("[z-a]", "range"),
            ("^*", "repeated"),
            ("a{1001}", "repeats too much"),
            ("(a{99}){99}", "repeats too much"),
            ("(" * 60 + "a" + ")" * 60, "nested deeper"),
            ("[ab]" * 2000, "too long"),
            ("|" * 2000, "too long"),
        ],
    )
    def test_what_cannot_be_evaluated_is_refused(self, pattern, words):
        with pytest.raises(errors.ConfigError) as caught:
            resolve({pattern: 1}, ["q"], 0)
        assert words in str(caught.value)
        refused(make.config(alpha_pattern={pattern: 1}), errors.ConfigError, "pattern")

    def test_steps_are_counted(self):
        rng = random.Random(0)
        names = ["".join(rng.choices("01", k=999)) for _ in range(200)]
        with pytest.raises(errors.ConfigError, match="not evaluated as backtracking"):
            resolve({"[01]*1[01]{40}x": 1}, names, 0)  # every 40 digits are a state of their own

    def test_pairs_are_counted(self):
        with pytest.raises(errors.ConfigError, match="1001 patterns for 1000 modules"):
            resolve({f"q{i}": 1 for i in range(1001)}, map(str, range(1000)), 0)

    def test_a_name_too_long_for_a_pattern(self):
        with pytest.raises(errors.ConfigError, match="1001 characters"):
            resolve({".*": 1}, ["a" * 1001], 0)

    def test_the_first_pattern_that_fits_wins(self):
        assert resolve({"k": 1, "q": 2, ".*": 3}, ["a.q", "q", "v"], 0) == {"a.q": 2, "q": 2, "v": 3}

    @pytest.mark.parametrize("pattern", WRITTEN)
    def test_patterns_as_people_write_them_match_as_in_re(self, pattern):
        """PEFT: re.match(rf"(.*\\.)?({key})$", name)."""
        names = [*NAMES, "", "layers.0.", ".q_proj", "q-proj", "a.layers.0.q_proj"]
        found = resolve({pattern: True}, names, False)
        assert found == {name: bool(re.match(rf"(.*\.)?({pattern})$", name)) for name in names}

    @given(
        st.lists(ATOMS, max_size=8).map("".join),
        st.lists(st.text("ab.0_c-", max_size=7), max_size=5, unique=True),
    )
    def test_any_pattern_that_is_evaluated_matches_as_in_re(self, pattern, names):
        try:
            found = resolve({pattern: True}, names, False)
        except errors.ConfigError:
            return
        assert found == {name: bool(re.match(rf"(.*\.)?({pattern})$", name)) for name in names}
