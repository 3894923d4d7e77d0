"""The checker is itself tested: mistakes are planted in the code under test, and each must be caught and named.

[lora-fwd] [lora-1] [grad-1] [grad-2] [lora-merge] [prune-importance] [prune-group-dot] [view-update]
"""

import numpy as np
import pytest

from lora_np.conformance.verify import CHECKS, reference, run
from lora_np.lora import LoraParams
from lora_np.prune import Adapted, Product

# name of the function -> its outputs, and the equations one of which must be named when that output is wrong
OUTPUTS = {
    "forward": {"Y": {"lora-fwd"}, "Z": {"lora-z"}},
    "forward_via_weight": {"Y": {"lora-1"}, "W": {"lora-weight"}},
    "backward": {"gX": {"lora-grad-x"}, "gB": {"lora-grad-b"}, "gA": {"lora-grad-a"}},
    "backward_via_weight": {"gX": {"grad-1"}, "gB": {"grad-1"}, "gA": {"grad-1"}},
    "project_gradient": {"gB": {"grad-1"}, "gA": {"grad-1"}},
    "merge": {"W": {"lora-merge"}},
    "unmerge": {"W": {"lora-unmerge"}},
    "symmetric_base": {"W": {"lora-symmetric"}},
    "bias_gradient": {"gb": {"lora-grad-bias"}},
    "importance": {"scores": {"prune-importance"}},
    "group_dot": {"scores": {"prune-group-dot"}},
    "group_dot_columns": {"scores": {"prune-group-dot"}},
    "exact_gradient": {"G": {"prune-exact"}},
    "estimated_gradient": {"G": {"prune-estimate", "prune-estimate-sgd"}},
    "previous_step_gradient": {"G": {"prune-previous-step"}},
    "effective_gradient": {"W": {"view-projected"}},
    "effective_update": {"W": {"view-update"}},
    "first_order_update": {"W": {"view-first-order"}},
    "second_order_update": {"W": {"view-update"}},
    "weight_step": {"W": {"view-weight-step"}},
    "sgd_step": {"W": {"view-weight-step"}, "pB": {"view-sgd"}, "pA": {"view-sgd"}},
    "additive_weight": {"W": {"additive-weight"}},
    "additive_forward": {"Y": {"additive-blocks"}},
    "additive_backward": {f"g{x}": {"additive-blocks-grad"} for x in "XBA"},
    "additive_gradient": {"gB": {"additive-grad"}, "gA": {"additive-grad"}},
    "shrink": {"W": {"prune-shrink"}},
    "svd": {"U": {"rank-svd"}, "sigma": {"rank-svd"}},
    "truncate": {"U": {"rank-eckart-young"}},
    "optim_sgd_step": {"params": {"optim-sgd"}},
    "optim_momentum_step": {"params": {"optim-momentum"}},
    "optim_adam_step": {"params": {"optim-adam"}},
    "optim_adamw_step": {"params": {"optim-adamw"}},
    "relu_pullback": {"gH": {"net-relu"}},
    "gelu_pullback": {"gH": {"net-gelu"}},
    "tanh_pullback": {"gH": {"net-tanh"}},
    "cross_entropy_gradient": {"gL": {"net-cross-entropy"}},
    "dense_backward": {"gX": {"net-backward"}, "gW": {"net-backward"}, "gb": {"net-backward"}},
    "rank_factorization": {"B": {"rank-rref", "rank-qr", "rank-factorization"}},
}
CASES = [(function, output) for function, outputs in OUTPUTS.items() for output in outputs]


def change(result, function, output, mistake):
    """Apply a mistake to one output of a result, whatever it is packed in."""
    if function == "shrink":
        return {**result, "W": mistake(result["W"])}
    if not isinstance(result, tuple):
        return mistake(result)
    names = tuple(OUTPUTS[function])
    if function.startswith("optim_"):
        return tuple(mistake(x) for x in result[0]), result[1]
    if function.startswith(("backward", "additive_backward", "dense_backward")):
        if output == "gX":
            return mistake(result[0]), result[1]
        return result[0], result[1]._replace(**{output[1]: mistake(getattr(result[1], output[1]))})
    if function == "sgd_step":
        if output == "W":
            return mistake(result[0]), result[1]
        return result[0], result[1]._replace(**{output[1]: mistake(getattr(result[1], output[1]))})
    if hasattr(result, "_replace"):
        field = output.removeprefix("g") if isinstance(result[0], np.ndarray) and output[0] == "g" else output
        return result._replace(**{field: mistake(getattr(result, field))})
    return tuple(
        mistake(x) if name == output else x for name, x in zip((*names, *"?" * 9), result, strict=False)
    )


def with_mistake(function, output, mistake):
    """The reference, with a mistake in one output of one function."""
    right = getattr(reference(), function)

    def wrong(*args, **kwargs):
        return change(right(*args, **kwargs), function, output, mistake)

    return reference().replaced("broken", **{function: wrong})


def failing_equations(broken, *, stop_at=frozenset()):
    """The equations of the checks that fail; stops early once one of `stop_at` is among them."""
    found = set()
    for check in sorted(CHECKS, key=lambda check: check.equation not in stop_at):
        if broken.is_asked(check.uses) and not run(check, broken).ok:
            found.add(check.equation)
            if found & stop_at:
                break
    return found


def flip_one(x):
    """Only one entry changes its sign, far from the corner."""
    wrong = np.array(x)
    wrong.reshape(-1)[wrong.size // 2] *= -1
    return wrong


MISTAKES = {
    "factor 1.001": lambda x: x * type(np.asarray(x).flat[0])(1.001),
    "sign": lambda x: -x,
    "one sign": flip_one,
    "transpose": lambda x: np.ascontiguousarray(np.asarray(x).T) if np.ndim(x) == 2 else x[::-1],
    "float32": lambda x: x.astype(np.float32).astype(x.dtype),
    "wrong type": lambda x: x.astype(np.float16),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize(("function", "output"), CASES)
def test_every_mistake_in_every_output_is_caught_and_named(function, output, mistake):
    """1.001, a sign, one entry's sign, a transpose, a float32 rounding, a narrower type: never missed."""
    expected = OUTPUTS[function][output]
    broken = with_mistake(function, output, MISTAKES[mistake])
    assert failing_equations(broken, stop_at=expected) & expected


def _rounded(x):
    return x.astype(np.float32).astype(x.dtype) if isinstance(x, np.ndarray) else x


def _deeply(f, x):
    """Apply f to every array of a tuple, at any depth."""
    if isinstance(x, (LoraParams, Adapted, Product)) or hasattr(x, "_fields"):
        return type(x)(*(_deeply(f, part) for part in x))
    return f(x)


ROUNDED_INPUTS = [
    (function, index)
    for function, count in {
        "forward": 3,
        "forward_via_weight": 3,
        "backward": 5,
        "backward_via_weight": 4,
        "project_gradient": 2,
        "merge": 2,
        "unmerge": 2,
        "symmetric_base": 2,
        "bias_gradient": 1,
        "importance": 2,
        "group_dot": 2,
        "group_dot_columns": 2,
        "exact_gradient": 2,
        "estimated_gradient": 2,
        "effective_update": 2,
        "additive_weight": 2,
    }.items()
    for index in range(count)
]


@pytest.mark.parametrize(("function", "index"), ROUNDED_INPUTS)
def test_one_float32_rounding_of_an_input_is_caught(function, index):
    """A single float32 cast on the way in, which a tolerance of 1e-6 would let pass."""
    right = getattr(reference(), function)

    def wrong(*args, **kwargs):
        return right(*(_deeply(_rounded, x) if i == index else x for i, x in enumerate(args)), **kwargs)

    broken = reference().replaced("broken", **{function: wrong})
    expected = set().union(*OUTPUTS[function].values())
    assert failing_equations(broken, stop_at=expected) & expected


@pytest.mark.parametrize(
    "wrong_scale", [lambda s: 1.0, lambda s: s * s, lambda s: s * (1 + 3e-8), lambda s: -s]
)
@pytest.mark.parametrize(
    "function",
    [
        "forward",
        "forward_via_weight",
        "backward",
        "backward_via_weight",
        "project_gradient",
        "merge",
        "unmerge",
        "symmetric_base",
        "previous_step_gradient",
        "effective_gradient",
        "effective_update",
        "sgd_step",
        "weight_step",
        "additive_weight",
        "additive_forward",
        "additive_backward",
        "additive_gradient",
    ],
)
def test_a_missing_squared_or_slightly_wrong_scale_is_caught(function, wrong_scale):
    """No scale, the scale twice, a scale that lost its last bits (3e-8, a float32 alpha / r), and its sign."""
    right = getattr(reference(), function)

    def wrong(*args, scale, **kwargs):
        return right(*args, scale=wrong_scale(scale), **kwargs)

    broken = reference().replaced("broken", **{function: wrong})
    expected = set().union(*OUTPUTS[function].values())
    if (function, wrong_scale(2.0)) == ("effective_gradient", -2.0):
        return  # s², so the sign of s does not matter
    assert failing_equations(broken, stop_at=expected) & expected


def test_swapped_factors_are_caught():
    """B and A exchanged where the layer is square, so that no shape gives it away."""
    right = reference().forward

    def wrong(X, W0, p, **kwargs):
        d, k = W0.shape
        return right(X, W0, LoraParams(p.A.T, p.B.T) if d == k else p, **kwargs)

    assert "lora-fwd" in failing_equations(reference().replaced("broken", forward=wrong))


def test_a_mean_instead_of_a_sum_over_the_batch_is_caught():
    right = reference().backward

    def wrong(gY, *args, **kwargs):
        gX, g = right(gY, *args, **kwargs)
        return gX, LoraParams(g.B / len(gY), g.A / len(gY))

    assert {"lora-grad-a", "lora-grad-b"} <= failing_equations(reference().replaced("broken", backward=wrong))


def test_a_forgotten_bias_is_caught():
    right = reference().forward

    def wrong(*args, bias=None, **kwargs):
        return right(*args, **kwargs)

    assert "lora-fwd" in failing_equations(reference().replaced("broken", forward=wrong))


def test_a_wrong_power_of_the_rank_in_the_scale_is_caught():
    """alpha / r where alpha / √r was asked for, and the other way round."""
    right = reference().scaling
    plain = reference().replaced("broken", scaling=lambda a, r, use_rslora=False: right(a, r))
    rooted = reference().replaced(
        "broken", scaling=lambda a, r, use_rslora=False: right(a, r, use_rslora=True)
    )
    assert failing_equations(plain) == {"lora-scale-rs"}
    assert failing_equations(rooted) == {"lora-scale"}


def test_a_weight_without_memory_is_caught():
    """Unmerging by arithmetic where every bit is promised."""

    class Forgetful:
        def __init__(self, W):
            self.W = W

        def merge(self, p, *, scale):
            self.p, self.scale = p, scale
            return Forgetful2(reference().merge(self.W, p, scale=scale), p, scale)

    class Forgetful2:
        def __init__(self, W, p, scale):
            self.W, self.p, self.scale = W, p, scale

        def unmerge(self):
            return Forgetful(reference().unmerge(self.W, self.p, scale=self.scale))

    assert failing_equations(reference().replaced("broken", Merged=Forgetful)) == {"lora-unmerge"}
