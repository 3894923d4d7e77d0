"""Merging and taking out: not at all, twice, with another sign or scale, in too few bits."""

import numpy as np

from tests.historic import right
from tests.historic.seeding import bug


@bug("microsoft/LoRA#34", "lora.merge", "StaleMerge")
def eval_never_merges(c, t):
    return t["W0"].copy()


@bug("huggingface/trl#386", "rslora.merge", "StaleMerge")
def merged_model_is_the_base_model(c, t):
    return t["W0"] + 0.0


@bug("loralib 0.1.2, a checkpoint saved in eval mode", "lora.merge", "BranchTwice")
def merged_again_after_loading(c, t):
    return t["W0"] + right.scale(c) * t["B"] @ t["A"] + right.scale(c) * t["B"] @ t["A"]


@bug("huggingface/peft 0.21.2, merge_adapter(['a', 'a'])", "vera.merge", "BranchTwice")
def the_same_name_twice(c, t):
    delta = (t["lambda_b"][:, None] * t["B"]) @ (t["lambda_d"][:, None] * t["A"])
    return t["W0"] + delta + delta


@bug("EricLBuehler/candle-lora#26", "lora-embedding.forward", "BranchTwice")
def embedding_applied_although_merged(c, t):
    delta = right.scale(c) * (t["B"] @ t["A"]).T
    return (t["W0"] + delta)[t["X"]] + delta[t["X"]]


@bug("huggingface/peft 0.21.2, set_scale(0) while merged", "lora.unmerge", "StaleMerge")
def unmerged_with_the_new_scale(c, t):
    return t["W"] - 0 * t["B"] @ t["A"]


@bug("after huggingface/peft#3216, unmerging repeats the merge", "lora.unmerge", "SignFlipped")
def unmerge_adds(c, t):
    return t["W"] + right.scale(c) * t["B"] @ t["A"]


@bug("after huggingface/diffusers#5003, fused and unfused in sequence", "loha.unmerge", "BranchTwice")
def unfused_twice(c, t):
    return t["W"] - 2 * right.scale(c) * (t["B1"] @ t["A1"]) * (t["B2"] @ t["A2"])


@bug("huggingface/peft#3216", "ia3.unmerge", "VectorChanged")
def vector_multiplied_for_divided(c, t):
    return t["W"] * (t["l"] if c["feedforward"] else t["l"][:, None])


@bug("huggingface/peft 0.21.2, (IA)3 unmerge", "ia3.unmerge", "EpsilonAdded")
def epsilon_in_the_divisor(c, t):
    l = t["l"] + t["l"].dtype.type(1e-8)  # noqa: E741
    return t["W"] / (l if c["feedforward"] else l[:, None])


@bug("huggingface/peft#972", "ia3.forward", "BiasNotScaled")
def merged_bias_not_scaled(c, t):
    if c["feedforward"]:
        return right.through_weight(t, t["W0"] * t["l"])
    return right.plus_bias((t["X"] @ t["W0"].T) * t["l"], t)


@bug("OpenAgentsInc/openagents#9456", "lora.merge", "IncrementRoundedToBfloat16")
def increment_rounded_before_adding(c, t):
    return t["W0"] + right.half(right.scale(c) * t["B"] @ t["A"], "bfloat16")


@bug("huggingface/peft#1388", "lora.merge", "ComputedInBfloat16")
def merged_in_bfloat16(c, t):
    return right.half(t["W0"] + right.scale(c) * t["B"] @ t["A"], "bfloat16")


@bug("axolotl-ai-cloud/axolotl#902", "rslora.merge", "ComputedInFloat16")
def merged_in_float16(c, t):
    return right.half(t["W0"] + right.root_scale(c) * t["B"] @ t["A"], "float16")


@bug("after huggingface/peft#1706, types of adapters", "lora.forward", "InputRoundedToBfloat16")
def input_cast_to_the_adapters_type(c, t):
    X = right.half(t["X"], "bfloat16")
    return right.plus_bias(X @ t["W0"].T + right.scale(c) * (X @ t["A"].T) @ t["B"].T, t)


@bug("after unslothai/unsloth#7020, types of factors", "lora.backward", "InputRoundedToFloat32")
def factors_kept_in_float32(c, t):
    small = {name: t[name].astype(np.float32).astype(t[name].dtype) for name in ("B", "A")}
    return right.lora_gradients({**t, **small}, right.scale(c))


@bug(
    "after meta-pytorch/torchtune#1101",
    "loha.merge",
    "IncrementRoundedToFloat32",
    "ComputedInFloat32",
    "AccumulatedInFloat32",
)
def increment_computed_in_float32(c, t):
    f = {name: array.astype(np.float32) for name, array in t.items()}
    delta = np.float32(right.scale(c)) * (f["B1"] @ f["A1"]) * (f["B2"] @ f["A2"])
    return t["W0"] + delta.astype(t["W0"].dtype)


@bug("siliconflow/onediff#926", "lora.forward", "BranchMissing")
def scale_of_zero_was_baked_in(c, t):
    return right.lora(t, 0.0)


@bug("huggingface/diffusers#13997", "lokr.forward", "BranchMissing")
def loaded_without_effect(c, t):
    return right.through_weight(t, t["W0"])


@bug("no report: a bias in the base layer and in the wrapper", "vera.forward", "BiasDoubled")
def bias_in_the_base_and_in_the_sum(c, t):
    delta = (t["lambda_b"][:, None] * t["B"]) @ (t["lambda_d"][:, None] * t["A"])
    return right.plus_bias(right.through_weight(t, t["W0"] + delta), t)


@bug("after huggingface/peft#734, layers without a bias", "adalora.forward", "MissingBias")
def bias_forgotten(c, t):
    return t["X"] @ (t["W0"] + c["scale"] * (t["P"] * t["lam"]) @ t["Q"]).T
