"""The wrong product, or a gradient that is not one."""

import numpy as np

from tests.historic import right
from tests.historic.seeding import bug


def second(t):
    """LoKr's second factor."""
    return t["D"] if "D" in t else t["B"] @ t["A"]


@bug("no report: the order of kron", "lokr.merge", "KroneckerOrder")
def kronecker_factors_exchanged(c, t):
    return t["W0"] + right.scale(c) * np.kron(second(t), t["C"])


@bug("no report: the order of kron, in forward", "lokr.forward", "KroneckerOrder")
def kronecker_factors_exchanged_in_forward(c, t):
    return right.through_weight(t, t["W0"] + right.scale(c) * np.kron(second(t), t["C"]))


@bug("after ooples/AiDotNet#256, HadamardProduct", "loha.forward", "ProductForHadamard", "SumForHadamard")
def hadamard_replaced_by_a_sum(c, t):
    return right.through_weight(t, t["W0"] + right.scale(c) * (t["B1"] @ t["A1"] + t["B2"] @ t["A2"]))


@bug("no report: one pair of names is looked up", "loha.merge", "OnePairOnly")
def second_pair_not_loaded(c, t):
    return t["W0"] + right.scale(c) * t["B1"] @ t["A1"]


@bug("after kohya-ss/sd-scripts#586, factors combined one by one", "loha.merge", "HadamardForProduct")
def factors_multiplied_one_by_one(c, t):
    return t["W0"] + right.scale(c) * (t["B1"] * t["B2"]) @ (t["A1"] * t["A2"])


@bug("no report: one vector forgotten", "vera.merge", "MissingVector")
def one_vector_not_trained(c, t):
    return t["W0"] + (t["lambda_b"][:, None] * t["B"]) @ t["A"]


@bug("no report: one vector forgotten in a gradient", "vera.backward", "MissingVector")
def gradient_without_the_other_vector(c, t):
    gW, B, A = t["gY"].T @ t["X"], t["B"], t["A"]
    W = t["W0"] + (t["lambda_b"][:, None] * B) @ (t["lambda_d"][:, None] * A)
    return {
        "gX": t["gY"] @ W,
        "glambda_b": (gW * (B @ A)).sum(axis=1),
        "glambda_d": ((B * t["lambda_b"][:, None]).T @ gW * A).sum(axis=1),
    }


@bug("no report: singular values cannot be negative, one thinks", "adalora.merge", "SignLost")
def singular_values_without_sign(c, t):
    return t["W0"] + c["scale"] * (t["P"] * np.abs(t["lam"])) @ t["Q"]


@bug("no report: the middle factor forgotten", "adalora.merge", "MissingVector")
def singular_values_left_out(c, t):
    return t["W0"] + c["scale"] * t["P"] @ t["Q"]


@bug("huggingface/transformers#34191", "lora.backward", "MeanForSum")
def averaged_over_the_batch(c, t):
    g = right.lora_gradients(t, right.scale(c))
    return g | {name: g[name] / max(len(t["X"]), 1) for name in ("gB", "gA")}


@bug("after agokrani/distillKitPlus#5, how a loss is normalized", "vera.backward", "MeanForSum")
def averaged_over_all_elements(c, t):
    gW, B, A = t["gY"].T @ t["X"], t["lambda_b"][:, None] * t["B"], t["lambda_d"][:, None] * t["A"]
    return {
        "gX": t["gY"] @ (t["W0"] + B @ A),
        "glambda_b": (gW * (t["B"] @ A)).sum(axis=1) / max(t["gY"].size, 1),
        "glambda_d": (B.T @ gW * t["A"]).sum(axis=1) / max(t["gY"].size, 1),
    }


@bug("paiml/entrenar#264", "lora.backward", "AllZero")
def adapters_never_updated(c, t):
    g = right.lora_gradients(t, right.scale(c))
    return g | {"gB": 0 * g["gB"], "gA": 0 * g["gA"]}


@bug("paiml/aprender#2232", "lora.backward", "BranchMissing")
def graph_cut_at_the_adapter(c, t):
    return right.lora_gradients(t, right.scale(c)) | {"gX": t["gY"] @ t["W0"]}


@bug("ooples/AiDotNet#256, only the LoRA input gradient", "rslora.backward", "BaseMissing")
def input_gradient_of_the_adapter_alone(c, t):
    g = right.lora_gradients(t, right.root_scale(c))
    return g | {"gX": g["gX"] - t["gY"] @ t["W0"]}


@bug("no report: a gradient by the transposed rule", "lora-xs.backward", "AnotherGradient", "Transposed")
def gradient_stored_in_the_other_place(c, t):
    gR = t["B"].T @ t["gY"].T @ t["X"] @ t["A"].T
    return {"gX": t["gY"] @ (t["W0"] + t["B"] @ t["R"] @ t["A"]), "gR": gR.T}


@bug("after Morizeyao/GPT2-Chinese#101, accumulation", "rslora.backward", "OnlyOneRow")
def gradient_overwritten_not_added(c, t):
    last = {**t, "X": t["X"][-1:], "gY": t["gY"][-1:]}
    g, s = right.lora_gradients(t, right.root_scale(c)), right.root_scale(c)
    return g | {name: right.lora_gradients(last, s)[name] for name in ("gB", "gA")}


@bug("no report: the paper's side of the rotation", "oft.merge", "RotationInverted")
def rotation_the_other_way(c, t):
    return rotated(t, -1)


@bug("huggingface/peft 0.21.2, OFT against the paper", "oft.forward", "RotationInverted")
def rotation_the_other_way_in_forward(c, t):
    return right.through_weight(t, rotated(t, -1))


def rotated(t, sign):
    """W0 blockdiag((I − Q)(I + Q)⁻¹), with Q times a sign."""
    W0, n = t["W0"].astype(np.float64), len(t["q"])
    b = W0.shape[1] // n
    blocks = []
    for i, numbers in enumerate(t["q"].astype(np.float64)):
        Q = np.zeros((b, b))
        Q[np.triu_indices(b, 1)] = sign * numbers
        Q = Q - Q.T
        blocks.append(W0[:, i * b : (i + 1) * b] @ (np.eye(b) - Q) @ np.linalg.inv(np.eye(b) + Q))
    return np.concatenate(blocks, axis=1).astype(t["W0"].dtype)


@bug("no report: a vector applied in two places", "ia3.forward", "VectorChanged")
def vector_applied_twice(c, t):
    if c["feedforward"]:
        return right.through_weight(t, t["W0"] * t["l"] * t["l"])
    return (right.through_weight(t, t["W0"]) * t["l"]) * t["l"]


@bug("no report: repeat for tile", "additive.merge", "RepeatForTile")
def shared_numbers_repeated_not_tiled(c, t):
    (d, k), r = t["W0"].shape, len(t["A"])
    delta = np.repeat(t["B"], k // r, axis=1) + np.repeat(t["A"], d // r, axis=0)
    return t["W0"] + scale_of(c) * delta


def scale_of(c):
    """The scale of a method that may have none."""
    return c["alpha"] / c["rank"] if "alpha" in c else 1.0


@bug("after huggingface/peft#1626, the base weight is not shifted", "symmetric.forward", "StartNotSubtracted")
def start_not_taken_from_the_base(c, t):
    return right.lora(t, right.scale(c))
