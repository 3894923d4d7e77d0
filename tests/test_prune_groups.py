"""Groups: their labels, sums over them, and every way to write one that cannot be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.errors import ConfigError, GroupError, ShapeError
from lora_np.prune import Groups, Part, group_sums, groups, sum_by_label
from tests.naive import prune as naive


def sizes(made):
    """How many lines each group has in each part."""
    return {
        name: np.bincount(part.labels, minlength=made.count).tolist() for name, part in made.parts.items()
    }


class TestUsualGroups:
    def test_rows_and_columns_are_one_line_each(self):
        assert sizes(groups.rows(4)) == {"W": [1, 1, 1, 1]}
        assert groups.rows(4).parts["W"].axis == 0
        assert groups.columns(3, name="down").parts["down"].axis == 1

    def test_heads_are_consecutive_blocks(self):
        assert groups.heads(12, 3).parts["W"].labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert groups.heads(12, 3, axis=1, name="o").parts["o"].axis == 1

    def test_a_head_spans_rows_of_q_k_v_and_columns_of_o(self):
        made = groups.attention(4, 3)
        assert made.count == 4
        assert sizes(made) == {name: [3, 3, 3, 3] for name in "qkvo"}
        assert [made.parts[name].axis for name in "qkvo"] == [0, 0, 0, 1]

    def test_query_heads_that_share_a_key_value_head_leave_together(self):
        """Llama-3-8B: 32 query heads of 128 rows, 8 key-value heads: a group is 4 query heads and one of k and v."""
        made = groups.attention(32, 128, kv_count=8)
        assert made.count == 8
        assert {name: (len(part.labels), part.axis) for name, part in made.parts.items()} == {
            "q": (4096, 0),
            "k": (1024, 0),
            "v": (1024, 0),
            "o": (4096, 1),
        }
        assert sizes(made) == {"q": [512] * 8, "k": [128] * 8, "v": [128] * 8, "o": [512] * 8}

    def test_a_channel_spans_its_producers_and_consumers(self):
        made = groups.channels(5, producers=["W1"], consumers=["W2", "W3"])
        assert {name: part.axis for name, part in made.parts.items()} == {"W1": 0, "W2": 1, "W3": 1}
        assert all(part.labels.tolist() == [0, 1, 2, 3, 4] for part in made.parts.values())

    def test_nothing_to_group_is_no_groups(self):
        assert groups.rows(0).count == 0
        assert groups.index_sets([], 3).parts["W"].labels.tolist() == [-1, -1, -1]

    def test_labels_are_copied_and_cannot_be_written(self):
        mine = np.array([0, 1])
        part = Part(mine)
        mine[0] = 1
        assert part.labels.tolist() == [0, 1]
        with pytest.raises(ValueError, match="read-only"):
            part.labels[0] = 1


class TestSums:
    """Sums over labels, against a loop.  [prune-group-sum]"""

    @given(st.lists(st.integers(-1, 6), max_size=30), st.integers(0, 2**32 - 1))
    def test_equal_a_loop_and_leave_the_free_out(self, labels, seed):
        values = np.random.default_rng(seed).integers(-9, 10, size=len(labels)).astype(float)
        want = [sum(v for v, g in zip(values, labels, strict=True) if g == group) for group in range(7)]
        assert sum_by_label(values, Part(labels), 7).tolist() == want

    def test_a_nan_stays_in_its_group(self):
        got = sum_by_label(np.array([1.0, np.nan, 2.0, np.inf]), Part([0, 1, 0, 2]), 3)
        assert got[0] == 3
        assert np.isnan(got[1])
        assert got[2] == np.inf

    def test_run_on_every_array_library(self, library, rng):
        values = {"W1": np.arange(6.0), "W2": np.array([10.0, 20.0, 30.0])}
        made = Groups(3, {"W1": Part([2, -1, 0, 0, 1, 2]), "W2": Part([0, 1, 2], axis=1)})
        got = group_sums({name: library.asarray(x) for name, x in values.items()}, made)
        assert library.to_numpy(got).tolist() == [15, 24, 35]

    def test_no_labels_and_no_groups(self):
        assert sum_by_label(np.zeros(0), Part([]), 0).shape == (0,)
        assert sum_by_label(np.zeros(2), Part([-1, -1]), 0).shape == (0,)

    def test_entries_of_labels_agree_with_the_loops(self):
        made = groups.index_sets([[3, 0], [2]], 4, axis=1)
        parts = {name: (part.labels.tolist(), part.axis) for name, part in made.parts.items()}
        found = naive.entries_of_groups(parts, 2, {"W": (2, 4)})
        assert sorted(found[0]) == [("W", 0, 0), ("W", 0, 3), ("W", 1, 0), ("W", 1, 3)]
        assert sorted(found[1]) == [("W", 0, 2), ("W", 1, 2)]


class TestBadInput:
    """Row 39: out of range, empty, repeated, overlapping; the message has the index and the group."""

    def test_index_sets(self):
        cases = {
            r"group 1 holds index 4, out of range for shape \(4,\)": [[0], [4]],
            r"group 0 holds index -1, out of range": [[-1]],
            "group 1 is empty": [[0], []],
            "group 0 holds index 2 twice: a duplicate": [[2, 1, 2]],
            "index 3 stands in group 0 and group 2: they overlap": [[3], [1], [0, 3]],
            "group 0 holds 1.5, expected 1 int": [[1.5]],
            "group 0 holds True, expected 1 int": [[True]],
            "group 0 is 2, expected a set of indices": [2],
        }
        for message, sets in cases.items():
            with pytest.raises(GroupError, match=message):
                groups.index_sets(sets, 4)

    def test_entries(self):
        with pytest.raises(
            GroupError, match=r"group 0 holds index \(0, 3\), out of range for shape \(2, 3\)"
        ):
            groups.entries([[(0, 3)]], (2, 3))
        with pytest.raises(GroupError, match=r"index \(1, 1\) stands in group 0 and group 1"):
            groups.entries([[(1, 1)], [(1, 1)]], (2, 3))
        for index in [(1,), 1, (1, 1, 1)]:
            with pytest.raises(GroupError, match="expected 2 int"):
                groups.entries([[index]], (2, 3))

    def test_labels(self):
        with pytest.raises(
            GroupError, match="'W' puts index 1 in group 2, out of range; groups run from 0 to 1"
        ):
            Groups(2, {"W": Part([0, 2, 1])})
        with pytest.raises(GroupError, match=r"index \(0, 1\) in group -2"):
            Groups(1, {"W": Part([[0, -2]], axis=None)})
        with pytest.raises(GroupError, match=r"group 1 is empty: no row, column or entry of \['W'\]"):
            Groups(3, {"W": Part([0, 2])})
        with pytest.raises(GroupError, match="at least one part"):
            Groups(0, {})
        for labels, axis, message in [
            ([[0, 1]], 0, r"shape \(1, 2\) for axis 0"),
            ([0], None, "shape"),
            ([0], 2, "axis 2"),
            ([0.5], 0, "dtype float64"),
            ([[0], [1, 2]], None, "ragged"),
        ]:
            with pytest.raises(GroupError, match=message):
                Part(labels, axis)

    def test_widths_that_do_not_divide(self):
        for make in (
            lambda: groups.heads(10, 4),
            lambda: groups.heads(10, 0),
            lambda: groups.heads(0, 3),
            lambda: groups.attention(8, 4, kv_count=0),
        ):
            with pytest.raises(GroupError, match="do not split into"):
                make()
        with pytest.raises(GroupError, match="6 query heads cannot share 4 key-value heads evenly"):
            groups.attention(6, 2, kv_count=4)
        for make in (lambda: groups.rows(2.0), lambda: groups.attention(0, 4), lambda: groups.heads(4, True)):
            with pytest.raises(ConfigError, match="int"):
                make()

    def test_sums_that_do_not_fit(self):
        with pytest.raises(ShapeError, match="'W' has 3 sums for 2 labels"):
            group_sums(np.zeros(3), groups.rows(2))
        with pytest.raises(
            GroupError, match=r"sums has parts \['up'\], but the groups span \['down', 'gate', 'up'\]"
        ):
            group_sums({"up": np.zeros(2)}, groups.channels(2))
        with pytest.raises(GroupError, match="sums is one value, but the groups span"):
            group_sums(np.zeros(2), groups.channels(2))
