"""The definitions of DoRA, LoHa, LoKr, (IA)³ and OFT against arithmetic by hand and against difference quotients."""

from __future__ import annotations

from fractions import Fraction as F

import pytest

from lora_np.conformance.definitions import definition
from lora_np.conformance.definitions.oft import block_size, cayley, neumann, skew
from lora_np.conformance.exact.loops import product, transpose
from lora_np.conformance.exact.rounding import fraction_of
from lora_np.conformance.vectors.generate.inputs import Draws
from tests.definitions import run, values, worst_slope_error

CLOSE = F(1, 2**100)
"""A central difference of step 2⁻⁶⁰ errs by about 2⁻¹²⁰ times a third derivative."""

DORA = {"W0": [[1, 4], [1, 12]], "B": [[1], [2]], "A": [[1, 0]], "m": [10, 26]}
LOHA = {"B1": [[1], [3]], "A1": [[1, 2]], "B2": [[5], [7]], "A2": [[1, 1]], "W0": [[0, 1], [1, 0]]}
LOKR = {"C": [[1, 2]], "D": [[3], [4]], "W0": [[0, 0], [0, 10]]}
IA3 = {"W0": [[1, 2], [3, 4]], "l": [10, 100], "X": [[1, 1]], "bias": [5, 6]}


def drawn(name: str, *shape: int):
    """Small rationals, as nested lists."""
    numbers = Draws(name).values("short", shape)
    return [[F(x) for x in row] for row in numbers.tolist()] if len(shape) == 2 else [F(x) for x in numbers]


def layer(name: str, N: int = 2, d: int = 2, k: int = 3):
    """X, W0, bias and gY."""
    return {
        "X": drawn(f"{name}X", N, k),
        "W0": drawn(f"{name}W", d, k),
        "bias": drawn(f"{name}b", d),
        "gY": drawn(f"{name}g", N, d),
    }


class TestDora:
    """By hand: with s = 2, s B A = [[2, 0], [4, 0]], so V has rows (3, 4) and (5, 12), of lengths 5 and 13."""

    def test_weight(self):
        """W = diag(m / ||V||) V: 10/5 (3, 4) and 26/13 (5, 12)."""
        W = run("dora", "merge", DORA, rank=1, alpha=F(2))["W"]
        assert W == [[6, 8], [10, 24]]

    def test_forward_leaves_the_bias_alone(self):
        """x = (1, 1): 6 + 8 and 10 + 24, each with its bias."""
        Y = run("dora", "forward", {**DORA, "X": [[1, 1]], "bias": [100, 200]}, rank=1, alpha=F(2))["Y"]
        assert Y == [[114, 234]]

    def test_unmerge_undoes_merge_with_the_lengths(self):
        """lengths / m · W − s B A."""
        W = run("dora", "merge", DORA, rank=1, alpha=F(2))["W"]
        t = {"W": W, "lengths": [5, 13], **{name: DORA[name] for name in ("B", "A", "m")}}
        assert run("dora", "unmerge", t, rank=1, alpha=F(2))["W0"] == DORA["W0"]

    def test_starts_as_the_frozen_layer(self):
        """m = ||W0||: rows (3, 4), (5, 12); with B = 0 the merged weight is W0."""
        W0 = [[3, 4], [5, 12]]
        m = run("dora", "init", {"W0": W0}, rank=1)["m"]
        assert m == [5, 13]
        t = {"W0": W0, "m": m, "B": [[0], [0]], "A": [[7, 7]]}
        assert run("dora", "merge", t, rank=1, alpha=F(3))["W"] == W0

    def test_attached_gradient_is_the_slope(self):
        """Property 75: with the norm attached the gradient is that of the formula."""
        t = {**layer("dora"), "B": drawn("B", 2, 2), "A": drawn("A", 2, 3), "m": drawn("m", 2)}
        error = worst_slope_error("dora", t, ("X", "B", "A", "m"), rank=2, alpha=F(3), norm="attached")
        assert error < CLOSE

    def test_detached_gradient_misses_the_part_along_the_row(self):
        """Property 75: detached gV = c gW, attached gV = c (gW − (gW · u) u) with c = m / ||V|| and u = V / ||V||.

        With N = 1, X = gY = 1: gW is all ones.  Row 0: c = 2, u = (3, 4) / 5, gW · u = 7/5, so attached
        gV = 2 (1 − 21/25, 1 − 28/25) = (8/25, −6/25), detached (2, 2).  gA = s Bᵀ gV: rows 0 and 1 add, B = (1, 2).
        """
        t = {**DORA, "X": [[1, 1]], "gY": [[1, 1]]}
        found = {
            norm: run("dora", "backward", t, rank=1, alpha=F(2), norm=norm)
            for norm in ("detached", "attached")
        }
        u = (F(5, 13), F(12, 13))
        along = sum(u)
        second = [2 * (1 - along * x) for x in u]
        assert found["detached"]["gA"] == [[2 * (1 * 2 + 2 * 2)] * 2]
        assert found["attached"]["gA"] == [[2 * (F(8, 25) + 2 * second[0]), 2 * (F(-6, 25) + 2 * second[1])]]
        assert found["detached"]["gm"] == found["attached"]["gm"] == [F(7, 5), F(17, 13)]
        assert found["detached"]["gX"] == found["attached"]["gX"] == [[16, 32]]


class TestLoha:
    """By hand: (B1 A1) ⊙ (B2 A2) = [[1·5, 2·5], [3·7, 6·7]]."""

    def test_weight_and_back(self):
        """W0 + 1/2 of it; and unmerging gives W0 back."""
        merged = run("loha", "merge", LOHA, rank=1, alpha=F(1, 2))["W"]
        assert merged == [[F(5, 2), 6], [F(23, 2), 21]]
        assert run("loha", "unmerge", {**LOHA, "W": merged}, rank=1, alpha=F(1, 2))["W0"] == LOHA["W0"]

    def test_gradient_is_the_slope(self):
        """Every factor, and X."""
        shapes = {"B1": (2, 2), "A1": (2, 3), "B2": (2, 2), "A2": (2, 3)}
        t = {**layer("loha"), **{name: drawn(name, *shape) for name, shape in shapes.items()}}
        assert worst_slope_error("loha", t, ("X", *shapes), rank=2, alpha=F(3)) < CLOSE


class TestLokr:
    """By hand: (1 2) ⊗ (3; 4) = [[3, 6], [4, 8]]."""

    def test_full(self):
        """s = 3 / 2 although D is not factored."""
        merged = run("lokr", "merge", LOKR, rank=2, alpha=F(3), second="full")["W"]
        assert merged == [[F(9, 2), 9], [6, 22]]
        again = run("lokr", "unmerge", {**LOKR, "W": merged}, rank=2, alpha=F(3), second="full")
        assert again["W0"] == LOKR["W0"]

    def test_factored_is_full_with_the_product(self):
        """D = B A = (3; 4) · (1)."""
        t = {"C": LOKR["C"], "B": [[3], [4]], "A": [[1]], "W0": LOKR["W0"]}
        assert run("lokr", "merge", t, rank=1, alpha=F(3), second="factored") == run(
            "lokr", "merge", LOKR, rank=1, alpha=F(3), second="full"
        )

    @pytest.mark.parametrize("second", ["full", "factored"])
    def test_gradient_is_the_slope(self, second):
        """The tensors that are there, and X."""
        shapes = {"C": (2, 1), **({"D": (2, 3)} if second == "full" else {"B": (2, 2), "A": (2, 3)})}
        t = {**layer(f"lokr{second}", d=4), **{name: drawn(name, *shape) for name, shape in shapes.items()}}
        assert worst_slope_error("lokr", t, ("X", *shapes), rank=2, alpha=F(3), second=second) < CLOSE


class TestIa3:
    """By hand on W0 = [[1, 2], [3, 4]], l = (10, 100), x = (1, 1), b = (5, 6)."""

    def test_after_the_projection_the_bias_is_rescaled_too(self):
        """l ⊙ (W0 x + b) = (10 · 8, 100 · 13)."""
        assert run("ia3", "forward", IA3, feedforward=False)["Y"] == [[80, 1300]]

    def test_before_the_projection_it_is_not(self):
        """W0 (l ⊙ x) + b = (10 + 200 + 5, 30 + 400 + 6)."""
        assert run("ia3", "forward", IA3, feedforward=True)["Y"] == [[215, 436]]

    @pytest.mark.parametrize(
        ("feedforward", "W"), [(False, [[10, 20], [300, 400]]), (True, [[10, 200], [30, 400]])]
    )
    def test_merge_and_back(self, feedforward, W):
        """Rows, or columns."""
        assert run("ia3", "merge", IA3, feedforward=feedforward)["W"] == W
        back = run("ia3", "unmerge", {**IA3, "W": W}, feedforward=feedforward)
        assert back["W0"] == IA3["W0"]

    def test_starts_with_ones(self):
        """One for each output, or input."""
        W0 = [[1, 2, 3], [4, 5, 6]]
        assert run("ia3", "init", {"W0": W0}, feedforward=False)["l"] == [1, 1]
        assert run("ia3", "init", {"W0": W0}, feedforward=True)["l"] == [1, 1, 1]

    @pytest.mark.parametrize(("feedforward", "size"), [(False, 2), (True, 3)])
    def test_gradient_is_the_slope(self, feedforward, size):
        """gX and gl, with the bias inside."""
        t = {**layer("ia3"), "l": drawn("l", size)}
        assert worst_slope_error("ia3", t, ("X", "l"), feedforward=feedforward) < CLOSE


class TestOft:
    """By hand: Q = [[0, q], [−q, 0]] gives R = [[1 − q², −2q], [2q, 1 − q²]] / (1 + q²)."""

    def test_cayley_of_two(self):
        """At q = 1/2: [[3, −4], [4, 3]] / 5."""
        assert cayley(skew([F(1, 2)], 2)) == [[F(3, 5), F(-4, 5)], [F(4, 5), F(3, 5)]]

    def test_weight_of_two_blocks(self):
        """Each block of two columns is multiplied from the right; q = 0 turns nothing."""
        t = {"W0": [[5, 0, 1, 2], [0, 5, 3, 4]], "q": [[F(1, 2)], [0]]}
        W = run("oft", "merge", t, neumann=None)["W"]
        assert W == [[3, -4, 1, 2], [4, 3, 3, 4]]
        assert run("oft", "unmerge", {"W": W, "q": t["q"]}, neumann=None)["W0"] == t["W0"]

    def test_rotation_is_the_papers(self):
        """The paper: z = (R W)ᵀ x, W = W0ᵀ (k, d), R = (I + S)(I − S)⁻¹; so (R W)ᵀ = W0 Rᵀ, and S = Q."""
        S = skew([F(1, 2), F(-1, 3), F(2)], 3)
        one = skew([0, 0, 0], 3)
        plus, minus = (
            [[int(i == j) + sign * S[i][j] for j in range(3)] for i in range(3)] for sign in (1, -1)
        )
        R = transpose(cayley(S))  # claimed to be the paper's
        assert product(R, minus) == plus
        assert product(transpose(R), R) == [[int(i == j) + one[i][j] for j in range(3)] for i in range(3)]

    def test_side_transposed_takes_the_other_rotation(self):
        """−Q for Q."""
        t = {"W0": [[1, 2], [3, 4]], "q": [[F(1, 2)]]}
        minus = {**t, "q": [[F(-1, 2)]]}
        assert run("oft", "merge", t, side="transposed") == run("oft", "merge", minus)

    def test_five_terms(self):
        """I − 2Q + 2Q² − 2Q³ + Q⁴ by hand: Q² = −q² I.  They miss the Cayley transform by Q⁴ + O(Q⁵)."""
        q = F(1, 8)
        even, odd = 1 - 2 * q**2 + q**4, -2 * q + 2 * q**3
        found = neumann(skew([q], 2))
        assert found == [[even, odd], [-odd, even]]
        exact = cayley(skew([q], 2))
        assert abs(found[0][0] - exact[0][0]) < 2 * q**4
        assert abs(found[0][1] - exact[0][1]) < 3 * q**5

    def test_five_terms_are_undone_by_their_inverse(self):
        """They make no rotation, so the transpose would not do: unmerging gives W0 exactly."""
        t = {"W0": [[1, 2, 3], [4, 5, 6]], "q": [[F(1, 2), F(-1, 4), F(1, 8)]]}
        merged = run("oft", "merge", t, neumann=5)["W"]
        assert run("oft", "unmerge", {"W": merged, "q": t["q"]}, neumann=5)["W0"] == t["W0"]

    def test_sizes(self):
        """b (b − 1) / 2 numbers make a block of b; none makes one of 1."""
        assert [block_size(n) for n in (0, 1, 3, 6, 10)] == [1, 2, 3, 4, 5]
        assert run("oft", "merge", {"W0": [[2]], "q": [[]]})["W"] == [[2]]

    @pytest.mark.parametrize("neumann", [None, 5])
    def test_gradient_is_the_slope(self, neumann):
        """gX and gq, through the elimination and through the terms."""
        t = {**layer("oft"), "q": drawn("q", 1, 3)}
        assert worst_slope_error("oft", t, ("X", "q"), neumann=neumann) < CLOSE


@pytest.mark.parametrize("method", ["dora", "loha", "lokr", "ia3", "oft"])
def test_definitions_take_floats(method):
    """A definition works on floats as it does on Fractions."""
    t = {
        "X": [[1.0, 2.0]], "W0": [[1.0, 4.0], [1.0, 12.0]], "bias": [0.5, 0.25], "m": [10.0, 26.0],
        "B": [[1.0], [2.0]], "A": [[1.0, 0.0]], "B1": [[1.0], [3.0]], "A1": [[1.0, 2.0]], "B2": [[5.0], [7.0]],
        "A2": [[1.0, 1.0]], "C": [[1.0, 2.0]], "D": [[3.0], [4.0]], "l": [2.0, 0.5], "q": [[0.5]],
    }  # fmt: skip
    config = {"rank": 1, "alpha": 2.0, "second": "full", "feedforward": False}
    exact = run(
        method, "forward", {name: _fractions(x) for name, x in t.items()}, **{**config, "alpha": F(2)}
    )
    got = definition(method).operation("forward")(t, config)["Y"]
    assert got == [[pytest.approx(float(y), rel=1e-14) for y in row] for row in values(exact["Y"])]


def _fractions(x):
    return [_fractions(item) for item in x] if isinstance(x, list) else F(x)


def test_square_roots_that_are_irrational_are_computed_to_hundreds_of_bits():
    """√2² is 2 to 2⁻³⁰⁰."""
    from lora_np.conformance.exact.functions import precision

    with precision(320):
        m = run("dora", "init", {"W0": [[1, 1]]}, rank=1)["m"][0]
        assert abs(fraction_of(m) ** 2 - 2) < F(1, 2**300)
