"""The real architectures, built from parts: GPT-2 and 3, BERT's family, Llama's family, ViT.  Floor 2.

Four builders and a table of sizes.  The token table that doubles as the output layer (GPT-2, GPT-3) is counted
once.  Task heads are not counted, except where the published total has one: the pooler of BERT and RoBERTa, the
output layer of Llama's family, the classifier of ViT.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from lora_np.counts.parts import Architecture, Part, embedding, linear, norm
from lora_np.errors import ConfigError

_QKV = {"qkv": ("q", "k", "v")}
_GPT2_PEFT = {"qkv": "c_attn", "o": "attn.c_proj", "fc1": "c_fc", "fc2": "mlp.c_proj"}
_BERT_PEFT = {
    "q": "query",
    "k": "key",
    "v": "value",
    "o": "attention.output.dense",
    "fc1": "intermediate.dense",
    "fc2": "layer.{i}.output.dense",  # "output.dense" alone would name the attention's as well
}
_LLAMA_PEFT = {target: f"{target}_proj" for target in ("q", "k", "v", "o", "gate", "up", "down")}


def _block(width: int, ff: int, *, layers: int) -> list[Part]:
    """Make the blocks that GPT-2, BERT and ViT share: everything square but the feed-forward layer, all biased."""
    parts = norm("block.norm1", width, copies=layers)
    for target in ("q", "k", "v", "o"):
        parts += linear(f"block.attn.{target}", width, width, copies=layers, target=target)
    parts += norm("block.norm2", width, copies=layers)
    parts += linear("block.mlp.fc1", ff, width, copies=layers, target="fc1")
    return parts + linear("block.mlp.fc2", width, ff, copies=layers, target="fc2")


def _square(
    name: str,
    family: str,
    sizes: tuple[int, int, int],
    vocab: int,
    source: str,
    before: list[Part],
    after: list[Part],
    *,
    fused: Mapping[str, tuple[str, ...]] | None = None,
    peft_names: Mapping[str, str] | None = None,
) -> Architecture:
    """Join what stands before the blocks, the blocks, and what stands after; sizes are (width, layers, heads)."""
    width, layers, heads = sizes
    parts = before + _block(width, 4 * width, layers=layers) + after
    return Architecture(
        name,
        family,
        width,
        layers,
        heads,
        heads,
        width // heads,
        4 * width,
        vocab,
        tuple(parts),
        source,
        dict(fused or {}),
        dict(peft_names or {}),
    )


def gpt2(name: str, sizes: tuple[int, int, int], source: str, *, context: int = 1024) -> Architecture:
    """Build a GPT-2: learned positions, the output layer tied to the token table; sizes (width, layers, heads).

    >>> gpt2("gpt2", (768, 12, 12), "Radford et al. 2019").total
    124439808
    """
    width, vocab = sizes[0], 50257
    before = embedding("tokens", vocab, width) + embedding("positions", context, width)
    after = norm("final.norm", width)
    return _square(name, "gpt2", sizes, vocab, source, before, after, fused=_QKV, peft_names=_GPT2_PEFT)


def bert(
    name: str, sizes: tuple[int, int, int], source: str, *, vocab: int, positions: int, types: int
) -> Architecture:
    """Build a BERT or RoBERTa encoder with its pooler; sizes (width, layers, heads).

    >>> bert("roberta-base", (768, 12, 12), "Liu et al. 2019", vocab=50265, positions=514, types=1).total
    124645632
    """
    width = sizes[0]
    before = embedding("tokens", vocab, width) + embedding("positions", positions, width)
    before += embedding("types", types, width) + norm("embed.norm", width)
    after = linear("head.pooler", width, width, copies=1)
    return _square(name, "bert", sizes, vocab, source, before, after, peft_names=_BERT_PEFT)


def deberta_v2(name: str, sizes: tuple[int, int, int], source: str, *, vocab: int) -> Architecture:
    """Build a DeBERTa-v2 encoder: relative positions shared by all blocks, one convolution; no masked-word head.

    >>> deberta_v2("deberta-v2-xxlarge", (1536, 48, 24), "He et al. 2021", vocab=128100).total
    1564549632
    """
    width = sizes[0]
    before = embedding("tokens", vocab, width) + norm("embed.norm", width)
    before += embedding("relative_positions", 512, width) + norm(
        "embed.relative_norm", width
    )  # 2 x 256 buckets
    after = [Part("conv.weight", (width, width, 3), 1, "matrix"), Part("conv.bias", (width,), 1, "bias")]
    after += norm("conv.norm", width)
    names = _BERT_PEFT | {"q": "query_proj", "k": "key_proj", "v": "value_proj"}
    return _square(name, "deberta", sizes, vocab, source, before, after, peft_names=names)


def vit(name: str, sizes: tuple[int, int, int], source: str) -> Architecture:
    """Build a vision transformer on 224 x 224 images in patches of 16 x 16, with its 1000-class output layer.

    >>> vit("vit-base", (768, 12, 12), "Dosovitskiy et al. 2021").total
    86567656
    """
    width = sizes[0]
    before = [Part("embed.patch.weight", (width, 3, 16, 16), 1, "embedding")]
    before += [Part("embed.patch.bias", (width,), 1, "bias")]
    before += embedding("class", width) + embedding("positions", 1 + 14 * 14, width)
    after = norm("final.norm", width) + linear("head.classifier", 1000, width, copies=1)
    return _square(name, "vit", sizes, 0, source, before, after)


def llama(
    name: str,
    sizes: tuple[int, int, int, int],
    source: str,
    *,
    ff: int,
    vocab: int = 32000,
    qkv_bias: bool = False,
) -> Architecture:
    """Build a Llama: gated feed-forward, norms without bias, an untied output layer; sizes (d, L, heads, kv heads).

    >>> llama("llama-7b", (4096, 32, 32, 32), "Touvron et al. 2023", ff=11008).total
    6738415616
    """
    width, layers, heads, kv_heads = sizes
    head = width // heads
    outs = {"q": heads * head, "k": kv_heads * head, "v": kv_heads * head}
    parts = embedding("tokens", vocab, width) + norm("block.norm1", width, copies=layers, bias=False)
    for target, out in outs.items():
        parts += linear(f"block.attn.{target}", out, width, copies=layers, target=target, bias=qkv_bias)
    parts += linear("block.attn.o", width, heads * head, copies=layers, target="o", bias=False)
    parts += norm("block.norm2", width, copies=layers, bias=False)
    for target in ("gate", "up"):
        parts += linear(f"block.mlp.{target}", ff, width, copies=layers, target=target, bias=False)
    parts += linear("block.mlp.down", width, ff, copies=layers, target="down", bias=False)
    parts += norm("final.norm", width, bias=False) + linear("head.lm", vocab, width, copies=1, bias=False)
    return Architecture(
        name,
        "llama",
        width,
        layers,
        heads,
        kv_heads,
        head,
        ff,
        vocab,
        tuple(parts),
        source,
        peft_names=dict(_LLAMA_PEFT),
    )


_GPT2 = "Radford et al. 2019, released GPT-2 checkpoints"
_ROBERTA = "Liu et al. 2019, arXiv 1907.11692"
_LLAMA1 = "Touvron et al. 2023, arXiv 2302.13971, table 2"
_LLAMA3 = "Llama team 2024, arXiv 2407.21783, table 3"

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        a.name: a
        for a in (
            gpt2("gpt2", (768, 12, 12), _GPT2),
            gpt2("gpt2-medium", (1024, 24, 16), _GPT2),
            gpt2("gpt2-large", (1280, 36, 20), _GPT2),
            gpt2("gpt2-xl", (1600, 48, 25), _GPT2),
            gpt2(
                "gpt3-175b", (12288, 96, 96), "Brown et al. 2020, arXiv 2005.14165, table 2.1", context=2048
            ),
            bert("roberta-base", (768, 12, 12), _ROBERTA, vocab=50265, positions=514, types=1),
            bert("roberta-large", (1024, 24, 16), _ROBERTA, vocab=50265, positions=514, types=1),
            bert(
                "minilm-l6",
                (384, 6, 12),
                "sentence-transformers all-MiniLM-L6-v2; Wang et al. 2020, arXiv 2002.10957",
                vocab=30522,
                positions=512,
                types=2,
            ),
            deberta_v2(
                "deberta-v2-xxlarge",
                (1536, 48, 24),
                "He et al. 2021, arXiv 2006.03654; microsoft/DeBERTa, experiments/language_model/xxlarge.json",
                vocab=128100,
            ),
            vit("vit-base", (768, 12, 12), "Dosovitskiy et al. 2021, arXiv 2010.11929, ViT-B/16"),
            llama("llama-7b", (4096, 32, 32, 32), _LLAMA1, ff=11008),
            llama("llama-13b", (5120, 40, 40, 40), _LLAMA1, ff=13824),
            llama("llama-30b", (6656, 60, 52, 52), _LLAMA1, ff=17920),
            llama("llama-65b", (8192, 80, 64, 64), _LLAMA1, ff=22016),
            llama("llama-3-8b", (4096, 32, 32, 8), _LLAMA3, ff=14336, vocab=128256),
            llama("llama-3-70b", (8192, 80, 64, 8), _LLAMA3, ff=28672, vocab=128256),
            llama("mistral-7b", (4096, 32, 32, 8), "Jiang et al. 2023, arXiv 2310.06825, table 1", ff=14336),
            llama(
                "qwen2.5-7b",
                (3584, 28, 28, 4),
                "Qwen team 2024, arXiv 2412.15115",
                ff=18944,
                vocab=152064,
                qkv_bias=True,
            ),
        )
    }
)
"""Every architecture by name."""


def architecture(name: str | Architecture) -> Architecture:
    """Look an architecture up by name; one that is already an `Architecture` is returned as it is.  [count-full]

    Raises `ConfigError`, with the nearest names.

    >>> architecture("llama-3-8b").matrices("k")[0].shape
    (1024, 4096)
    """
    if isinstance(name, Architecture):
        return name
    if not isinstance(name, str) or name not in ARCHITECTURES:
        close = difflib.get_close_matches(str(name).lower(), ARCHITECTURES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ConfigError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {name!r}", fix=hint)
    return ARCHITECTURES[name]
