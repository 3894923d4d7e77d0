"""The cubic schedule and the running average, each against its own formula in exact numbers."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.errors import ConfigError, DTypeError, NonFiniteError, ShapeError
from lora_np.prune import schedule
from tests.naive import prune as naive


class TestCubic:
    """Property 69.  [prune-cubic]"""

    def test_endpoints_clamps_and_a_value_by_hand(self):
        """At half of T = 100 with w = c = 0.1: 1 − 40/80 = 1/2, and 0.5 (1 − 1/8) = 0.4375."""
        plan = {"total": 100, "final": 0.5, "initial": 0.2}
        assert [schedule.cubic(t, **plan) for t in (0, 5, 10)] == [0.2] * 3
        assert [schedule.cubic(t, **plan) for t in (90, 95, 100, 1000)] == [0.5] * 4
        assert schedule.cubic(50, total=100, final=0.5) == 0.4375

    @given(
        st.integers(1, 400),
        st.sampled_from([0.0, 0.1, 0.25]),
        st.sampled_from([0.3, 0.5, 0.9]),
        st.sampled_from([0.0, 0.1, 0.3]),
        st.sampled_from([0.0, 0.1, 0.6]),
    )
    def test_rises_without_jumps_and_follows_the_formula(self, total, initial, final, warmup, cooldown):
        words = {"total": total, "initial": initial, "final": final, "warmup": warmup, "cooldown": cooldown}
        values = [schedule.cubic(t / 4, **words) for t in range(4 * total + 1)]
        steepest = 3 * (final - initial) / ((1 - warmup - cooldown) * total)
        for t, (one, two) in enumerate(pairwise(values)):
            assert 0 <= two - one <= steepest / 4 + 1e-12
            exact = (Fraction(str(x)) for x in (final, initial, warmup, cooldown))
            assert abs(one - naive.cubic(Fraction(t, 4), total, *exact)) <= 1e-13

    def test_a_share_of_zero_is_a_schedule_too(self):
        assert schedule.cubic(3, total=10, final=0.0) == 0.0
        assert schedule.cubic(0, total=10, final=0.5, warmup=0.0) == 0.0
        assert schedule.cubic(10, total=10, final=0.5, cooldown=0.0) == 0.5

    def test_what_cannot_be(self):
        for words, message in [
            ({"total": 0}, "total"),
            ({"final": 1.0}, "final"),
            ({"final": np.nan}, "final"),
            ({"initial": -0.1}, "initial"),
            ({"initial": 0.6}, "initial 0.6 exceeds final 0.5: pruned groups do not come back"),
            ({"warmup": 0.5, "cooldown": 0.5}, "leave no steps between them"),
            ({"warmup": "0.1"}, "warmup"),
            ({"cooldown": 1.0}, "cooldown"),
        ]:
            with pytest.raises(ConfigError, match=message):
                schedule.cubic(1, **({"total": 10, "final": 0.5} | words))
        with pytest.raises(ConfigError, match="step"):
            schedule.cubic(-1, total=10, final=0.5)


class TestMovingAverage:
    """Property 68.  [prune-ema]"""

    @given(st.lists(st.integers(-8, 8), min_size=1, max_size=20), st.sampled_from([0.0, 0.5, 0.75]))
    def test_equals_its_closed_form(self, scores, decay):
        """Ḡ_t = (1 − λ) Σ_i λ^(t − i) Ĝ_i: exact, with λ a power of two over 1 and small integers."""
        average = None
        for score in scores:
            average = schedule.moving_average(average, np.array([float(score)]), decay=decay)
        t, decay = len(scores), Fraction(decay)
        want = (1 - decay) * sum(decay ** (t - 1 - i) * score for i, score in enumerate(scores))
        assert abs(Fraction(float(average[0])) - want) <= Fraction(2.0**-53) * 64
        if all(score == scores[0] for score in scores):
            debiased = schedule.debiased(average, decay=float(decay), steps=t)[0]
            assert abs(debiased - scores[0]) <= 1e-14 * abs(scores[0])

    def test_default_is_nine_to_one_from_zero(self):
        first = schedule.moving_average(None, np.array([10.0]))
        second = schedule.moving_average(first, np.array([20.0]))
        np.testing.assert_allclose([first[0], second[0]], [1.0, 0.9 + 2.0], rtol=1e-15)

    def test_starting_at_zero_changes_no_ranking(self, rng):
        average = None
        for step in range(1, 6):
            average = schedule.moving_average(average, rng.random(9))
            debiased = schedule.debiased(average, decay=0.9, steps=step)
            assert (np.argsort(average) == np.argsort(debiased)).all()

    def test_runs_on_every_array_library(self, library):
        average = schedule.moving_average(None, library.asarray(np.array([8.0, 4.0])), decay=0.5)
        average = schedule.moving_average(average, library.asarray(np.array([0.0, 4.0])), decay=0.5)
        assert library.to_numpy(average).tolist() == [2.0, 3.0]
        assert library.to_numpy(schedule.debiased(average, decay=0.5, steps=2)).tolist() == [8 / 3, 4.0]

    def test_a_nan_is_refused_before_it_is_stored(self):
        before = np.ones(2)
        with pytest.raises(NonFiniteError, match="scores holds 1 non-finite value"):
            schedule.moving_average(before, np.array([1.0, np.nan]))
        assert before.tolist() == [1, 1]

    def test_what_cannot_be(self):
        with pytest.raises(ConfigError, match="decay"):
            schedule.moving_average(None, np.ones(2), decay=1.0)
        with pytest.raises(ShapeError, match=r"scores have shape \(3,\), expected \(2,\)"):
            schedule.moving_average(np.ones(2), np.ones(3))
        with pytest.raises(DTypeError, match="promote"):
            schedule.moving_average(np.ones(2), np.ones(2, np.float32))
        with pytest.raises(ConfigError, match="steps"):
            schedule.debiased(np.ones(2), decay=0.9, steps=0)
