"""The digits that ship, their split and their shifts."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.datasets import digits, shift, split
from lora_np.datasets.digits import PATH, Labelled, load_digits, rows
from lora_np.errors import ConfigError, DatasetError, DTypeError, ShapeError
from tests.naive import nn as naive


class TestDigits:
    def test_are_the_ones_that_the_repository_describes(self):
        """Class counts as in the data set's own description (optdigits.names); pixels are whole sixteenths."""
        X, y = load_digits()
        assert X.shape == (1797, 8, 8)
        assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
        assert set(np.unique(X * 16)) == set(range(17))
        assert (X[0, 0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
        assert X.dtype == np.float64

    def test_say_where_they_come_from_and_under_which_licence(self):
        text = Path(PATH).with_suffix(".md").read_text()
        for fact in ("UCI", "CC BY 4.0", "Alpaydin", "Kaynak", "10.24432/C50P49", digits.SHA256):
            assert fact in text
        assert PATH.stat().st_size < 65_536

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(DatasetError, match=r"nowhere\.npz.*reinstall"):
            load_digits(tmp_path / "nowhere.npz")

    @pytest.mark.parametrize("damage", ["cut", "changed", "empty", "grown"])
    def test_a_damaged_file_is_refused_before_it_is_parsed(self, tmp_path, damage):
        path = tmp_path / "digits.npz"
        shutil.copy(PATH, path)
        content = bytearray(path.read_bytes())
        if damage == "changed":
            content[-100] ^= 1
        path.write_bytes({"cut": content[:-1], "empty": b"", "grown": content + b"\0"}.get(damage, content))
        with pytest.raises(DatasetError, match="sha256"):
            load_digits(path)

    def test_rows_read_line_after_line(self):
        X = load_digits().X[:3]
        assert rows(X).tolist() == [[float(v) for line in image for v in line] for image in X]


class TestSplit:
    @given(
        y=st.lists(st.integers(-2, 4), min_size=1, max_size=60),
        held_out=st.floats(0.01, 0.99),
        seed=st.integers(0, 99),
    )
    def test_every_row_stands_on_one_side_and_every_class_gives_its_share(self, y, held_out, seed):
        y = np.array(y)
        train, test = split.stratified_split(y, held_out=held_out, rng=np.random.default_rng(seed))
        assert sorted([*train, *test]) == list(range(len(y)))
        assert train.tolist() == sorted(train)
        for c in set(y.tolist()):
            share = held_out * (y == c).sum()
            assert abs((y[test] == c).sum() - share) <= 0.5 + 1e-9

    def test_is_the_generator_s_and_nothing_else_s(self):
        y = load_digits().y
        first, again, other = (
            split.stratified_split(y, held_out=0.2, rng=np.random.default_rng(seed))[1] for seed in (5, 5, 6)
        )
        assert first.tolist() == again.tolist() != other.tolist()
        assert len(first) == 359

    @pytest.mark.parametrize("held_out", [0.0, 1.0, -0.1, float("nan"), "0.2", True])
    def test_refuses_a_share_that_is_none(self, held_out, rng):
        with pytest.raises(ConfigError, match="held_out"):
            split.stratified_split(np.array([0, 1]), held_out=held_out, rng=rng)

    def test_refuses_what_are_no_labels(self, rng):
        with pytest.raises(DTypeError, match="class numbers"):
            split.stratified_split(np.zeros(3), held_out=0.5, rng=rng)
        with pytest.raises(DTypeError, match="list"):
            split.stratified_split([0, 1], held_out=0.5, rng=rng)
        with pytest.raises(ShapeError, match="axes"):
            split.stratified_split(np.zeros((3, 1), int), held_out=0.5, rng=rng)
        with pytest.raises(ConfigError, match="rng"):
            split.stratified_split(np.array([0, 1]), held_out=0.5, rng=7)


class TestShifts:
    def test_a_quarter_turn_moves_pixels_and_changes_none(self):
        """Exact: against a plain loop, to the last bit."""
        X = load_digits().X[:5]
        assert shift.rotate(X, 90).tolist() == [naive.quarter_turn(image.tolist()) for image in X]
        assert shift.rotate(X, -270).tolist() == shift.rotate(X, 90).tolist()

    def test_four_quarter_turns_are_none(self):
        X = load_digits().X[:5]
        turned = X
        for _ in range(4):
            turned = shift.rotate(turned, 90)
        assert turned.tolist() == X.tolist()
        assert shift.rotate(shift.rotate(X, 90), 90).tolist() == shift.rotate(X, 180).tolist()
        assert shift.rotate(X, 0).tolist() == shift.rotate(X, 720).tolist() == X.tolist()

    @pytest.mark.parametrize("degrees", [45.0, 30.0, -17.5, 200.0, 89.99])
    @pytest.mark.parametrize("side", [1, 2, 7, 8])
    def test_any_other_turn_interpolates(self, degrees, side, rng):
        """Weights are products of two numbers at most 1, so a few u per pixel: 1e-14 is ample."""
        X = rng.random((2, side, side))
        want = [naive.turned(image.tolist(), degrees) for image in X]
        np.testing.assert_allclose(shift.rotate(X, degrees), want, rtol=0, atol=1e-14)

    def test_a_rotation_is_the_linear_map_that_it_says(self, rng):
        """A quarter turn permutes the 64 pixels in 16 cycles of 4, so R − I loses one rank a cycle: 48."""
        R = shift.rotation_matrix(8, 90)
        assert (R.sum(axis=0) == 1).all()
        assert (R.sum(axis=1) == 1).all()
        assert (np.eye(64) == R @ R @ R @ R).all()
        assert np.linalg.matrix_rank(R - np.eye(64)) == 48

    def test_element_types_stay(self):
        X = load_digits().X[:2].astype(np.float32)
        assert shift.rotate(X, 45).dtype == shift.invert(X).dtype == np.float32

    def test_inverting_swaps_ink_and_paper(self):
        X = load_digits().X
        assert (shift.invert(X) == 1 - X).all()
        assert (shift.invert(shift.invert(X)) == X).all()

    def test_renaming_classes(self):
        y = np.array([0, 3, 1, 2, 2])
        assert shift.permute_classes(y, [1, 2, 3, 0]).tolist() == [1, 0, 2, 3, 3]
        inverse = np.argsort([1, 2, 3, 0])
        assert shift.permute_classes(shift.permute_classes(y, [1, 2, 3, 0]), inverse).tolist() == y.tolist()

    def test_a_subset_keeps_the_images_of_its_classes(self):
        data = load_digits()
        X, y = shift.subset(data, [7, 2])
        assert set(y.tolist()) == {2, 7}
        assert len(y) == 177 + 179
        assert (X[0] == data.X[2]).all()
        assert set(shift.subset(data, [7, 2], relabel=True).y[:1].tolist()) == {1}

    @pytest.mark.parametrize("permutation", [[0, 0, 1], [1, 2, 3], []])
    def test_renaming_refuses_what_is_no_permutation(self, permutation):
        with pytest.raises(ConfigError, match="permutation"):
            shift.permute_classes(np.array([0, 1]), permutation)

    def test_renaming_refuses_classes_without_a_name(self):
        with pytest.raises(ConfigError, match="classes 0 to 4"):
            shift.permute_classes(np.array([0, 4]), [1, 0])

    @pytest.mark.parametrize("classes", [[], [1, 1], [9]])
    def test_a_subset_refuses_classes_that_are_not_there(self, classes):
        with pytest.raises(ConfigError, match="classes"):
            shift.subset(Labelled(np.zeros((2, 2, 2)), np.array([0, 1])), classes)

    def test_images_must_be_square(self):
        with pytest.raises(ShapeError, match="square"):
            shift.rotate(np.zeros((1, 2, 3)), 90)
        with pytest.raises(ShapeError, match="N, s, s"):
            rows(np.zeros((2, 3)))
        with pytest.raises(ConfigError, match="finite"):
            shift.rotate(np.zeros((1, 2, 2)), float("nan"))
