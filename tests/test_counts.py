"""Counts of real architectures under every method, against closed formulas, published sizes and loops over blocks."""

import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.counts import (
    ARCHITECTURES,
    METHODS,
    after_pruning,
    architecture,
    break_even_rank,
    count,
    factored_count,
    peft_options,
)
from lora_np.counts.rules import balanced_split
from lora_np.errors import ConfigError
from tests.naive import counts as naive

PUBLISHED = {  # from the releases, or from the models themselves instantiated by their own code
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt3-175b": 174_604_259_328,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "deberta-v2-xxlarge": 1_564_549_632,
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-30b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "mistral-7b": 7_241_732_096,
    "qwen2.5-7b": 7_615_616_512,
    "minilm-l6": 22_713_216,
    "vit-base": 86_567_656,
}
CLOSED = {
    "gpt2": naive.gpt2(768, 12),
    "gpt2-medium": naive.gpt2(1024, 24),
    "gpt2-large": naive.gpt2(1280, 36),
    "gpt2-xl": naive.gpt2(1600, 48),
    "gpt3-175b": naive.gpt2(12288, 96, context=2048),
    "roberta-base": naive.bert(768, 12, 3072, 50265, 514, 1),
    "roberta-large": naive.bert(1024, 24, 4096, 50265, 514, 1),
    "minilm-l6": naive.bert(384, 6, 1536, 30522, 512, 2),
    "deberta-v2-xxlarge": naive.deberta_v2(1536, 48, 128100),
    "vit-base": naive.vit(768, 12, 1000),
    "llama-7b": naive.llama(4096, 32, 32, 32, 11008, 32000),
    "llama-13b": naive.llama(5120, 40, 40, 40, 13824, 32000),
    "llama-30b": naive.llama(6656, 60, 52, 52, 17920, 32000),
    "llama-65b": naive.llama(8192, 80, 64, 64, 22016, 32000),
    "llama-3-8b": naive.llama(4096, 32, 32, 8, 14336, 128256),
    "llama-3-70b": naive.llama(8192, 80, 64, 8, 28672, 128256),
    "mistral-7b": naive.llama(4096, 32, 32, 8, 14336, 32000),
    "qwen2.5-7b": naive.llama(3584, 28, 28, 4, 18944, 152064, qkv_bias=True),
}
NAMES = st.sampled_from(sorted(ARCHITECTURES))


def shapes_of(name):
    a = architecture(name)
    return naive.matrices(a.width, a.heads, a.kv_heads, a.ff, a.gated)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_total_is_the_published_one_and_the_closed_formula(name):
    """[count-full]"""
    found = count(name, "full")
    assert found.trainable == found.total == found.base == PUBLISHED[name] == CLOSED[name]
    assert (found.frozen, found.added, found.share) == (0, 0, 1.0)


def test_every_architecture_is_covered():
    assert ARCHITECTURES.keys() == PUBLISHED.keys() == CLOSED.keys()
    for name, a in ARCHITECTURES.items():
        assert a.name == name
        assert a.source
        assert len({part.name for part in a.parts}) == len(a.parts)


@given(NAMES)
def test_the_matrices_of_a_block_have_the_shapes_of_its_heads(name):
    """Grouped-query attention: keys and values are as wide as their own heads."""
    for target, shape in shapes_of(name).items():
        (part,) = architecture(name).matrices(target)
        assert part.shape == shape
        assert part.copies == architecture(name).layers


def test_grouped_query_widths():
    assert architecture("llama-3-8b").matrices("v")[0].shape == (1024, 4096)
    assert architecture("qwen2.5-7b").matrices("k")[0].shape == (512, 3584)
    assert architecture("llama-7b").matrices("v")[0].shape == (4096, 4096)


@given(
    NAMES,
    st.sampled_from(["lora", "dora", "adalora", "lora-fa", "lora-xs", "vera", "loha", "lokr"]),
    st.integers(1, 300),
    st.sets(st.sampled_from(["q", "k", "v", "o"]), min_size=1),
    st.booleans(),
)
def test_methods_beside_a_matrix_count_what_loops_over_blocks_count(name, method, r, attention, with_mlp):
    """[count-lora] [count-dora] [count-adalora] [count-lora-fa] [count-lora-xs] [count-vera] [count-loha]

    [count-lokr]
    """
    a, shapes = architecture(name), shapes_of(name)
    targets = [
        t for t in shapes if t in attention or (with_mlp and t in ("fc1", "fc2", "gate", "up", "down"))
    ]
    found = count(name, method, rank=r, targets=targets)
    assert found.trainable == naive.trained(method, shapes, a.layers, r, targets)
    assert found.base == PUBLISHED[name]
    assert found.total == found.trainable + found.frozen == found.base + found.added


@given(NAMES, st.integers(1, 64))
def test_share_and_parts_add_up(name, r):
    """[count-share]"""
    found = count(name, "lora", rank=r)
    assert Fraction(found.share) == Fraction(found.trainable / (PUBLISHED[name] + found.trainable))
    assert sum(row.count for row in found) == found.total
    assert found.saved == found.trainable


@pytest.mark.parametrize("method", ["rslora", "lora-plus", "pissa", "olora", "lora-ga", "qlora", "additive"])
def test_what_differs_in_scale_start_or_rate_only_has_loras_count(method):
    """[count-lora]"""
    assert count("llama-3-8b", method, rank=5).trainable == count("llama-3-8b", "lora", rank=5).trainable


def test_what_a_file_must_hold():
    """A random A that stays must be saved with B; factors from an SVD or a seed are made again."""
    assert count("gpt2", "lora-fa", rank=8).saved == count("gpt2", "lora", rank=8).saved
    assert count("gpt2", "lora-xs", rank=8).saved == 24 * 64
    assert count("gpt2", "vera", rank=256).saved == 24 * (768 + 256)
    assert count("gpt2", "vera", rank=256).added == 24 * (768 + 256) + 2 * 768 * 256


@pytest.mark.parametrize(
    ("method", "adapters", "norms"), [("adapter-h", 2, 0), ("adapter-l", 1, 1), ("adapter-p", 1, 0)]
)
@pytest.mark.parametrize("name", ["gpt2-medium", "roberta-large", "llama-7b"])
def test_adapters(name, method, adapters, norms):
    """[count-adapter]"""
    a = architecture(name)
    for r in (1, 6, 64):
        want = naive.adapter(a.width, r, adapters * a.layers, norms * a.layers)
        assert count(name, method, rank=r).trainable == want
    assert count(name, "adapter-d", rank=6, layers=5).trainable == naive.adapter(a.width, 6, 5, 0)


@given(NAMES, st.integers(0, 512), st.integers(0, 64))
def test_prefixes(name, lp, li):
    """[count-prefix-embedding] [count-prefix-layer] [count-prefix-kv]"""
    a = architecture(name)
    assert count(name, "prefix-embedding", prefix=lp, infix=li).trainable == a.width * (lp + li)
    assert count(name, "prefix-layer", prefix=lp, infix=li).trainable == a.layers * a.width * (lp + li)
    kv = a.kv_heads * (a.width // a.heads)
    assert count(name, "prefix-kv", prefix=lp).trainable == 2 * a.layers * lp * kv
    both = count(name, "lora-pl", rank=3, prefix=lp, infix=li).trainable
    assert both == count(name, "lora", rank=3).trainable + a.layers * a.width * (lp + li)
    both = count(name, "lora-pe", rank=3, prefix=lp, infix=li).trainable
    assert both == count(name, "lora", rank=3).trainable + a.width * (lp + li)


def test_bitfit():
    """[count-bitfit]: 12 (4d + ff + d + 2d) + d for RoBERTa-base, its pooler left out; 11 d L + d for GPT-2.

    qwen2.5-7b has biases on q, k and v only: 28 (3584 + 2 x 512).
    """
    d = 768
    assert count("roberta-base", "bitfit").trainable == 12 * (4 * d + 4 * d + d + 2 * d) + d == 102_144
    assert count("gpt3-175b", "bitfit").trainable == 11 * 12288 * 96 + 12288
    assert count("qwen2.5-7b", "bitfit").trainable == 28 * (3584 + 2 * 512)
    with pytest.raises(ConfigError, match="no bias vectors"):
        count("llama-7b", "bitfit")


def test_ia3():
    """[count-ia3]: L (d_k + d_v + d_ff)."""
    assert count("gpt2", "ia3").trainable == 12 * (768 + 768 + 3072)
    assert count("llama-3-8b", "ia3").trainable == 32 * (1024 + 1024 + 14336)
    assert count("llama-3-8b", "ia3", targets="q,up").trainable == 32 * (4096 + 14336)


def test_oft():
    """[count-oft]: 4096 / 32 blocks of 32 x 31 / 2, on two matrices in 32 layers."""
    assert count("llama-7b", "oft").trainable == 64 * 128 * (32 * 31 // 2)
    with pytest.raises(ConfigError, match="block = 33 does not divide 4096"):
        count("llama-7b", "oft", block=33)


def test_subsets():
    """[count-subset]: two blocks of GPT-2 medium, 2 (12d² + 13d); a probe of 10 classes, 10 (d + 1)."""
    found = count("gpt2-medium", "ft-top2")
    assert found.trainable == 2 * (12 * 1024**2 + 13 * 1024) == 25_192_448
    assert found.total == PUBLISHED["gpt2-medium"]
    assert count("gpt2", "linear-probe", classes=10).trainable == 10 * 769


@given(st.integers(1, 5000))
def test_the_kronecker_split_is_the_most_balanced_one(n):
    """[count-lokr]"""
    assert balanced_split(n) == naive.balanced(n)


def test_one_rank_per_target():
    """The paper's r_q and r_v: 2 x 12288 (8 + 4) in each of 96 blocks."""
    assert count("gpt3-175b", "lora", rank={"q": 8, "v": 4}).trainable == 96 * 2 * 12288 * 12
    by_pefts_name = count("llama-3-8b", "lora", rank={"q_proj": 8, "v_proj": 4})
    assert by_pefts_name.trainable == 32 * (8 * 2 * 4096 + 4 * (1024 + 4096))
    assert count("llama-3-8b", "lora", rank={"k": 2}, targets="k").trainable == 32 * 2 * (4096 + 1024)


def test_targets_are_read_as_people_write_them():
    want = count("llama-7b", "lora", rank=4, targets="q,v").trainable
    for targets in ("q, v", ["v", "q"], ("q_proj", "v"), ("q", "q", "v")):
        assert count("llama-7b", "lora", rank=4, targets=targets).trainable == want
    everything = count("llama-7b", "lora", rank=4, targets="all-linear").trainable
    parts = (count("llama-7b", "lora", rank=4, targets=word).trainable for word in ("attention", "mlp"))
    assert everything == sum(parts)


def test_the_fused_projection_of_gpt2():
    """PEFT's c_attn: r (d + 3d), which is what separate q and v cost; loralib's split q, k, v cost 6 d r."""
    fused = count("gpt2", "lora", rank=4, targets="qkv")
    assert fused.trainable == 12 * 4 * (768 + 2304)
    assert fused.trainable == count("gpt2", "lora", rank=4, targets="q,v").trainable
    assert count("gpt2", "lora", rank=4, targets="c_attn").trainable == fused.trainable
    with pytest.raises(ConfigError, match="targets name q twice"):
        count("gpt2", "lora", targets="qkv,q")


def test_fewer_layers():
    assert count("gpt2", "lora", rank=4, layers=3).trainable * 4 == count("gpt2", "lora", rank=4).trainable
    assert count("gpt2", "lora", layers=12).trainable == count("gpt2", "lora").trainable
    with pytest.raises(ConfigError, match="layers = 13 exceeds the 12 blocks"):
        count("gpt2", "lora", layers=13)


def test_the_seeds_factorization():
    """Property 42: 100 x 10 + 10 x 1000 = 11,000 = 11 % of 100,000.  [count-lora] [count-break-even]"""
    assert factored_count(100, 1000, 10) == 100 * 10 + 10 * 1000 == 11_000
    assert Fraction(factored_count(100, 1000, 10), 100 * 1000) == Fraction(11, 100)


@given(st.integers(1, 500), st.integers(1, 500))
def test_factoring_saves_exactly_below_the_break_even_rank(d, k):
    """Property 42.  [count-break-even]"""
    where = break_even_rank(d, k)
    for r in range(1, min(d, k) + 2):
        assert (factored_count(d, k, r) < d * k) == (r < where)
    assert Fraction(min(d, k), 2) <= where < min(d, k)


@pytest.mark.parametrize(("r", "second"), [(15, 15 * 64), (16, 32 * 32), (20, 32 * 32)])
def test_lokr_factors_its_second_matrix_below_half_of_its_width_only(r, second):
    """768 = 24 x 32: the first factor has 24 x 24 numbers, the second 32 x 32 or r (32 + 32).  [count-lokr]"""
    assert count("gpt2", "lokr", rank=r, targets="q").trainable == 12 * (24 * 24 + second)


# ---- pruning -------------------------------------------------------------------------------------------------


def test_llm_pruners_and_loraprunes_counts():
    """[count-pruned]: the log of LLM-Pruner, and the shapes that LoRAPrune's released code leaves."""
    assert after_pruning("llama-7b", heads=8, channels=2752, layers=26).total == 5_422_977_024
    assert after_pruning("llama-7b", heads=15, channels=5503, layers=28).total == 3_964_227_584
    assert after_pruning("llama-7b", heads=16, channels=5504, layers=28).total == 3_905_163_264
    assert after_pruning("llama-7b", heads=6, channels=2201, layers=28).total == 5_628_809_216


@given(NAMES, st.data())
def test_pruning_removes_rows_columns_and_their_biases(name, data):
    """[count-pruned]: the closed formula, with biases where the blocks have them."""
    a = architecture(name)
    group = a.heads // a.kv_heads
    heads = group * data.draw(st.integers(0, a.kv_heads - 1))
    channels = data.draw(st.integers(0, a.ff - 1))
    layers = data.draw(st.integers(0, a.layers))
    hd = a.width // a.heads
    gone = heads * hd * 2 * a.width + (heads // group) * hd * 2 * a.width + channels * a.width * (2 + a.gated)
    if name == "qwen2.5-7b":
        gone += heads * hd + 2 * (heads // group) * hd
    elif not a.gated:
        gone += 3 * heads * hd + channels
    assert after_pruning(name, heads=heads, channels=channels, layers=layers).total == a.total - layers * gone


def test_a_pruned_network_can_be_adapted():
    small = after_pruning("llama-7b", heads=8, channels=2752, layers=26)
    q_rank_2 = 2 * (26 * (3072 + 4096) + 6 * (4096 + 4096))
    assert count(small, "lora", rank=2, targets="q").trainable == q_rank_2
    for wrong in ({"method": "ft-top2"}, {"method": "lora", "layers": 2}):
        with pytest.raises(ConfigError, match="blocks that are all alike"):
            count(small, **wrong)
    with pytest.raises(ConfigError, match="blocks that are all alike"):
        after_pruning(small, heads=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heads": 32}, "heads = 32 would empty the blocks of llama-3-8b: each has 32, 0 would remain"),
        ({"channels": 20000}, "would empty the blocks"),
        ({"heads": 3}, "splits a group of 4 query heads"),
        ({"heads": -4}, "heads must be a non-negative int"),
        ({"layers": 33}, "layers = 33 exceeds"),
        ({"heads": 4.0}, "float 4.0"),
    ],
)
def test_pruning_too_much_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        after_pruning("llama-3-8b", **wrong)


# ---- PEFT's words --------------------------------------------------------------------------------------------


def test_peft_options():
    found = peft_options(count("roberta-base", "rslora", rank={"q": 8, "fc2": 2}, layers=3), alpha=16)
    assert found["r"] == 8
    assert found["use_rslora"] is True
    assert found["target_modules"][0] == "query"
    assert found["target_modules"][1:] == [f"layer.{i}.output.dense" for i in range(12)]
    assert set(found["rank_pattern"].values()) == {2}
    assert found["layers_to_transform"] == [0, 1, 2]
    assert "rank_pattern" not in peft_options(count("gpt2", "lora", targets="qkv"), alpha=1)
    with pytest.raises(ConfigError, match="it can name: qkv, o, fc1, fc2"):
        peft_options(count("gpt2", "lora", targets="q"), alpha=1)
    with pytest.raises(ConfigError, match="no LoraConfig here"):
        peft_options(count("gpt2", "full"), alpha=1)


# ---- results and bad input -----------------------------------------------------------------------------------


def test_a_count_is_plain_data():
    found = count("gpt2", "lora", rank={"q": 4, "v": 2})
    assert pickle.loads(pickle.dumps(found)) == found
    plain = found.as_dict()
    assert plain["options"] == {"rank": {"q": 4, "v": 2}, "targets": ["q", "v"]}
    assert sum(row["count"] for row in plain["rows"]) == plain["total"] == found.total
    with pytest.raises(AttributeError):
        found.method = "full"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("llama7b", "lora"), {}, "did you mean 'llama-7b'"),
        (("zzz", "lora"), {}, "architecture must be one of gpt2, .* got 'zzz'"),
        ((["gpt2"], "lora"), {}, "architecture must be one of"),
        (("gpt2", "LORAX"), {}, "method must be one of 'full', .*got 'LORAX'"),
        (("gpt2", "adapterh"), {"rank": 4}, "did you mean 'adapter-h'"),
        (("gpt2", "lora"), {"rank": 0}, "rank r must be a positive int, got 0"),
        (("gpt2", "lora"), {"rank": 2.0}, "float 2.0"),
        (("gpt2", "lora"), {"rank": True}, "bool True"),
        (("gpt2", "lora"), {"rank": {"q": 4, "v": 0}}, "rank r must be a positive int, got 0"),
        (("gpt2", "lora"), {"rank": {"q": 4}, "targets": "q,v"}, "rank names q but targets are q, v"),
        (("gpt2", "lora"), {"targets": "q,gate"}, "targets of gpt2 must be one of 'q', .* got 'gate'"),
        (("gpt2", "lora"), {"targets": "q,"}, "got ''"),
        (("gpt2", "lora"), {"targets": ()}, "targets is empty"),
        (("gpt2", "lora"), {"targets": 7}, "targets must be names, got int 7"),
        (("gpt2", "full"), {"rank": 4}, "method 'full' has no option 'rank'; it takes no options"),
        (("gpt2", "lora"), {"prefix": 4}, "no option 'prefix'; it takes rank, targets, layers"),
        (("gpt2", "adapter-h"), {}, "method 'adapter-h' needs rank"),
        (("gpt2", "adapter-h"), {"rank": "4"}, "str '4'"),
        (("gpt2", "adapter-h"), {"rank": {"q": 4}}, "rank r must be a positive int"),
        (("gpt2", "prefix-layer"), {"prefix": -1}, "prefix must be a non-negative int"),
        (("gpt2", "linear-probe"), {"classes": 0}, "classes must be a positive int"),
        (("gpt2", "lora"), {"layers": 0}, "layers must be a positive int"),
        (("gpt2", "vera"), {"rank": {"q": 4, "v": 2}}, "all targets have one rank"),
    ],
)
def test_mistakes_are_named(arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        count(*arguments, **options)


def test_every_method_counts_on_every_architecture_or_says_why_not():
    for name in ARCHITECTURES:
        for method, way in METHODS.items():
            given = {option: 8 for option, default in way.options.items() if default is None}
            if method == "bitfit" and name.startswith(("llama", "mistral")):
                continue
            found = count(name, method, **given)
            assert 0 < found.trainable <= found.total
            assert way.key
            assert way.formula
            assert way.source
