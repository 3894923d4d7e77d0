"""Exact numbers and their bounds: values against Fractions, the bound against float arithmetic that it must cover."""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lora_np.conformance.definitions import definition
from lora_np.conformance.exact import functions
from lora_np.conformance.exact.functions import of_kind, precision
from lora_np.conformance.exact.loops import dot, each, flat, product, shaped, total, transpose
from lora_np.conformance.exact.number import Exact, high_precision
from lora_np.conformance.exact.rounding import fraction_of, unit

FINITE = st.floats(-1e6, 1e6, allow_subnormal=False, width=32)
KINDS = {"float32": np.float32, "float64": np.float64}


# ---- values -------------------------------------------------------------------------------------------------


@given(FINITE, FINITE, FINITE)
def test_values_are_those_of_rational_arithmetic(a, b, c):
    x, y, z = Exact.of(a), Exact.of(b), Exact.of(c)
    assert (x + y * z - 3).value == Fraction(a) + Fraction(b) * Fraction(c) - 3
    assert (2 - x).value == 2 - Fraction(a)
    assert (-x).value == -Fraction(a)
    assume(b != 0)
    assert (x / y).value == Fraction(a) / Fraction(b)
    assert (1 / y).value == 1 / Fraction(b)


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=6), st.randoms())
def test_the_size_of_a_dot_product_is_that_of_absolute_values_in_any_order(pairs, random):
    """S = Σ |x||y| and K = n, as the textbook bound has them."""
    numbers = [(Exact.of(x), Exact.of(y)) for x, y in pairs]
    random.shuffle(numbers)
    result = dot(*zip(*numbers, strict=True))
    assert result.value == sum(Fraction(x) * Fraction(y) for x, y in pairs)
    assert math.isclose(result.size, sum(abs(x * y) for x, y in pairs), rel_tol=1e-12)
    assert result.roundings == len(pairs)


def test_a_number_that_is_none_is_left_to_python():
    with pytest.raises(TypeError):
        Exact.of(1) + "1"
    with pytest.raises(TypeError):
        Exact.of(1) - "1"
    with pytest.raises(TypeError):
        Exact.of(1) * "1"
    with pytest.raises(TypeError):
        Exact.of(1) / "1"


def test_rationals_join_high_precision_numbers_without_loss():
    with precision(200):
        third, root = Exact.of(Fraction(1, 3)), functions.sqrt(Exact.of(2))
        for mixed in (third + root, root + third):
            assert abs(mixed.value - (mpmath.mpf(1) / 3 + mpmath.sqrt(2))) < mpmath.mpf(2) ** -195
        assert high_precision(root.value) is root.value
    assert repr(Exact.of(0.5)) == "Exact(0.5, S=0.5, K=0)"


# ---- the bound ----------------------------------------------------------------------------------------------


@st.composite
def expressions(draw, depth=4):
    """A function of a list of numbers: sums, products, quotients and roots, nested."""
    if depth == 0 or draw(st.booleans()):
        index = draw(st.integers(0, 5))
        return lambda numbers: numbers[index]
    left, right = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    kind = draw(st.sampled_from(["+", "-", "*", "/", "sqrt", "tanh", "exp", "erf"]))
    return {
        "+": lambda numbers: left(numbers) + right(numbers),
        "-": lambda numbers: left(numbers) - right(numbers),
        "*": lambda numbers: left(numbers) * right(numbers),
        "/": lambda numbers: left(numbers) / right(numbers),
        "sqrt": lambda numbers: functions.sqrt(
            left(numbers) * left(numbers) + right(numbers) * right(numbers)
        ),
        "tanh": lambda numbers: functions.tanh(left(numbers)),
        "exp": lambda numbers: functions.exp(functions.tanh(left(numbers))),
        "erf": lambda numbers: functions.erf(left(numbers)),
    }[kind]


@given(
    expressions(),
    st.lists(st.floats(0.25, 4, width=32), min_size=6, max_size=6),
    st.lists(st.sampled_from([-1, 1]), min_size=6, max_size=6),
)
@settings(max_examples=60)
def test_no_float_evaluation_exceeds_the_bound(formula, magnitudes, signs):
    """|computed − true| ≤ γ(K) S, for float64, wherever the operands of quotients are known to a digit or so."""
    numbers = [m * s for m, s in zip(magnitudes, signs, strict=True)]
    with precision(200):
        try:
            true = formula([Exact.of(x) for x in numbers])
        except ZeroDivisionError:
            assume(False)
        assume(true.size < 1e12)  # no quotient by what cancellation has left nothing of
        computed = Fraction(float(formula(numbers)))
        u, K = 2.0**-53, true.roundings
        bound = K * u / (1 - K * u) * true.size + 2.0**-1000
        assert abs(computed - fraction_of(true.value)) <= Fraction(bound)


SMALL = st.integers(1, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("lora", "forward"),
        ("rslora", "forward"),
        ("lora", "backward"),
        ("rslora", "backward"),
        ("lora", "merge"),
    ],
)
@given(SMALL, SMALL, SMALL, SMALL, st.integers(0, 10**6))
@settings(max_examples=15)
def test_plain_loops_in_float_never_exceed_k_u_s(kind, method, operation, N, d, k, r, seed):
    """The bound of every case: the definition run on floats stays within K u S of its run on exact numbers."""
    float_type, random = KINDS[kind], Random(seed)
    shapes = {"X": (N, k), "W0": (d, k), "B": (d, r), "A": (r, k), "bias": (d,), "gY": (N, d)}

    def drawn(shape):
        size = math.prod(shape)
        return shaped(
            [float_type(random.uniform(-2, 2) * 2 ** random.randint(-8, 8)) for _ in range(size)], shape
        )

    tensors, alpha = (
        {name: drawn(shape) for name, shape in shapes.items()},
        float_type(random.uniform(0.1, 9)),
    )
    formula = definition(method).operation(operation)
    with precision(200):
        exact = {name: each(lambda x: Exact.of(float(x)), array) for name, array in tensors.items()}
        true = formula(exact, {"rank": r, "alpha": Exact.of(float(alpha))})
    computed = formula(tensors, {"rank": r, "alpha": alpha})
    assert computed.keys() == true.keys()
    for name in true:
        for got, want in zip(flat(computed[name]), flat(true[name]), strict=True):
            limit = want.roundings * unit(kind) / (1 - want.roundings * unit(kind)) * want.size
            assert abs(Fraction(float(got)) - fraction_of(want.value)) <= Fraction(limit)


def test_the_bound_is_not_loose_either():
    """A sum of n equal terms in float32 comes within a small factor of it: the bound can tell float32 from float64."""
    n = 200
    exact = total(Exact.of(float(np.float32(0.1))) for _ in range(n))
    computed = np.float32(0)
    for _ in range(n):
        computed += np.float32(0.1)
    gap = abs(float(computed) - float(exact.value))
    assert 2.0**-24 * exact.size < gap < exact.roundings * 2.0**-24 * exact.size


# ---- loops --------------------------------------------------------------------------------------------------


@given(SMALL, SMALL, SMALL)
def test_products_and_transposes_are_those_of_numpy(m, n, q):
    rng = np.random.default_rng(m + 10 * n + 100 * q)
    M, P = rng.integers(-9, 9, (m, n)), rng.integers(-9, 9, (n, q))
    assert product(M.tolist(), P.tolist()) == (M @ P).tolist()
    assert transpose(M.tolist()) == M.T.tolist()
    assert shaped(flat(M.tolist()), (m, n)) == M.tolist()


def test_loops_over_nothing():
    assert total([]) == 0
    assert product([[], []], [], columns=3) == [[0, 0, 0], [0, 0, 0]]
    assert shaped([], (0, 3)) == []
    assert shaped([7], ()) == 7
    assert transpose([]) == []


def test_a_count_becomes_a_number_of_the_kind_in_use():
    assert isinstance(of_kind(3, Exact.of(1)), Exact)
    assert isinstance(of_kind(3, 1.5), float)
