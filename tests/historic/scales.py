"""The scale on the increment, wrong in one of the ways in which it has been wrong."""

import numpy as np

from tests.historic import right
from tests.historic.seeding import bug


@bug("Blaizzy/mlx-vlm#845", "lora.forward", "RankNotDivided")
def alpha_for_alpha_over_rank(c, t):
    return right.lora(t, c["alpha"])


@bug("Blaizzy/mlx-vlm#841", "lora.merge", "RankNotDivided")
def replaced_linear_scaled_by_alpha(c, t):
    return t["W0"] + c["alpha"] * t["B"] @ t["A"]


@bug("rasbt/LLMs-from-scratch#821", "lora.backward", "RankNotDivided")
def gradients_scaled_by_alpha(c, t):
    return right.lora_gradients(t, c["alpha"])


@bug("cloneofsimo/lora#187", "lora.merge", "MissingScale")
def alpha_ignored_when_merging(c, t):
    return t["W0"] + t["B"] @ t["A"]


@bug("hao-ai-lab/FastVideo#870", "lora.forward", "MissingScale")
def merged_layer_without_scale(c, t):
    return right.through_weight(t, t["W0"] + t["B"] @ t["A"])


@bug("ml-explore/mlx-examples#623, the scale is not saved", "lora.backward", "MissingScale")
def scale_lost_when_loading(c, t):
    return right.lora_gradients(t, 1.0)


@bug("Comfy-Org/ComfyUI#15114", "lokr.merge", "MissingScale")
def scale_ignored_where_both_factors_are_whole(c, t):
    if "D" in t:
        return t["W0"] + np.kron(t["C"], t["D"])
    return t["W0"] + right.scale(c) * np.kron(t["C"], t["B"] @ t["A"])


@bug("NVIDIA/TensorRT-LLM#1668", "rslora.forward", "SqrtRank")
def rank_stabilized_scale_divided_by_rank(c, t):
    return right.lora(t, right.scale(c))


@bug("vllm-project/vllm#10798", "rslora.merge", "SqrtRank")
def rank_stabilized_flag_not_read(c, t):
    return t["W0"] + right.scale(c) * t["B"] @ t["A"]


@bug("dphnAI/sonar#647", "rslora.backward", "SqrtRank")
def rank_stabilized_gradients_divided_by_rank(c, t):
    return right.lora_gradients(t, right.scale(c))


@bug("huggingface/peft#3473, an adapter combined by weight 1", "rslora.forward", "RankNotDivided", "SqrtRank")
def combined_adapter_keeps_the_root(c, t):
    return right.lora(t, right.root_scale(c) * c["rank"] ** 0.5)


@bug('huggingface/peft 0.21.2, "use_rslora": "false" in adapter_config.json', "lora.forward", "SqrtRank")
def flag_given_as_text_is_true(c, t):
    return right.lora(t, right.root_scale(c) if bool("false") else right.scale(c))


@bug("after KohakuBlueleaf/LyCORIS#172, the root of the rank for every method", "loha.merge", "SqrtRank")
def hadamard_scale_by_root_of_rank(c, t):
    return t["W0"] + right.root_scale(c) * (t["B1"] @ t["A1"]) * (t["B2"] @ t["A2"])


@bug("after huggingface/peft#2180, where LoKr is scaled", "lokr.forward", "SquaredScale")
def kronecker_scaled_twice(c, t):
    D = t["D"] if "D" in t else t["B"] @ t["A"]
    return right.through_weight(t, t["W0"] + right.scale(c) * np.kron(right.scale(c) * t["C"], D))


@bug("QingruZhang/AdaLoRA#12", "adalora.forward", "RankPlusEpsilon")
def divided_by_number_of_ranks_plus_epsilon(c, t):
    delta = (t["P"] * t["lam"]) @ t["Q"]
    return right.through_weight(t, t["W0"] + c.get("scale", 1.0) / (len(t["lam"]) + 1e-5) * delta)


@bug("after huggingface/peft#1039, where VeRA had the scale of LoRA", "vera.forward", "RankDivided")
def vera_divided_by_rank(c, t):
    delta = (t["lambda_b"][:, None] * t["B"]) @ (t["lambda_d"][:, None] * t["A"])
    return right.through_weight(t, t["W0"] + delta / len(t["A"]))


@bug("huggingface/peft#1930", "pissa.merge", "HalfBranch")
def rank_doubled_but_not_alpha(c, t):
    return t["W0"] + c["alpha"] / (2 * c["rank"]) * t["B"] @ t["A"]


@bug("after huggingface/peft#2489, scale and bias", "lora.forward", "BiasScaled")
def bias_scaled_with_the_increment(c, t):
    Y = t["X"] @ t["W0"].T + right.scale(c) * (t["X"] @ t["A"].T) @ t["B"].T
    return Y + right.scale(c) * t["bias"] if "bias" in t else Y


@bug("WalkingMeatAxolotl/AnimaLoraStudio#241", "lokr.merge", "RankNotDivided")
def alpha_stored_for_another_rank(c, t):
    D = t["D"] if "D" in t else t["B"] @ t["A"]
    return t["W0"] + c["alpha"] * np.kron(t["C"], D)


@bug("after MuLabPKU/PiSSA#35, the scale in two places", "lora.backward", "SquaredScale")
def scale_in_the_bottleneck_and_in_the_sum(c, t):
    s = right.scale(c)
    gZ = s * (t["gY"] @ t["B"])
    return {
        "gX": t["gY"] @ t["W0"] + s * gZ @ t["A"],
        "gB": s * s * t["gY"].T @ (t["X"] @ t["A"].T),
        "gA": s * gZ.T @ t["X"],
    }
