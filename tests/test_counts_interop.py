"""Our counts beside the released implementations, where they are installed: an observation, never an expected value."""

import warnings

import pytest

from lora_np.counts import architecture, count, peft_options
from lora_np.counts.rules import balanced_split

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("torch", reason="torch is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(scope="module")
def peft(transformers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("peft", reason="peft is not installed")


def on_meta(make):
    """Build a model without its numbers."""
    import torch

    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        return make()


def numbers(model, *, trainable=False):
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def model_of(t, name):
    a = architecture(name)
    sizes = {"hidden_size": a.width, "num_hidden_layers": a.layers, "num_attention_heads": a.heads}
    inner = {"intermediate_size": a.ff, "vocab_size": a.vocab}
    if a.family == "gpt2":
        config = t.GPT2Config(n_embd=a.width, n_layer=a.layers, n_head=a.heads)
        return on_meta(lambda: t.GPT2LMHeadModel(config))
    if name.startswith("roberta"):
        config = t.RobertaConfig(**sizes, **inner, max_position_embeddings=514, type_vocab_size=1)
        return on_meta(lambda: t.RobertaModel(config))
    if name == "minilm-l6":
        return on_meta(lambda: t.BertModel(t.BertConfig(**sizes, **inner)))
    if a.family == "vit":
        return on_meta(lambda: t.ViTForImageClassification(t.ViTConfig(num_labels=1000)))
    if a.family == "deberta":
        released = {
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "conv_kernel_size": 3,
            "conv_act": "gelu",
            "position_biased_input": False,
        }
        return on_meta(lambda: t.DebertaV2Model(t.DebertaV2Config(**sizes, **inner, **released)))
    kv = {"num_key_value_heads": a.kv_heads, "tie_word_embeddings": False}
    if name.startswith("qwen"):
        return on_meta(lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**sizes, **inner, **kv)))
    if name.startswith("mistral"):
        return on_meta(lambda: t.MistralForCausalLM(t.MistralConfig(**sizes, **inner, **kv)))
    return on_meta(lambda: t.LlamaForCausalLM(t.LlamaConfig(**sizes, **inner, **kv)))


@pytest.mark.parametrize(
    "name",
    [
        "gpt2",
        "gpt2-medium",
        "gpt2-xl",
        "roberta-base",
        "roberta-large",
        "minilm-l6",
        "deberta-v2-xxlarge",
        "vit-base",
        "llama-7b",
        "llama-3-8b",
        "llama-3-70b",
        "mistral-7b",
        "qwen2.5-7b",
    ],
)
def test_transformers_builds_models_of_these_sizes(transformers, name):
    assert numbers(model_of(transformers, name)) == architecture(name).total


def adapted(peft, model, config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return on_meta(lambda: peft.get_peft_model(model, config))


@pytest.mark.parametrize(
    ("name", "method", "options"),
    [
        ("gpt2", "lora", {"rank": 4, "targets": "qkv"}),
        ("gpt2", "lora", {"rank": 4, "targets": "o,fc2"}),
        ("roberta-base", "lora", {"rank": {"q": 8, "v": 4}}),
        ("roberta-base", "lora", {"rank": 4, "targets": "all-linear"}),
        ("roberta-base", "lora", {"rank": {"q": 4, "fc2": 2}}),
        ("llama-3-8b", "dora", {"rank": 8, "targets": "q,v,down"}),
        ("qwen2.5-7b", "rslora", {"rank": 3, "targets": "all-linear"}),
        ("qwen2.5-7b", "lora", {"rank": 3, "layers": 5}),
    ],
)
def test_peft_makes_adapters_of_these_sizes(transformers, peft, name, method, options):
    found = count(name, method, **options)
    config = peft.LoraConfig(**peft_options(found, alpha=16))
    model = adapted(peft, model_of(transformers, name), config)
    assert numbers(model, trainable=True) == found.trainable
    assert numbers(model) == found.total


@pytest.mark.parametrize(
    ("method", "kind", "settings", "options"),
    [
        ("loha", "LoHaConfig", {"r": 4}, {"rank": 4}),
        ("lokr", "LoKrConfig", {"r": 4}, {"rank": 4}),
        ("lokr", "LoKrConfig", {"r": 40}, {"rank": 40}),
        ("vera", "VeraConfig", {"r": 16}, {"rank": 16}),
        ("oft", "OFTConfig", {"oft_block_size": 32, "r": 0}, {"block": 32}),
    ],
)
def test_peft_trains_as_many_numbers_in_other_methods(transformers, peft, method, kind, settings, options):
    config = getattr(peft, kind)(target_modules=["query", "value"], **settings)
    model = adapted(peft, model_of(transformers, "roberta-base"), config)
    assert numbers(model, trainable=True) == count("roberta-base", method, **options).trainable


def test_peft_counts_ia3_alike(transformers, peft):
    config = peft.IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
    )
    model = adapted(peft, model_of(transformers, "qwen2.5-7b"), config)
    assert numbers(model, trainable=True) == count("qwen2.5-7b", "ia3").trainable


def test_peft_splits_alike(peft):
    from peft.tuners.lokr.layer import factorization

    for n in (1, 2, 7, 12, 768, 1024, 3584, 11008, 50257):
        assert balanced_split(n) == factorization(n, -1)
