"""DoRA's norm, bias and gradient, as they have been wrong."""

import numpy as np

from tests.historic import right
from tests.historic.seeding import bug


@bug("huggingface/peft#2348", "dora.merge", "NormAxis")
def norm_of_columns(c, t):
    V = right.direction(c, t)
    return t["m"][:, None] * V / np.sqrt((V * V).sum(axis=0, keepdims=True))


@bug("KohakuBlueleaf/LyCORIS#216", "dora.forward", "NormAxis")
def norm_of_columns_in_forward(c, t):
    V = right.direction(c, t)
    return right.through_weight(t, t["m"][:, None] * V / np.sqrt((V * V).sum(axis=0, keepdims=True)))


@bug("Comfy-Org/ComfyUI#15458", "dora.merge", "NormOfBase")
def norm_of_the_base_weight(c, t):
    return t["m"][:, None] * right.direction(c, t) / right.row_norms(t["W0"])


@bug("huggingface/peft#1588", "dora.merge", "NormUnscaled")
def norm_with_scale_one(c, t):
    norm = right.row_norms(t["W0"] + t["B"] @ t["A"])
    return t["m"][:, None] * right.direction(c, t) / norm


@bug("KohakuBlueleaf/LyCORIS#160", "dora.merge", "AnotherNorm")
def mean_for_norm(c, t):
    V = right.direction(c, t)
    return V / V.mean(axis=1, keepdims=True) * t["m"][:, None]


@bug("huggingface/peft#1474", "dora.forward", "BaseTwice")
def base_result_added_again(c, t):
    V = right.direction(c, t)
    return right.through_weight(t, t["W0"] + t["m"][:, None] * V / right.row_norms(V))


@bug("huggingface/peft#2371", "dora.forward", "BiasScaled")
def bias_scaled_by_the_magnitude(c, t):
    V = right.direction(c, t)
    factor = t["m"] / right.row_norms(V)[:, 0]
    return right.plus_bias(t["X"] @ V.T, t) * factor


@bug("after huggingface/peft#2153, why the factor minus one is there", "dora.forward", "MagnitudeOnBranch")
def correction_of_the_base_left_out(c, t):
    V = right.direction(c, t)
    factor = t["m"][:, None] / right.row_norms(V)
    return right.through_weight(t, t["W0"] + factor * (right.scale(c) * t["B"] @ t["A"]))


@bug("after NVlabs/DoRA#30, what the base result is for", "dora.forward", "MagnitudeIgnored", "NormMissing")
def magnitude_and_norm_left_out(c, t):
    return right.through_weight(t, right.direction(c, t))


@bug("ooples/AiDotNet#256, DoRAAdapter", "dora.backward", "MagnitudeIgnored")
def backward_of_plain_lora(c, t):
    V = right.direction(c, t)
    gm = ((t["gY"].T @ t["X"]) * V / right.row_norms(V)).sum(axis=1)
    return {**right.lora_gradients(t, right.scale(c)), "gm": gm}


def gradients(c, t, *, detached):
    """Pull gY back through m V / ‖V‖, with the norm held constant or not."""
    V = right.direction(c, t)
    norm = right.row_norms(V)
    gW = t["gY"].T @ t["X"]
    gV = t["m"][:, None] * gW / norm
    if not detached:
        gV = gV - t["m"][:, None] * V * (gW * V).sum(axis=1, keepdims=True) / norm**3
    s = right.scale(c)
    return {
        "gX": t["gY"] @ (t["m"][:, None] * V / norm),
        "gB": s * gV @ t["A"].T,
        "gA": s * t["B"].T @ gV,
        "gm": (gW * V / norm).sum(axis=1),
    }


@bug(
    "after huggingface/peft#1474, section 4.3 of the paper not read; detached declared",
    "dora.backward",
    "AttachedNorm",
)
def gradient_through_the_norm(c, t):
    return gradients(c, t, detached=False)


@bug(
    "huggingface/peft 0.21.2, whose gradient is not the gradient; attached declared",
    "dora.backward",
    "DetachedNorm",
)
def no_gradient_through_the_norm(c, t):
    return gradients(c, t, detached=True)


@bug("Comfy-Org/ComfyUI#12938", "dora.merge", "MagnitudeAxis")
def magnitude_broadcast_along_the_inputs(c, t):
    V = right.direction(c, t)
    return V * t["m"] / right.row_norms(V)


@bug("after huggingface/peft#2049, rows of zeros", "dora.forward", "NormEpsilon")
def epsilon_against_zero_rows(c, t):
    V = right.direction(c, t)
    return right.through_weight(t, t["m"][:, None] * V / (right.row_norms(V) + 1e-6))
