"""Other weights than a matrix: kernels, tables, several parts in one; and rows or keys in front of others.  Floor 6."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.applying import attention, bottleneck, convolution, with_bias
from lora_np.conformance.diagnose.formulas import Apply, Config, lora, qkv_increment, ungrouped
from lora_np.conformance.diagnose.guessing import Guess, Hypothesis, answer, of_method, one
from lora_np.conformance.diagnose.question import Question, Tensors

# ---- convolution --------------------------------------------------------------------------------------------

_conv = of_method("lora-conv2d")


def _flipped(q: Question) -> Iterator[Guess]:
    for names in (("W0", "A"), ("A",), ("W0",)):
        turned = {
            name: q.tensors[name][..., ::-1, ::-1]
            for name in names
            if q.tensors.get(name, np.zeros(1)).ndim == 4
        }
        yield (
            answer(q, **turned),
            f"the kernel is flipped in {' and '.join(turned)}: a convolution for a correlation",
        )
        turned = {name: np.swapaxes(array, 2, 3) for name, array in turned.items()}
        if all(array.shape == q.tensors[name].shape for name, array in turned.items()):
            yield (
                answer(q, **{name: array[..., ::-1, ::-1] for name, array in turned.items()}),
                "height and width are exchanged",
            )


def _groups(q: Question) -> Iterator[Guess]:
    groups = int(q.config.get("groups", 1))
    if groups > 1 and q.config.get("form") != "loralib":

        def interleaved(t: Tensors, _c: Config, s: float) -> Array:
            delta = [
                np.tensordot(t["B"][o, :, 0, 0], t["A"][o % groups :: groups], axes=(0, 0))
                for o in range(len(t["B"]))
            ]
            return ungrouped(t["W0"], groups) + s * np.stack(delta)

        def first_only(t: Tensors, _c: Config, s: float) -> Array:
            share = t["A"][: t["A"].shape[0] // groups]
            return ungrouped(t["W0"], groups) + s * np.tensordot(t["B"][:, :, 0, 0], share, axes=(1, 0))

        yield answer(q, weight=interleaved), "the channels of the groups are interleaved"
        yield answer(q, weight=first_only), "every group takes the channels of the first"


def _conv_config(q: Question) -> Iterator[Guess]:
    for key, plain in (("stride", 1), ("padding", 0), ("dilation", 1)):
        if q.config.get(key, plain) != plain:
            yield answer(q, output=_ignoring(key, plain)), f"{key} is ignored"
            yield answer(q, output=_branch_ignoring(key, plain)), f"{key} is ignored in the adapter's path"


def _ignoring(key: str, plain: int) -> Apply:
    return lambda t, c, W: convolution(t, {**c, key: plain}, W)


def _branch_ignoring(key: str, plain: int) -> Apply:
    def output(t: Tensors, c: Config, W: Array) -> Array:
        groups = t["X"].shape[1] // t["W0"].shape[1]
        base = t["W0"] if W.shape == t["W0"].shape else ungrouped(t["W0"], groups)
        branch = {name: tensor for name, tensor in t.items() if name != "bias"}
        return convolution(t, c, base) + convolution(branch, {**c, key: plain}, W - base)

    return output


# ---- tables, and several weights in one ---------------------------------------------------------------------


def _padding(q: Question) -> Iterator[Guess]:
    pad = q.config.get("padding")
    if pad is None:
        return
    rows = np.array(q.want)
    if q.operation == "forward":
        rows[q.tensors["X"] == pad] = 0
        yield rows, "the padding token gives zeros"
        rows[q.tensors["X"] == pad] = q.tensors["W0"][pad]
        yield rows, "the padding token gets no increment"
    elif q.name == "W":
        rows[pad] = q.tensors["W0"][pad]
        yield rows, "the padding row gets no increment"
        rows[pad] = 0
        yield rows, "the padding row is zero"


def _padded(q: Question) -> bool:
    return q.method == "lora-embedding" and q.operation == "backward" and q.config.get("padding") is not None


def answer_without_padding(q: Question) -> Array | None:
    """Answer as if no token were padding."""
    return answer(q, weight=lambda t, _c, s: t["W0"] + s * lora(t).T)


def _group_order(q: Question) -> Iterator[Guess]:
    enabled = list(q.config["enabled"])
    on = sum(enabled)

    def with_enabled(order: list[bool]) -> Array | None:
        return answer(q, weight=lambda t, c, s: t["W0"] + s * qkv_increment(t, {**c, "enabled": order}))

    if on > 1:
        for name in ("A", "B"):
            parts: list[Array] = np.array_split(q.tensors[name], on)
            for mixed in (parts[::-1], parts[1:] + parts[:1]):
                turned: Tensors = {name: np.concatenate(mixed)}
                yield answer(q, **turned), f"the parts of {name} belong to other groups: order?"
        first: Array = np.concatenate([np.array_split(q.tensors["A"], on)[0]] * on)
        yield answer(q, A=first), "every part takes the first A"
        yield (
            answer(q, weight=lambda t, c, s: t["W0"] + s * qkv_increment(t, c, interleaved=True)),
            ("the rows of A are interleaved between the parts"),
        )
    if not all(enabled):
        yield with_enabled(enabled[::-1]), "the increments go to other parts: the reverse order"
        yield with_enabled(sorted(enabled, reverse=True)), "the increments go to the first parts"
        yield with_enabled(sorted(enabled)), "the increments go to the last parts"
        yield with_enabled([enabled[-1], *enabled[:-1]]), "the increments go to the next parts"


# ---- adapters, prefixes, prompts ----------------------------------------------------------------------------

_inserted = of_method("houlsby", "pfeiffer")


def _activation(q: Question) -> Iterator[Guess]:
    for name in ("relu", "tanh", "gelu", "none"):
        if not str(q.config.get("activation")).startswith(name):
            yield answer(q, output=_with_activation(name)), f"the activation is {name}"


def _other_gelu(q: Question) -> Array | None:
    forms = {"gelu": "gelu_tanh", "gelu_tanh": "gelu"}
    other = forms.get(q.config.get("activation", ""))
    return None if other is None else answer(q, output=_with_activation(other))


def _with_activation(name: str) -> Apply:
    return lambda t, c, _W: bottleneck(t, {**c, "activation": name})


def _left_out(q: Question) -> Iterator[Guess]:
    for name in ("b_down", "b_up"):
        yield answer(q, **{name: np.zeros_like(q.tensors[name])}), f"{name} is left out"


def _no_residual(q: Question) -> Array | None:
    return answer(q, output=lambda t, c, _W: bottleneck(t, c) - t["H" if "H" in t else "X"])


_prefix = of_method("prefix-tuning")


def _attention(q: Question) -> Iterator[Guess]:
    dh, keys = q.tensors["Q"].shape[1], len(q.tensors["K"]) + len(q.tensors["P_k"])
    yield answer(q, output=_scores_times(1.0)), "the scores are not divided by sqrt(dh)"
    yield answer(q, output=_scores_times(1 / dh)), "the scores are divided by dh"
    yield (
        answer(q, output=_scores_times(1 / math.sqrt(keys))),
        "the scores are divided by the root of the keys' number",
    )


def _scores_times(scale: float) -> Apply:
    return lambda t, _c, _W: attention(
        t["Q"], np.concatenate([t["P_k"], t["K"]]), np.concatenate([t["P_v"], t["V"]]), scale
    )


def _no_prefix(q: Question) -> Array | None:
    return answer(
        q, output=lambda t, _c, _W: attention(t["Q"], t["K"], t["V"], 1 / math.sqrt(t["Q"].shape[1]))
    )


def _values_appended(q: Question) -> Array | None:
    return answer(
        q,
        output=lambda t, _c, _W: attention(
            t["Q"],
            np.concatenate([t["P_k"], t["K"]]),
            np.concatenate([t["V"], t["P_v"]]),
            1 / math.sqrt(t["Q"].shape[1]),
        ),
    )


_prompt = of_method("prompt-tuning")


def _appended(q: Question) -> Iterator[Guess]:
    yield (
        answer(q, output=lambda t, _c, W: with_bias(np.concatenate([t["X"], t["P"]]) @ W.T, t)),
        "the prompt stands behind",
    )
    yield answer(q, P=np.flip(q.tensors["P"], 0)), "the prompt runs backwards"


HYPOTHESES = (
    Hypothesis("KernelFlipped", _conv, _flipped),
    Hypothesis("GroupsMixed", _conv, _groups),
    Hypothesis("WindowShifted", _conv, _conv_config),
    Hypothesis("PaddingRow", of_method("lora-embedding"), _padding),
    Hypothesis("PaddingTrained", _padded, one(answer_without_padding, "the padding token has a gradient")),
    Hypothesis("PartsShifted", of_method("lora-merged-qkv"), _group_order),
    Hypothesis("MissingResidual", _inserted, one(_no_residual, "the input is not added back")),
    Hypothesis(
        "ActivationApproximated", _inserted, one(_other_gelu, "gelu is the other of its two forms: erf, tanh")
    ),
    Hypothesis("AnotherActivation", _inserted, _activation),
    Hypothesis("MissingBias", _inserted, _left_out),
    Hypothesis("BranchMissing", _prefix, one(_no_prefix, "as if there were no prefix")),
    Hypothesis("MissingRootOfWidth", _prefix, _attention),
    Hypothesis("PromptBehind", _prefix, one(_values_appended, "keys are in front, values behind")),
    Hypothesis("PromptBehind", _prompt, _appended),
)
