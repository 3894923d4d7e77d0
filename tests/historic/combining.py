"""Combining adapters, as it has been wrong."""

import numpy as np

from tests.historic.seeding import bug


def pairs(c, t):
    """Factors, weights and scales, adapter by adapter."""
    n = sum(name.startswith("B.") for name in t)
    weights, scales = c.get("weights") or [1.0] * n, c.get("scales") or [1.0] * n
    return [(t[f"B.{i}"], t[f"A.{i}"], float(weights[i]), float(scales[i])) for i in range(n)]


def increments(c, t):
    """w s B A of each adapter."""
    return [w * s * B @ A for B, A, w, s in pairs(c, t)]


@bug("huggingface/peft#3449", "combine-cat.combine", "SqrtRank")
def combined_adapter_is_rank_stabilized(c, t):
    return sum(increments(c, t)) * sum(A.shape[0] for _, A, _, _ in pairs(c, t)) ** 0.5


@bug("huggingface/peft#3111", "combine-svd.combine", "SquaredScale")
def scales_applied_to_weights_and_increments(c, t):
    U, sigma, Vt = np.linalg.svd(sum(w * s * s * B @ A for B, A, w, s in pairs(c, t)), full_matrices=False)
    r = c["svd_rank"]
    return U[:, :r] * sigma[:r] @ Vt[:r]


@bug("huggingface/peft#3013", "combine-cat.combine", "CrossTerms")
def factors_added_for_increments(c, t):
    roots = [abs(w * s) ** 0.5 for _, _, w, s in pairs(c, t)]
    B = sum(r * B for r, (B, _, _, _) in zip(roots, pairs(c, t), strict=True))
    A = sum(r * np.sign(w * s) * A for r, (_, A, w, s) in zip(roots, pairs(c, t), strict=True))
    return B @ A


@bug("huggingface/peft#2918", "combine-linear.combine", "SignFlipped", "SignLost")
def sign_on_both_factors(c, t):
    roots = [np.sign(w * s) * abs(w * s) ** 0.5 for _, _, w, s in pairs(c, t)]
    B = sum(r * B for r, (B, _, _, _) in zip(roots, pairs(c, t), strict=True))
    A = sum(r * A for r, (_, A, _, _) in zip(roots, pairs(c, t), strict=True))
    return B @ A


@bug("cloneofsimo/lora#187, the second file", "combine-cat.combine", "WeightsIgnored")
def weights_without_effect(c, t):
    return sum(s * B @ A for B, A, _, s in pairs(c, t))


@bug("huggingface/peft 0.21.2, lists of different length", "combine-cat.combine", "AdapterDropped")
def last_adapter_dropped_by_zip(c, t):
    return sum(increments(c, t)[:-1], start=0 * increments(c, t)[0])


@bug("huggingface/peft 0.21.2, the default rank of svd", "combine-svd.combine", "RankIgnored", "OffByOne")
def sum_not_truncated(c, t):
    return sum(increments(c, t))


@bug(
    "after arcee-ai/mergekit#474, what weights do to an election", "combine-ties.combine", "ElectionByNumber"
)
def signs_counted(c, t):
    deltas = [trim(delta, c["density"]) for delta in increments(c, t)]
    sign = np.sign(sum(np.sign(delta) for delta in deltas))
    agree = [np.sign(delta) == sign for delta in deltas]
    mass = sum(np.where(yes, delta, 0) for yes, delta in zip(agree, deltas, strict=True))
    return mass / np.maximum(sum(yes.astype(mass.dtype) for yes in agree), 1)


@bug("no report: a sum of those who agree", "combine-ties.combine", "SumForMean")
def agreement_summed(c, t):
    deltas = [trim(delta, c["density"]) for delta in increments(c, t)]
    sign = np.sign(sum(deltas))
    return sum(np.where(np.sign(delta) == sign, delta, 0) for delta in deltas)


@bug("after huggingface/peft#1364, random_pruning with rescale", "combine-dare.combine", "RescaleMissing")
def dropped_without_rescaling(c, t):
    return sum(np.where(t[f"keep.{i}"] != 0, delta, 0) for i, delta in enumerate(increments(c, t)))


@bug("after arcee-ai/mergekit#130, what a density is", "combine-magnitude.combine", "DensityInverted")
def density_is_what_goes(c, t):
    return sum(trim(delta, 1 - c["density"]) for delta in increments(c, t))


def trim(delta, density):
    """Keep the largest entries."""
    count = int(round(delta.size * density, 9))
    place = np.argsort(np.argsort(-np.abs(delta).ravel(), kind="stable"), kind="stable")
    return np.where((place < count).reshape(delta.shape), delta, 0)
