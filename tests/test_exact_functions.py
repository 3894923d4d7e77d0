"""Irrational functions, the tape, and small linear algebra: against mpmath, finite differences, autograd and LAPACK."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from autograd import grad
from autograd import numpy as anp
from hypothesis import given
from hypothesis import strategies as st

from lora_np.conformance.exact import functions
from lora_np.conformance.exact.functions import precision
from lora_np.conformance.exact.linear import frobenius, inverse, orthogonal, projector, signed, singular
from lora_np.conformance.exact.loops import each, product, transpose
from lora_np.conformance.exact.number import Exact, high_precision
from lora_np.conformance.exact.tape import Taped, gradients, plain
from lora_np.errors import BackendError

POINTS = st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3)


@pytest.mark.parametrize("name", ["exp", "tanh", "erf"])
@given(x=POINTS)
def test_functions_agree_with_mpmath_on_all_kinds_of_number(name, x):
    f, true = getattr(functions, name), getattr(mpmath, name)
    with precision(200):
        exact = f(Exact.of(x))
        assert abs(exact.value - true(mpmath.mpf(x))) <= mpmath.mpf(2) ** -190 * abs(exact.value)
        assert exact.size >= abs(exact.value)
        assert f(Taped(Exact.of(x))).value.value == exact.value
    assert math.isclose(f(x), float(exact.value), rel_tol=1e-14)


@pytest.mark.parametrize("name", ["exp", "tanh", "erf", "sqrt", "relu"])
@given(x=POINTS)
def test_slopes_agree_with_high_precision_differences(name, x):
    f, x = getattr(functions, name), abs(x) if name == "sqrt" else x
    with precision(400):
        taped = Taped(Exact.of(x))
        (slope,) = gradients([f(taped)], [Exact.of(1)], [taped])
        h = mpmath.mpf(2) ** -100
        there = f(Exact(mpmath.mpf(x) + h, 1.0)).value
        here = f(Exact(mpmath.mpf(x) - h, 1.0)).value
        slope = slope.value if isinstance(slope, Exact) else slope
        difference = (high_precision(there) - high_precision(here)) / (2 * h)
        assert (
            abs(difference - slope) < mpmath.mpf(2) ** -80
        )  # the error of a central difference is of order h²


def test_roots_of_squares_stay_rational_and_others_do_not():
    with precision(200):
        assert functions.sqrt(Exact.of(2.25)).value == 1.5
        assert isinstance(functions.sqrt(Exact.of(2)).value, mpmath.mpf)
        assert functions.sqrt(Exact(mpmath.mpf(4), 4.0)).value == 2
        assert functions.sqrt(Exact.of(0)).size == 0
    assert functions.sqrt(2.25) == 1.5


def test_signs_and_positive_parts():
    for kind in (float, Exact.of, lambda x: Taped(Exact.of(x)), lambda x: Taped(float(x))):
        assert signed(plain(functions.absolute(kind(-2)))) == 2
        assert signed(plain(functions.absolute(kind(2)))) == 2
        assert signed(plain(functions.relu(kind(-2)))) == 0
        assert signed(plain(functions.relu(kind(2)))) == 2
        assert functions.positive(kind(2))
        assert not functions.positive(kind(-2))


def test_without_mpmath_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mpmath", None)
    with pytest.raises(BackendError, match=r"lora-np\[vectors\]"), precision(100):
        pass


# ---- the tape -----------------------------------------------------------------------------------------------


def sample_formula(x, y, xp):
    """All operations in both orders, on numbers of any kind."""
    z = x * y + 2 - x / y
    return (3 - z) * z / 5 + 2 / x - (x - 1.5) * 0.25 + (-y) + (1 + y) * x


@given(POINTS, POINTS)
def test_gradients_agree_with_autograd(x, y):
    a, b = Taped(x), Taped(y)
    found = gradients([sample_formula(a, b, None)], [1.0], [a, b])
    want = [grad(sample_formula, argnum)(x, y, anp) for argnum in (0, 1)]
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-9)


def test_gradients_of_what_is_off_the_tape_and_of_what_nothing_uses():
    x, unused = Taped(2.0), Taped(5.0)
    assert gradients([x * x, 7.0], [1.0, 1.0], [x, unused]) == [4.0, 0]


def test_a_detached_operand_is_a_constant():
    x = Taped(3.0)
    assert gradients([x * plain(x)], [1.0], [x]) == [3.0]
    assert plain(4) == 4


def test_a_long_chain_needs_no_recursion():
    x = y = Taped(1.0)
    for _ in range(5000):
        y = y + 1.0
    assert gradients([y], [1.0], [x]) == [1.0]


def test_a_shared_operand_collects_every_share():
    x = Taped(2.0)
    y = x * x
    assert gradients([y + y, y], [1.0, 10.0], [x]) == [48.0]


# ---- linear algebra -----------------------------------------------------------------------------------------


def exact(M):
    return each(Exact.of, np.asarray(M, dtype=float).tolist())


@given(st.integers(1, 4), st.integers(0, 50))
def test_an_inverse_is_exact(n, seed):
    M = np.random.default_rng(seed).integers(-9, 9, (n, n)) + 20 * np.eye(n)
    identity = product(exact(M), inverse(exact(M)))
    assert each(signed, identity) == np.eye(n).tolist()
    np.testing.assert_allclose(inverse(M.tolist()), np.linalg.inv(M), rtol=1e-9, atol=1e-12)


def test_an_inverse_takes_a_pivot_that_is_not_zero():
    assert inverse([[0.0, 1.0], [2.0, 0.0]]) == [[0.0, 0.5], [1.0, 0.0]]
    with pytest.raises(ZeroDivisionError):
        inverse([[1.0, 1.0], [1.0, 1.0]])


@given(st.integers(0, 50))
def test_a_projector_is_idempotent_symmetric_and_keeps_what_it_projects_on(seed):
    far_apart = np.array([[20, 0, 0, 0], [0, 20, 0, 0]])
    columns = exact(np.random.default_rng(seed).integers(-9, 9, (2, 4)) + far_apart)
    P = projector(columns)
    assert each(signed, product(P, P)) == each(signed, P)
    assert each(signed, transpose(P)) == each(signed, P)
    assert each(signed, product(columns, P)) == each(signed, columns)
    first, second = orthogonal(columns)
    assert sum(signed(a * b) for a, b in zip(first, second, strict=True)) == 0


def test_singular_values_and_vectors_are_lapack_s_up_to_sign():
    M = np.random.default_rng(0).normal(size=(4, 3))
    with precision(200):
        U, sigma, V = singular(exact(M))
    np.testing.assert_allclose([float(x) for x in sigma], np.linalg.svd(M, compute_uv=False), rtol=1e-13)
    rebuilt = sum(
        float(s) * np.outer(np.array(u, float), np.array(v, float))
        for u, s, v in zip(U, sigma, V, strict=True)
    )
    np.testing.assert_allclose(rebuilt, M, rtol=1e-13)
    assert math.isclose(frobenius(exact(M)), np.linalg.norm(M))
