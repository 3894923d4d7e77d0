"""The definitions of the adapters, of prefix tuning and of prompt tuning, by hand and against difference quotients."""

from __future__ import annotations

import math
from fractions import Fraction as F

import pytest

from lora_np.conformance.definitions.bottleneck import activation, gelu, gelu_by_tanh
from lora_np.conformance.definitions.prefix_tuning import softmax
from lora_np.conformance.exact.functions import precision
from lora_np.conformance.exact.number import Exact
from lora_np.conformance.exact.rounding import fraction_of
from lora_np.conformance.vectors.generate.inputs import Draws
from tests.definitions import run, worst_slope_error

CLOSE = F(1, 2**90)
"""A central difference of step 2⁻⁶⁰ errs by about 2⁻¹²⁰ times a third derivative."""


def drawn(name: str, *shape: int):
    """Rationals of size 1, as nested lists."""
    numbers = Draws(name).values("short", shape) / 4
    return [[F(x) for x in row] for row in numbers.tolist()] if len(shape) == 2 else [F(x) for x in numbers]


@pytest.mark.parametrize("method", ["houlsby", "pfeiffer"])
class TestAdapter:
    """h + W_up f(W_down h + b_down) + b_up."""

    def test_by_hand(self, method):
        """h = (1, −2): inner relu(1 − 2 + 2) = 1 and relu(−3 − 2 + 4) = 0; up (3, 5) · 1 + (0, 1)."""
        t = {
            "X": [[1, -2]],
            "W_down": [[1, 1], [-3, 1]],
            "b_down": [2, 4],
            "W_up": [[3, 100], [5, 100]],
            "b_up": [0, 1],
        }
        assert run(method, "forward", t, activation="relu", rank=2)["Y"] == [[4, 4]]

    @pytest.mark.parametrize("config", [("relu", ""), ("gelu", "erf"), ("gelu", "tanh"), ("tanh", "")])
    def test_gradient_is_the_slope(self, method, config):
        """All four tensors, and the input with its two paths."""
        shapes = {"X": (2, 3), "W_down": (2, 3), "b_down": (2,), "W_up": (3, 2), "b_up": (3,)}
        t = {name: drawn(f"{method}{name}", *shape) for name, shape in {**shapes, "gY": (2, 3)}.items()}
        name, form = config
        chosen = {"activation": name, "gelu": form} if form else {"activation": name}
        assert worst_slope_error(method, t, tuple(shapes), **chosen) < CLOSE

    def test_up_of_zero_leaves_the_input(self, method):
        """W_up = 0 and b_up = 0: the identity."""
        t = {"X": [[1, -2]], "W_down": [[1, 1]], "b_down": [2], "W_up": [[0], [0]], "b_up": [0, 0]}
        assert run(method, "forward", t, activation="tanh", rank=1)["Y"] == t["X"]


class TestGelu:
    """The exact form and its approximation."""

    @pytest.mark.parametrize("x", [-3.0, -0.5, 0.0, 1.0, 4.0])
    def test_floats_and_exact_numbers_agree(self, x):
        """And the exact form is x Φ(x), by the complementary error function."""
        with precision(200):
            assert float(gelu(Exact.of(x)).value) == pytest.approx(gelu(x), rel=1e-13, abs=1e-15)
            assert float(gelu_by_tanh(Exact.of(x)).value) == pytest.approx(
                gelu_by_tanh(x), rel=1e-12, abs=1e-15
            )
        assert gelu(x) == pytest.approx(x * math.erfc(-x / math.sqrt(2)) / 2, rel=1e-12, abs=1e-15)

    def test_the_two_forms_differ_by_less_than_a_thousandth(self):
        """But they do differ: at most about 5e-4, between 2 and 3."""
        gaps = [abs(gelu(n / 16) - gelu_by_tanh(n / 16)) for n in range(-80, 81)]
        assert 4e-4 < max(gaps) < 5e-4

    def test_the_exact_form_unless_asked(self):
        """config["gelu"] tells them apart."""
        assert activation({"activation": "gelu"}) is gelu
        assert activation({"activation": "gelu", "gelu": "tanh"}) is gelu_by_tanh


class TestPrefixTuning:
    """softmax(Q [P_k; K]ᵀ / √dh) [P_v; V]."""

    def test_equal_scores_average_all_values(self):
        """Q = 0: one quarter of each of four values, prefix and text alike."""
        t = {
            "Q": [[0, 0]],
            "K": [[1, 2], [3, 4], [5, 6]],
            "P_k": [[7, 8]],
            "V": [[4, 0], [8, 0], [0, 4]],
            "P_v": [[0, 16]],
        }
        with precision(200):
            Y = run("prefix-tuning", "forward", t)["Y"]
        assert [[fraction_of(y) for y in row] for row in Y] == [[3, 5]]

    def test_width_of_four_by_hand(self):
        """√dh = 2: scores 2 / 2 and 0, so the prefix has the share e / (e + 1)."""
        t = {"Q": [[1, 0, 0, 0]], "P_k": [[2, 0, 0, 0]], "K": [[0] * 4], "P_v": [[1] * 4], "V": [[0] * 4]}
        with precision(200):
            Y = run("prefix-tuning", "forward", t)["Y"]
        assert float(Y[0][0]) == pytest.approx(math.e / (math.e + 1), rel=1e-15)

    def test_a_prefix_of_nothing_is_plain_attention_and_an_own_key_is_a_key(self):
        """Moving a row from the text to the prefix changes nothing."""
        Q, K, V = drawn("Q", 2, 3), drawn("K", 3, 3), drawn("V", 3, 3)
        with precision(200):
            plain, split = (
                run("prefix-tuning", "forward", {"Q": Q, "P_k": K[:n], "K": K[n:], "P_v": V[:n], "V": V[n:]})[
                    "Y"
                ]
                for n in (0, 2)
            )
        assert plain == split

    def test_gradient_is_the_slope(self):
        """gP_k and gP_v, and gQ, gK, gV."""
        shapes = {"Q": (2, 3), "K": (2, 3), "V": (2, 3), "P_k": (1, 3), "P_v": (1, 3)}
        t = {name: drawn(f"prefix{name}", *shape) for name, shape in {**shapes, "gY": (2, 3)}.items()}
        assert worst_slope_error("prefix-tuning", t, tuple(shapes)) < CLOSE

    def test_large_scores_of_floats_do_not_overflow(self):
        """The largest is subtracted first."""
        assert softmax([1000.0, 1000.0]) == [0.5, 0.5]


class TestPromptTuning:
    """[P; X] W0ᵀ + b."""

    def test_by_hand(self):
        """The prompt's row comes first."""
        t = {"P": [[1, 0]], "X": [[0, 1], [1, 1]], "W0": [[1, 2], [3, 4]], "bias": [10, 20]}
        assert run("prompt-tuning", "forward", t)["Y"] == [[11, 23], [12, 24], [13, 27]]

    def test_gradient_is_the_slope(self):
        """gP and gX."""
        shapes = {"X": (2, 3), "P": (1, 3)}
        t = {name: drawn(name, *shape) for name, shape in {**shapes, "gY": (3, 2), "W0": (2, 3)}.items()}
        assert worst_slope_error("prompt-tuning", t, tuple(shapes)) < CLOSE
