"""Training memory: each term by hand, activations against the published formula, files and quantized bases."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.counts import (
    ARCHITECTURES,
    activation_bytes,
    adapter_file_bytes,
    after_pruning,
    checkpoint_bytes,
    count,
    quantized_bytes,
    training_memory,
    weight_bytes,
)
from lora_np.errors import ConfigError

GPTS = st.sampled_from(["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "gpt3-175b"])
NAMES = st.sampled_from(sorted(ARCHITECTURES))
LENGTHS = st.integers(1, 4096)


@given(GPTS, st.integers(1, 8), LENGTHS)
def test_a_fully_trained_gpt_keeps_what_korthikanti_et_al_count(name, batch, seq):
    """s b h (34 + 5 a s / h) bytes a block, in 16 bit with dropout.  [memory-activations]"""
    a = ARCHITECTURES[name]
    kept = activation_bytes(count(name, "full"), batch=batch, seq=seq, dropout=True)
    sbh = seq * batch * a.width
    assert kept.total - kept.head == a.layers * (34 * sbh + 5 * a.heads * seq * seq * batch)


@given(GPTS, st.integers(1, 8), LENGTHS)
def test_checkpointing_keeps_a_blocks_input_and_one_block(name, batch, seq):
    """2 s b h a block, and 34 s b h + 5 a s² b while one is computed again.  [memory-activations]"""
    a = ARCHITECTURES[name]
    kept = activation_bytes(count(name, "full"), batch=batch, seq=seq, dropout=True, checkpointing=True)
    sbh = seq * batch * a.width
    assert kept.total - kept.head == 2 * sbh * a.layers + 34 * sbh + 5 * a.heads * seq * seq * batch


def test_lora_keeps_less_because_frozen_layers_need_no_inputs():
    """GPT-2, 16 bit, no dropout, fused attention, per token and block, in numbers of 2 bytes, d = 768:

    norms 2d; q, k, v 3d; attention output d and 12 float32; GELU input 4d; with LoRA on q and v the input of both,
    d, and two Z of 8; trained fully the inputs of q, k, v (d), fc1 (d) and fc2 (4d).
    """
    d, tokens = 768, 100
    shared = 2 * (2 * d + 3 * d + d + 4 * d) + 4 * 12
    lora = activation_bytes(count("gpt2", "lora"), batch=1, seq=tokens, fused_attention=True)
    assert lora.total - lora.head == 12 * tokens * (shared + 2 * (d + 16))
    full = activation_bytes(count("gpt2", "full"), batch=1, seq=tokens, fused_attention=True)
    assert full.total - full.head == 12 * tokens * (shared + 2 * 6 * d)


def test_what_the_variants_keep():
    """With A frozen (LoRA-FA) the input is not kept; VeRA keeps both sides of its diagonals; adapters their own."""
    seq = 10

    def numbers(method, **options):
        kept = activation_bytes(count("gpt2", method, **options), batch=1, seq=seq)
        return kept.linear_inputs // (2 * seq), kept.bottlenecks // (2 * seq)

    assert numbers("lora", rank=4) == (12 * 768, 12 * 8)
    assert numbers("lora", rank=4, targets="q") == (12 * 768, 12 * 4)
    assert numbers("lora", rank=4, targets="qkv") == (12 * 768, 12 * 4)
    assert numbers("lora", rank=4, targets="fc2,o") == (12 * (3072 + 768), 12 * 8)
    assert numbers("lora", rank=4, layers=5) == (5 * 768, 5 * 8)
    assert numbers("lora-fa", rank=4) == (0, 12 * 8)
    assert numbers("vera", rank=16) == (0, 12 * 2 * (16 + 768))
    assert numbers("adalora", rank=4) == (12 * 768, 12 * 8)
    assert numbers("loha", rank=4) == (12 * 768, 0)
    assert numbers("adapter-h", rank=6) == (0, 24 * (768 + 12))
    assert numbers("bitfit") == (0, 0)
    assert numbers("full") == (12 * (768 + 768 + 768 + 3072), 0)
    assert numbers("ft-top2") == (2 * (768 + 768 + 768 + 3072), 0)


def test_the_gated_networks_of_llama():
    """Per token and block: norms 2d; q, k, v with narrow k and v; gate twice and up; probabilities per head."""
    seq = 7
    kept = activation_bytes(count("llama-3-8b", "lora"), batch=2, seq=seq)
    tokens = 2 * seq
    assert kept.norms == 2 * tokens * 32 * 2 * 4096
    assert kept.attention == 2 * tokens * 32 * (4096 + 2 * 1024 + 32 * seq)
    assert kept.nonlinearity == 2 * tokens * 32 * 3 * 14336
    assert kept.masks == 0
    assert kept.head == tokens * (2 * 4096 + 4 * 128256)
    trained = activation_bytes(count("llama-3-8b", "full"), batch=2, seq=seq)
    assert trained.head == tokens * (4 * 4096 + 4 * 128256)
    assert activation_bytes(count("roberta-base", "lora"), batch=2, seq=seq).head == 0


def test_a_pruned_network_keeps_less():
    small = after_pruning("llama-7b", heads=8, channels=2752, layers=26)
    kept = activation_bytes(count(small, "full"), batch=1, seq=3)
    q = 26 * 24 * 128 + 6 * 4096
    assert kept.attention == 2 * 3 * (3 * q + (26 * 24 + 6 * 32) * 3)
    assert kept.nonlinearity == 2 * 3 * 3 * (26 * (11008 - 2752) + 6 * 11008)


@given(NAMES, st.integers(0, 6), st.integers(1, 300), st.booleans(), st.booleans(), st.booleans())
def test_activations_are_linear_in_the_batch_and_not_negative(
    name, batch, seq, checkpointing, fused, dropout
):
    """[memory-activations]"""
    found = count(name, "lora")
    settings = {"seq": seq, "checkpointing": checkpointing, "fused_attention": fused, "dropout": dropout}
    one = activation_bytes(found, batch=1, **settings)
    many = activation_bytes(found, batch=batch, **settings)
    if checkpointing:  # one block's share of each term is rounded up
        assert abs(many.total - batch * one.total) <= (batch + 1) * len(one)
    else:
        assert many.total == batch * one.total
    assert min(many) >= 0


# ---- weights, gradients, states ------------------------------------------------------------------------------


def test_the_terms_of_full_fine_tuning_in_mixed_precision():
    """16 bytes a parameter: 2 weight, 2 gradient, 4 master, 4 + 4 moments.  [memory-training]"""
    P = 6_738_415_616
    found = training_memory(count("llama-7b", "full"), batch=0, master_weights=True)
    assert found.as_dict() == {
        "weights": 2 * P,
        "gradients": 2 * P,
        "optimizer": 8 * P,
        "master": 4 * P,
        "activations": 0,
        "total": 16 * P,
    }


def test_lora_shrinks_gradients_and_states_but_neither_weights_nor_most_activations():
    """A ten-thousandth of the parameters is not a ten-thousandth of the memory.  [memory-training]"""
    full = training_memory(count("gpt3-175b", "full"), batch=1, seq=2048)
    lora = training_memory(count("gpt3-175b", "lora", rank=4), batch=1, seq=2048)
    assert lora.gradients == 2 * 18_874_368
    assert lora.optimizer == 8 * 18_874_368
    assert lora.weights == 2 * (174_604_259_328 + 18_874_368)
    assert 0.5 < lora.activations / full.activations < 1
    assert 0.1 < lora.total / full.total < 0.25


@pytest.mark.parametrize(("optimizer", "states"), [("sgd", 0), ("momentum", 1), ("adam", 2), ("adamw", 2)])
def test_optimizer_states(optimizer, states):
    found = training_memory(
        count("gpt2", "lora", rank=4), batch=0, optimizer=optimizer, state_dtype="float64"
    )
    assert found.optimizer == states * 8 * 147_456


@given(st.integers(1, 300), st.integers(1, 300))
def test_quantized_matrices(rows, columns):
    """[memory-nf4]: whole blocks of 64 numbers, 256 scales."""
    n = rows * columns
    assert quantized_bytes((rows, columns), "int8") == n + 4 * rows
    assert quantized_bytes((rows, columns), "nf4") == ceil(n / 2) + 4 * ceil(n / 64)
    double = ceil(n / 2) + ceil(n / 64) + 4 * ceil(ceil(n / 64) / 256)
    assert quantized_bytes((rows, columns), "nf4-double") == double


def test_bits_per_weight_of_qlora():
    """4.5 and 4.127 bits.  [memory-nf4]"""
    assert 8 * quantized_bytes((4096, 4096), "nf4") / 4096**2 == 4.5
    assert 8 * quantized_bytes((4096, 4096), "nf4-double") / 4096**2 == 4 + 8 / 64 + 32 / (64 * 256)


def test_a_quantized_base_keeps_embeddings_and_the_adapter_in_16_bit():
    """LLaMA-7B: 6,476,005,376 numbers in matrices at 4.5 bits, the other 262,410,240 and the adapter in 2 bytes."""
    found = count("llama-7b", "qlora", rank=8)
    want = 6_476_005_376 * 9 // 16 + 2 * 262_410_240 + 2 * 4_194_304
    assert weight_bytes(found, base_dtype="nf4") == want
    assert training_memory(found, batch=0, base_dtype="nf4").weights == want
    assert weight_bytes(found, base_dtype="float32") == 4 * 6_738_415_616 + 2 * 4_194_304
    with pytest.raises(ConfigError, match="'nf4' cannot be trained, and this method trains block"):
        weight_bytes(count("llama-7b", "full"), base_dtype="nf4")
    assert weight_bytes(count("gpt2", "bitfit"), base_dtype="int8") < weight_bytes(count("gpt2", "bitfit"))


# ---- files ---------------------------------------------------------------------------------------------------


def test_file_sizes():
    """The released GPT-2 medium adapter: 393,216 floats, 1.5 MiB exactly.  [memory-adapter]"""
    found = count("gpt2-medium", "lora", rank=4)
    assert adapter_file_bytes(found) == 3 * 2**19
    assert checkpoint_bytes(found) == 3 * adapter_file_bytes(found)
    assert checkpoint_bytes(found, optimizer="sgd", dtype="float16") == 2 * 393_216
    assert adapter_file_bytes(count("gpt2", "full"), dtype="float16") == 2 * 124_439_808


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dtype": "float8"}, "dtype must be one of 'float64'"),
        ({"base_dtype": "nf5"}, "did you mean 'nf4'"),
        ({"optimizer": "adamax"}, "did you mean 'adam"),
        ({"state_dtype": "int8"}, "state_dtype must be one of"),
        ({"batch": -1}, "batch must be a non-negative int"),
        ({"seq": 0}, "seq must be a positive int"),
        ({"checkpointing": "no"}, "checkpointing: bool required, got str 'no'"),
        ({"fused_attention": 1}, "fused_attention: bool required"),
        ({"dropout": None}, "dropout: bool required"),
        ({"master_weights": "false"}, "master_weights: bool required, got str 'false'"),
    ],
)
def test_mistakes_are_named(wrong, message):
    with pytest.raises(ConfigError, match=message):
        training_memory(count("gpt2", "lora"), **wrong)


def test_other_mistakes_are_named():
    found = count("gpt2", "lora")
    with pytest.raises(ConfigError, match="base_dtype must be one of 'int8'"):
        quantized_bytes((4, 4), "float16")
    with pytest.raises(ConfigError, match="dtype must be one of"):
        adapter_file_bytes(found, dtype="nf4")
    with pytest.raises(ConfigError, match="optimizer must be one of"):
        checkpoint_bytes(found, optimizer="lion")
