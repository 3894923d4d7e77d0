"""Optimizer steps, AdaLoRA's rules and starting points, as they have been wrong."""

import numpy as np

from tests.historic import right
from tests.historic.seeding import bug


def adam(t, c, name, *, corrected=True, inside=False, scaled=False):
    """Adam's quotient for one factor, with three ways to go wrong."""
    g, n = t[f"g{name}"], c["step"]
    m = c["beta1"] * t[f"m{name}"] + (1 - c["beta1"]) * g
    v = c["beta2"] * t[f"v{name}"] + (1 - c["beta2"]) * g * g
    first, second = 1 - c["beta1"] ** n, 1 - c["beta2"] ** n
    if not corrected:
        return m / (np.sqrt(v) + c["eps"])
    if inside:
        return m / first / np.sqrt(v / second + c["eps"])
    if scaled:  # step size lr √second / first, and eps beside the uncorrected root
        return np.sqrt(second) / first * m / (np.sqrt(v) + c["eps"])
    return m / first / (np.sqrt(v / second) + c["eps"])


def stepped(t, c, rates, **wrong):
    """Both factors after a step at given rates."""
    if c["optimizer"] != "adam":
        return {name: t[name] - rate * t[f"g{name}"] for name, rate in rates.items()}
    return {name: t[name] - rate * adam(t, c, name, **wrong) for name, rate in rates.items()}


def plus(c):
    """LoRA+'s rates."""
    return {"B": c["ratio"] * c["lr"], "A": c["lr"]}


@bug("kohya-ss/sd-scripts#1233", "lora-plus.step", "RatioOnWrongFactor")
def up_and_down_exchanged(c, t):
    return stepped(t, c, {"B": c["lr"], "A": c["ratio"] * c["lr"]})


@bug(
    "after deepspeedai/DeepSpeedExamples#756, a group with the rate of another",
    "lora-plus.step",
    "RatioMissing",
)
def group_with_the_rate_of_another(c, t):
    return stepped(t, c, {"B": c["lr"], "A": c["lr"]})


@bug("ml-explore/mlx#1640", "lora-plus.step", "BiasCorrectionMissing")
def moments_not_corrected(c, t):
    return stepped(t, c, plus(c), corrected=False)


@bug("pytorch/pytorch#22628", "lora-plus.step", "EpsilonScaled")
def epsilon_scaled_by_the_correction(c, t):
    return stepped(t, c, plus(c), scaled=True)


@bug("after goodfire-ai/spd#602, where the eps stands", "lora-plus.step", "EpsilonInsideRoot")
def epsilon_under_the_root(c, t):
    return stepped(t, c, plus(c), inside=True)


@bug("after unslothai/unsloth-zoo#606, some factors get no gradient", "lora-plus.step", "FactorNotMoved")
def one_factor_never_moves(c, t):
    return {**stepped(t, c, plus(c)), "A": t["A"]}


@bug("unslothai/unsloth-zoo#606", "lora-plus.step", "FactorNotMoved", "InputReturned")
def no_gradient_reaches_b(c, t):
    return {**stepped(t, c, plus(c)), "B": t["B"]}


@bug("no report: the correction without 1 / s²", "lora-fa.step", "SquaredScaleMissing")
def correction_without_scale(c, t):
    A = t["A"]
    return np.linalg.solve(A @ A.T + c["damping"] * np.eye(len(A), dtype=A.dtype), t["gB"].T).T


@bug("no report: plain AdamW on B", "lora-fa.step", "CorrectionMissing", "InputReturned")
def gradient_not_corrected(c, t):
    return t["gB"].copy()


@bug("huggingface/peft#432", "adalora.penalty", "AllZero")
def penalty_never_computed(c, t):
    return {"penalty": np.zeros(()), "gP": 0 * t["P"], "gQ": 0 * t["Q"]}


@bug(
    "huggingface/peft 0.21.2, adalora/model.py takes the norm, not its square",
    "adalora.penalty",
    "RootForSquare",
)
def norm_for_its_square(c, t):
    found = {"penalty": np.zeros((), dtype=t["P"].dtype)}
    for name, rows in (("P", t["P"].T), ("Q", t["Q"])):
        off = rows @ rows.T - np.eye(len(rows), dtype=rows.dtype)
        length = np.sqrt((off * off).sum())
        found["penalty"] = found["penalty"] + length
        gradient = 2 / length * off @ rows
        found[f"g{name}"] = gradient.T if name == "P" else gradient
    return found


@bug("after axolotl-ai-cloud/axolotl#3639, a budget exceeded", "adalora.schedule", "RoundedUp")
def budget_rounded_up(c, t):
    step, start, end = c["step"], c["warmup"], c["total"] - c["cooldown"]
    if step <= start or step >= end:
        return np.float64(c["initial"] if step <= start else c["final"])
    left = 1 - (step - start) / (end - start)
    return np.ceil(c["final"] + (c["initial"] - c["final"]) * left**3)


@bug("after huggingface/peft#1801, phases of the schedule", "adalora.schedule", "CooldownIgnored")
def final_phase_ignored(c, t):
    step, start, end = c["step"], c["warmup"], c["total"]
    if step <= start or step >= end - c["cooldown"]:
        return np.float64(c["initial"] if step <= start else c["final"])
    left = 1 - (step - start) / (end - start)
    return np.floor(c["final"] + (c["initial"] - c["final"]) * left**3)


@bug("huggingface/peft 0.21.2, RankAllocator.mask_to_budget", "adalora.budget", "TiedScores")
def ties_with_the_threshold_are_masked(c, t):
    names = sorted((n for n in t if n.startswith("scores.")), key=lambda n: int(n[7:]))
    joined = np.concatenate([t[n] for n in names])
    dropped = len(joined) - c["budget"]
    if dropped <= 0:
        return {f"keep.{i}": np.ones(len(t[n]), dtype=np.int64) for i, n in enumerate(names)}
    threshold = np.sort(joined)[dropped - 1]
    return {f"keep.{i}": (t[n] > threshold).astype(np.int64) for i, n in enumerate(names)}


@bug("no report: sums over a triple", "adalora.importance", "SumForMean")
def entries_added_for_averaged(c, t):
    return importance(c, t, add=np.sum)


@bug("no report: the mean before the update", "adalora.importance", "StaleMean")
def spread_about_the_old_mean(c, t):
    return importance(c, t, stale=True)


def importance(c, t, *, add=np.mean, stale=False):
    """Mean, spread and scores, with two ways to go wrong."""
    found, entry = {}, {}
    for name in ("P", "lam", "Q"):
        now = np.abs(t[name] * t[f"g{name}"])
        mean = c["beta1"] * t[f"mean.{name}"] + (1 - c["beta1"]) * now
        about = t[f"mean.{name}"] if stale else mean
        spread = c["beta2"] * t[f"spread.{name}"] + (1 - c["beta2"]) * np.abs(now - about)
        found[f"mean.{name}"], found[f"spread.{name}"] = mean, spread
        entry[name] = mean * spread
    return found | {"scores": entry["lam"] + add(entry["P"], axis=0) + add(entry["Q"], axis=1)}


def principal(c, t, *, shift=True, last=False):
    """PiSSA's base weight and products."""
    U, sigma, Vt = np.linalg.svd(t["W0"], full_matrices=False)
    r, s = c["rank"], right.scale(c)
    part = slice(len(sigma) - r, None) if last else slice(0, r)
    share = U[:, part] * sigma[part] @ Vt[part]
    BBt = U[:, part] * sigma[part] @ U[:, part].T / s
    return {"W_base": t["W0"] - share if shift else t["W0"].copy(), "BA": share / s, "BBt": BBt}


@bug("huggingface/peft#1626, base weights not updated", "pissa.init", "StartNotSubtracted", "InputReturned")
def base_keeps_its_principal_part(c, t):
    return principal(c, t, shift=False)


@bug("after ISEEKYAN/Megatron-LM#73, which end of the spectrum", "milora.init", "OtherEnd")
def largest_for_smallest(c, t):
    return principal(c, t)


@bug("huggingface/peft#2104, the transposed weight is factored", "olora.init", "Transposed", "ScaleApplied")
def factored_through_the_transpose(c, t):
    Q, R = np.linalg.qr(t["W0"].T)
    r = c["rank"]
    BA = (Q[:, :r] @ R[:r]).T
    return {"W_base": t["W0"] - right.scale(c) * BA, "BA": BA, "BBt": Q[:, :r] @ Q[:, :r].T}


@bug("huggingface/peft 0.21.2, loftq_utils.py ignores s", "pissa.init", "MissingScale")
def factors_not_divided_by_the_scale(c, t):
    found = principal(c, t)
    return {**found, "BA": right.scale(c) * found["BA"], "BBt": right.scale(c) * found["BBt"]}


@bug("KohakuBlueleaf/LyCORIS#160, dora_mean_dim", "dora.init", "AnotherNorm")
def magnitude_starts_at_the_mean(c, t):
    return t["W0"].mean(axis=1)
