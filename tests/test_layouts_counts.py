"""The number of parameters beside a weight of another layout, and the modules' own names in the table of counts."""

import math
import warnings

import numpy as np
import pytest

from lora_np.counts import METHODS as COUNTED
from lora_np.counts import count, count_layout, layout_tensors
from lora_np.errors import ConfigError, RankError, ShapeError
from lora_np.layouts import LAYOUTS, conv2d, conv2d_reshaped, embedding, merged_qkv, transposed
from lora_np.methods import houlsby, prefix_tuning, prompt_tuning

ON = [True, False, True]
STARTS = {  # layout: the stored weight, its options, and the factors that its own file draws
    "linear": ((6, 4), {}, lambda rng: transposed.init(rng, 6, 4, 2)),
    "lora-transposed": ((4, 6), {}, lambda rng: transposed.init(rng, 6, 4, 2)),
    "lora-embedding": ((50, 6), {}, lambda rng: embedding.init(rng, 6, 50, 2)),
    "lora-merged-qkv": ((12, 5), {"enabled": ON}, lambda rng: merged_qkv.init(rng, 12, 5, 2, enabled=ON)),
    "lora-conv2d": ((4, 3, 2, 3), {"groups": 2}, lambda rng: conv2d.init(rng, 4, 6, (2, 3), 2, groups=2)),
    "lora-conv2d-reshaped": (
        (4, 3, 3, 3),
        {"groups": 2},
        lambda rng: conv2d_reshaped.init(rng, 4, 6, 3, 2, groups=2),
    ),
}


@pytest.mark.parametrize("layout", STARTS)
def test_a_count_is_that_of_the_tensors_that_the_layout_draws(layout, rng):
    """[count-layout]"""
    shape, options, draw = STARTS[layout]
    p = draw(rng)
    assert layout_tensors(layout, shape, 2, **options) == {"B": p.B.shape, "A": p.A.shape}
    assert count_layout(layout, shape, 2, **options) == p.B.size + p.A.size


def test_every_layout_is_counted():
    assert set(LAYOUTS) <= set(STARTS)


def test_known_numbers():
    """[count-layout]  A 3 x 3 kernel of 64 channels, by hand: 8 · 64 · 9 + 64 · 8, and 8 · 3 · (64 · 3 + 64 · 3)."""
    assert count_layout("lora-conv2d", (64, 64, 3, 3), 8) == 5120
    assert count_layout("lora-conv2d-reshaped", (64, 64, 3, 3), 8) == 9216
    assert count_layout("lora-transposed", (768, 2304), 8) == 8 * (768 + 2304)


def test_the_modules_are_counted_under_their_own_names(rng):
    """[count-adapter] [count-prefix-kv] [count-prefix-embedding]  The tensors of one, times how many there are."""
    k, layers = 768, 12  # GPT-2 small
    one = sum(x.size for x in houlsby.init(rng, k, 16))
    assert count("gpt2", "houlsby", rank=16).trainable == 2 * layers * one
    assert count("gpt2", "pfeiffer", rank=16).trainable == layers * one
    head = sum(x.size for x in prefix_tuning.init(rng, 5, 64))
    assert count("roberta-base", "prefix-tuning", prefix=5).trainable == layers * 12 * head
    assert count("gpt2", "prompt-tuning", prefix=5).trainable == prompt_tuning.init(rng, 5, k).P.size
    with pytest.raises(ConfigError, match="no option 'infix'"):
        count("gpt2", "prompt-tuning", prefix=5, infix=1)
    for own, older in {"houlsby": "adapter-h", "pfeiffer": "adapter-p", "prefix-tuning": "prefix-kv"}.items():
        assert COUNTED[own].formula == COUNTED[older].formula


@pytest.mark.interop
@pytest.mark.parametrize("layout", ["linear", "lora-transposed", "lora-embedding", "lora-conv2d"])
def test_peft_trains_as_many(layout):
    """[count-layout]  The released layers, where they have the layout."""
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    Conv1D = pytest.importorskip("transformers").pytorch_utils.Conv1D
    shape, options, _ = STARTS[layout]
    base = {
        "linear": lambda: torch.nn.Linear(4, 6),
        "lora-transposed": lambda: Conv1D(6, 4),
        "lora-embedding": lambda: torch.nn.Embedding(50, 6),
        "lora-conv2d": lambda: torch.nn.Conv2d(6, 4, (2, 3), groups=2),
    }[layout]()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # it warns of what it sets itself: fan_in_fan_out, merging with groups
        config = peft.LoraConfig(r=2, target_modules=["0"])
        model = peft.get_peft_model(torch.nn.Sequential(base), config)
    trained = sum(math.prod(p.shape) for p in model.parameters() if p.requires_grad)
    assert trained == count_layout(layout, shape, 2, **options)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (("lora-conv3d", (4, 4), 2), ConfigError, "did you mean 'lora-conv2d'"),
        (("lora-conv2d", (4, 4), 2), ShapeError, r"stores \(d, k / groups, kh, kw\)"),
        (("linear", (4, 4.0), 2), ConfigError, r"shape\[1\]"),
        (("linear", (4, 4), 0), ConfigError, "rank"),
        (
            ("lora-conv2d", (4, 4, 3, 3), 3, 2),
            RankError,
            "groups = 2 must divide d = 4 and, where B is grouped, r = 3",
        ),
        (("lora-conv2d-reshaped", (4, 4, 3, 2), 3), ShapeError, "square kernel"),
        (("lora-merged-qkv", (6, 4), 2, 1, [False]), ShapeError, "0 of them enabled"),
        (("lora-merged-qkv", (5, 4), 2, 1, [True, True]), ShapeError, "d = 5 rows in 2 equal parts"),
    ],
)
def test_what_cannot_be_counted_is_named(call, error, words):
    layout, shape, rank, *rest = call
    options = dict(zip(("groups", "enabled"), rest, strict=False))
    with pytest.raises(error, match=words):
        count_layout(layout, shape, rank, **options)


def test_shapes_of_numpy_ints_are_read():
    assert count_layout("linear", np.array([6, 4]), 2) == 20
