"""Each check of prune/ is missed where it is gone: which error, and the words that name it; and each limit, exactly.

One row is one check: without it, nonsense would be computed, or a later step would complain of something else.
"""

import numpy as np
import pytest

from lora_np.errors import ConfigError, DTypeError, GroupError, RankError, ShapeError, StateError
from lora_np.lora import LoraParams
from lora_np.prune import activations, criteria, gradients, groups, masks, released, schedule, shrinking
from lora_np.prune.factored import Adapted, Product

ONES = np.ones
P = LoraParams(ONES((2, 1)), ONES((1, 3)))
SINGLE = LoraParams(*(x.astype(np.float32) for x in P))
W, NAN = ONES((2, 3)), float("nan")
CHANNELS = groups.channels(2, producers=["a"], consumers=["b"])
DRAWN = {"lr": 0.5, "scale": 1.0}


def scored(G, W=W):
    return lambda: criteria.importance(W, G, groups.rows(2))


def cubic(**changed):
    return lambda: schedule.cubic(**{"step": 1, "total": 10, "final": 0.5, **changed})


REFUSALS = {
    "bias with two axes": (lambda: activations.group_dot(W, W, bias=ONES((1, 3))), ShapeError, "bias has 2 axes"),
    "bias of another type": (
        lambda: activations.group_dot(W, W, bias=ONES(3, np.float32)), DTypeError, "bias is float32"),
    "columns of two widths": (
        lambda: activations.group_dot_columns(ONES((1, 3)), ONES((1, 2))), ShapeError, "X (1, 3) and gX (1, 2)"),
    "no rows at a time": (lambda: activations.group_dot(W, W, tile=0), ConfigError, "tile"),
    "outputs a list": (lambda: activations.group_dot([[1.0]], ONES((1, 1))), DTypeError, "gY"),
    "gradients of one factor": (lambda: gradients.estimated(P, (P.B,)), ConfigError, "g must be the pair"),
    "three sides": (lambda: groups.entries([], (2, 2, 2)), GroupError, "shape must be the pair"),
    "sides in a list": (lambda: groups.entries([], [2, 2]), GroupError, "shape must be the pair"),
    "groups to leave": (lambda: masks.mask_across({"a": ONES(2)}, 0.0, least=-1), ConfigError, "least"),
    "released: half a step": (lambda: released.outcome([2], 0.5, total=2.5), ConfigError, "got float 2.5"),
    "form of importance": (lambda: criteria.importance(W, W, groups.rows(2), form="sum"), ConfigError, "form"),
    "form of line sums": (lambda: criteria.line_sums(W, W, axis=0, form="sum"), ConfigError, "form"),
    "form of a sum of sums": (
        lambda: criteria.importance_from_sums({"W": ONES(2)}, groups.rows(2), form="sum"), ConfigError, "form"),
    "sums of two types": (
        lambda: criteria.group_sums({"a": ONES(2), "b": ONES(2, np.float32)}, CHANNELS), DTypeError, "b is float32"),
    "sums with two axes": (
        lambda: criteria.group_sums({"W": ONES((2, 1))}, groups.rows(2)), ShapeError, "the sums of 'W' has 2 axes"),
    "no gradient of several parts": (
        lambda: criteria.importance({"a": W.T, "b": W}, None, CHANNELS), StateError, "G is None"),
    "U with one axis": (scored(Product(ONES(2), ONES((1, 3)))), ShapeError, "G.U has 1 axes"),
    "V with three axes": (scored(Product(ONES((2, 1)), ONES((1, 3, 1)))), ShapeError, "G.V has 3 axes"),
    "U and V of two types": (
        scored(Product(ONES((2, 1)), ONES((1, 3), np.float32))), DTypeError, "G.V is float32"),
    "frozen weight with one axis": (scored(W, Adapted(ONES(2), P, 1.0)), ShapeError, "W.W0 has 1 axes"),
    "factors of another type": (scored(W, Adapted(W, SINGLE, 1.0)), DTypeError, "B is float32"),
    "scale NaN": (scored(W, Adapted(W, P, NAN)), ConfigError, "scale"),
    "gY a list": (lambda: gradients.exact([[1.0]], ONES((1, 3))), DTypeError, "gY"),
    "X a single number": (lambda: gradients.exact(ONES((1, 2)), np.float64(1.0)), ShapeError, "X has no axes"),
    "rate of the estimate": (lambda: gradients.estimated(P, P, lr=NAN), ConfigError, "lr"),
    "scale of the last step": (
        lambda: gradients.from_previous_step(P, P, lr=1.0, scale=NAN), ConfigError, "scale"),
    "rate of the last step": (
        lambda: gradients.from_previous_step(P, P, lr=0.0, scale=1.0), ConfigError, "lr"),
    "factors of two ranks": (
        lambda: gradients.estimated(LoraParams(ONES((2, 2)), P.A), LoraParams(ONES((2, 2)), P.A)), RankError, "rank 2"),
    "gradient of B with three axes": (
        lambda: gradients.estimated(P, LoraParams(ONES((2, 1, 1)), P.A)), ShapeError, "g.B has 3 axes"),
    "gradient of B says its letters": (
        lambda: gradients.estimated(P, LoraParams(ONES((2, 1, 1)), P.A)), ShapeError, "(d, r)"),
    "gradient of A says its letters": (
        lambda: gradients.estimated(P, LoraParams(P.B, ONES(3))), ShapeError, "(r, k)"),
    "count of groups": (lambda: groups.Groups(-1, {"W": groups.Part(ONES(2, int))}), ConfigError, "count"),
    "size of a head": (lambda: groups.attention(2, 0), ConfigError, "head_dim"),
    "length of an axis": (lambda: groups.index_sets([], -1), ConfigError, "length"),
    "sides of a matrix": (lambda: groups.entries([], (2, -1)), ConfigError, "k must"),
    "an index of two kinds": (lambda: groups.entries([[(0, True)]], (2, 2)), GroupError, "expected 2 int(s)"),
    "width of blocks": (lambda: groups.heads(2.0, 1), ConfigError, "width"),
    "count of blocks": (lambda: groups.heads(2, 1.0), ConfigError, "count"),
    "groups to prune": (lambda: masks.pruned_count(-1, 0.5), ConfigError, "the number of groups"),
    "a masked matrix with three axes": (
        lambda: masks.masked({"a": ONES((2, 1, 1)), "b": W[:, :2]}, CHANNELS, np.array([True, False])),
        ShapeError, "a has 3 axes"),
    "released: average a list": (lambda: released.update([0.0], ONES(1)), DTypeError, "average"),
    "released: scores a list": (lambda: released.update(ONES(1), [0.0]), DTypeError, "scores"),
    "released: two types": (
        lambda: released.update(ONES(1), ONES(1, np.float32)), DTypeError, "scores is float32"),
    "released: target": (
        lambda: released.prune_once(ONES(2), ONES(2, bool), 0.5, target=NAN), ConfigError, "target"),
    "released: no steps": (lambda: released.outcome([2], 0.5, total=0), ConfigError, "total"),
    "released: never": (lambda: released.outcome([2], 0.5, total=9, every=0), ConfigError, "every"),
    "released: one count negative": (lambda: released.outcome([1, -1], 0.5, total=9), ConfigError, "counts"),
    "scores a list": (lambda: schedule.moving_average(None, [1.0]), DTypeError, "scores"),
    "average a list": (lambda: schedule.moving_average([1.0], ONES(1)), DTypeError, "average"),
    "average to mend a list": (lambda: schedule.debiased([1.0], decay=0.5, steps=1), DTypeError, "average"),
    "decay to mend": (lambda: schedule.debiased(ONES(1), decay=1.0, steps=1), ConfigError, "decay"),
    "cool-down negative": (cubic(cooldown=-0.5), ConfigError, "cooldown"),
    "factors to shrink": (
        lambda: shrinking.shrink(LoraParams(ONES((2, 2)), P.A), groups.rows(2), np.array([True, False])),
        RankError, "rank 2"),
    "a list to shrink": (
        lambda: shrinking.shrink([1.0, 2.0], groups.rows(2), np.array([True, False])), DTypeError, "W"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSALS)
def test_each_check_names_its_argument(row):
    call, error, words = REFUSALS[row]
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)


JUST_ABOVE_ONE, ALMOST_NOTHING = 1.0 + 1e-8, 1e-9
BEYOND = {
    "released ratio": lambda: released.prune_once(ONES(2), ONES(2, bool), JUST_ABOVE_ONE, target=0.5),
    "released target": lambda: released.prune_once(ONES(2), ONES(2, bool), 0.5, target=JUST_ABOVE_ONE),
    "decay": lambda: schedule.debiased(ONES(1), decay=JUST_ABOVE_ONE, steps=1),
    "initial": cubic(initial=JUST_ABOVE_ONE, final=0.5),
    "final": cubic(final=JUST_ABOVE_ONE),
    "warm-up": cubic(warmup=JUST_ABOVE_ONE),
    "cool-down": cubic(cooldown=JUST_ABOVE_ONE),
}


@pytest.mark.parametrize("row", BEYOND)
def test_a_limit_is_met_to_the_last_digits(row):
    with pytest.raises(ConfigError, match="must lie in"):
        BEYOND[row]()


def test_what_lies_on_a_limit_is_allowed():
    tiny = gradients.from_previous_step(P, LoraParams(2 * P.B, P.A), lr=ALMOST_NOTHING, scale=1.0)
    np.testing.assert_allclose(tiny, -ONES((2, 3)) / ALMOST_NOTHING, rtol=1e-15)
    assert groups.attention(1, 2).count == 1
    assert groups.index_sets([], 0).count == 0
    assert groups.entries([], (0, 2)).count == 0
    assert groups.entries([], (2, 0)).count == 0
    assert released.outcome([0], 0.5, total=1, every=1) == ([0], 0.0)
    assert released.outcome([4], 0.5, total=10, every=10)[1] == 0.0  # no step lies between
    kept = released.prune_once(ONES(3), ONES(3, bool), 0.0, target=0.5)
    assert kept.all()
    assert released.prune_once(ONES(3), np.array([True, False, True]), 0.9, target=0.0).sum() == 2
    assert gradients.exact(np.array([1.0, 2.0]), np.array([3.0])).tolist() == [
        [3.0],
        [6.0],
    ]  # one row, no batch axis
    assert schedule.cubic(0.0, total=ALMOST_NOTHING, final=0.5) == 0.0
    assert schedule.cubic(0.0, total=1.0, final=ALMOST_NOTHING, warmup=ALMOST_NOTHING) == 0.0


def test_the_bias_is_taken_from_the_last_axis_of_a_batch_of_sequences():
    """[prune-group-dot] with two batch axes: the width is the last one, not the second."""
    rng = np.random.default_rng(4)
    Y, bias = rng.integers(-3, 4, size=(2, 3, 4)).astype(float), np.array([1.0, 2.0, 3.0, 4.0])
    by_hand = [sum((Y[a, n, i] - bias[i]) for a in range(2) for n in range(3)) for i in range(4)]
    assert activations.group_dot(np.ones_like(Y), Y, bias=bias).tolist() == by_hand


def test_ties_of_many_groups_leave_by_lowest_index():
    """[prune-mask] with so many equal scores that an unstable sort would mix them."""
    equal = ONES(1000)
    assert masks.mask(equal, 0.3).tolist() == [i >= 300 for i in range(1000)]
    levels = np.tile([2.0, 1.0], 500)
    want = [bool(i % 2 == 0 or i >= 600) for i in range(1000)]
    assert masks.mask(levels, 0.3).tolist() == want
    assert released.prune_once(levels, ONES(1000, bool), 0.3, target=0.5).tolist() == want


def test_released_scores_of_the_size_of_the_small_constant():
    """[prune-released]: σ / (‖σ‖ + 1e-8) where both terms count."""
    small = LoraParams(np.array([[3e-8], [4e-8]]), np.zeros((1, 1)))
    p = LoraParams(np.zeros((2, 1)), ONES((1, 1)))
    scores = released.module_scores(ONES((2, 1)), p, small, groups.Part(np.arange(2)), 2, scale=1.0)
    np.testing.assert_allclose(scores, [0.5, 4 / 6], rtol=4e-16)


def test_released_update_of_no_groups():
    assert released.update(np.zeros(0), np.zeros(0)).shape == (0,)


def test_released_last_ratio_is_that_of_the_last_step_below_the_target():
    """[prune-cubic] without warm-up and cool-down: the last step but one prunes, the last has reached the target."""
    _, last = released.outcome([10], 0.5, total=10, every=1, warmup=0.0, cooldown=0.0)
    assert last == pytest.approx(0.5 * (1 - (1 / 10) ** 3), rel=1e-15)


def test_the_schedule_starts_at_the_initial_share_exactly():
    """[prune-cubic]: rounding of final + (initial − final) is not seen at the start."""
    start = {(a, b): b + (a - b) for a in np.arange(1, 60) / 64.1 for b in np.arange(1, 64) / 64.3 if a <= b}
    moved = [(a, b) for (a, b), rounded in start.items() if rounded > a]
    assert moved, "there are shares where rounding shows"
    for initial, final in moved:
        assert schedule.cubic(1, total=10, initial=initial, final=final, warmup=0.1) == initial
