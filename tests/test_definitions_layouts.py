"""The definitions of LoRA on other weights: by hand, against plain LoRA, and against difference quotients."""

from __future__ import annotations

from fractions import Fraction as F

import pytest

from lora_np.conformance.definitions.lora_conv2d import Geometry, convolve, corners, geometry
from lora_np.conformance.exact.loops import flat, product, transpose
from lora_np.conformance.vectors.generate.inputs import Draws
from tests.definitions import run, worst_slope_error

CLOSE = F(1, 2**100)


def drawn(name: str, *shape: int):
    """Small rationals, as nested lists."""
    return _nested(Draws(name).values("short", shape).tolist())


def _nested(x):
    return [_nested(item) for item in x] if isinstance(x, list) else F(x)


def lora(d: int = 2, k: int = 3, r: int = 2):
    """The tensors of plain LoRA."""
    shapes = {"X": (2, k), "W0": (d, k), "B": (d, r), "A": (r, k), "bias": (d,), "gY": (2, d)}
    return {name: drawn(f"{name}{d}{k}{r}", *shape) for name, shape in shapes.items()}


class TestTransposed:
    """LoRA with W0 stored (k, d)."""

    @pytest.mark.parametrize("operation", ["forward", "backward"])
    def test_is_lora_on_the_transposed_weight(self, operation):
        """Property 14: the same outputs, bias and gradients."""
        t = lora()
        names = [name for name in t if operation == "backward" or name != "gY"]
        t = {name: t[name] for name in names}
        turned = {**t, "W0": transpose(t["W0"])}
        assert run("lora-transposed", operation, turned, rank=2, alpha=F(3)) == run(
            "lora", operation, t, rank=2, alpha=F(3)
        )

    def test_merge_and_back(self):
        """W0 + s (B A)ᵀ: B A = [[3, 4], [6, 8]], s = 2."""
        t = {"W0": [[0, 0], [1, 0]], "B": [[1], [2]], "A": [[3, 4]]}
        merged = run("lora-transposed", "merge", t, rank=1, alpha=F(2))["W"]
        assert merged == [[6, 12], [9, 16]]
        assert run("lora-transposed", "unmerge", {**t, "W": merged}, rank=1, alpha=F(2))["W0"] == t["W0"]


class TestEmbedding:
    """A table (V, d) as W0."""

    def test_by_hand(self):
        """Token 1: W0[1] + s B A[:, 1] = (3, 4) + 2 (1, 2) · 6."""
        t = {"X": [1, 0, 1], "W0": [[1, 2], [3, 4]], "B": [[1], [2]], "A": [[5, 6]]}
        Y = run("lora-embedding", "forward", t, rank=1, alpha=F(2), padding=None)["Y"]
        assert Y == [[15, 28], [11, 22], [15, 28]]

    def test_row_of_the_merged_table_is_what_looking_up_gives(self):
        """Property 15, the padding row included."""
        t = {"W0": drawn("E", 3, 2), "B": drawn("B", 2, 2), "A": drawn("A", 2, 3)}
        table = run("lora-embedding", "merge", t, rank=2, alpha=F(3), padding=1)["W"]
        tokens = {**t, "X": [0, 1, 2]}
        assert table == run("lora-embedding", "forward", tokens, rank=2, alpha=F(3), padding=1)["Y"]
        back = run("lora-embedding", "unmerge", {**t, "W": table}, rank=2, alpha=F(3), padding=1)
        assert back["W0"] == t["W0"]

    def test_gradient_is_the_slope(self):
        """A token that occurs twice counts twice; X has no gradient."""
        t = {"X": [2, 0, 2], "W0": drawn("E", 3, 2), "B": drawn("B", 2, 2), "A": drawn("A", 2, 3)}
        t = {**t, "gY": drawn("g", 3, 2)}
        assert worst_slope_error("lora-embedding", t, ("B", "A"), rank=2, alpha=F(3), padding=None) < CLOSE

    def test_padding_column_is_not_trained(self):
        """gA of the padding token is 0; every other number of the gradients is as without padding."""
        t = {"X": [2, 0, 2], "W0": drawn("E", 3, 2), "B": drawn("B", 2, 2), "A": drawn("A", 2, 3)}
        t = {**t, "gY": drawn("g", 3, 2)}
        free, padded = (
            run("lora-embedding", "backward", t, rank=2, alpha=F(3), padding=p) for p in (None, 2)
        )
        assert padded["gB"] == free["gB"]
        assert [row[2] for row in padded["gA"]] == [0, 0]
        assert [row[:2] for row in padded["gA"]] == [row[:2] for row in free["gA"]]


class TestMergedQkv:
    """Several projections in one weight."""

    def test_by_hand(self):
        """Parts of one row each; the first and the third adapted: s = 2."""
        t = {"X": [[1, 1]], "W0": [[1, 0], [0, 1], [1, 1]], "B": [[1], [3]], "A": [[1, 2], [5, 7]]}
        Y = run("lora-merged-qkv", "forward", t, rank=1, alpha=F(2), enabled=[True, False, True])["Y"]
        assert Y == [[1 + 2 * 3, 1, 2 + 2 * 3 * 12]]

    @pytest.mark.parametrize("enabled", [[True, False, True], [False, True, False], [True, True, True]])
    def test_each_part_is_a_lora_of_its_own(self, enabled):
        """Forward and merge, part by part; the others are left."""
        on, r = sum(enabled), 2
        t = {
            "X": drawn("X", 2, 4),
            "W0": drawn("W", 6, 4),
            "B": drawn("B", 2 * on, r),
            "A": drawn("A", r * on, 4),
        }
        config = {"rank": r, "alpha": F(3)}
        W = run("lora-merged-qkv", "merge", t, enabled=enabled, **config)["W"]
        Y = run("lora-merged-qkv", "forward", t, enabled=enabled, **config)["Y"]
        taken = 0
        for part, adapted in enumerate(enabled):
            rows = slice(2 * part, 2 * part + 2)
            want = t["W0"][rows]
            if adapted:
                own = {
                    "W0": want,
                    "B": t["B"][2 * taken : 2 * taken + 2],
                    "A": t["A"][r * taken : r * taken + r],
                }
                want = run("lora", "merge", own, **config)["W"]
                taken += 1
            assert W[rows] == want
            assert [row[rows] for row in Y] == product(t["X"], transpose(want))
        back = run("lora-merged-qkv", "unmerge", {**t, "W": W}, enabled=enabled, **config)
        assert back["W0"] == t["W0"]

    def test_gradient_is_the_slope(self):
        """gX, gB, gA with a part left out and a bias."""
        shapes = {"X": (2, 3), "W0": (6, 3), "B": (4, 2), "A": (4, 3), "bias": (6,), "gY": (2, 6)}
        t = {name: drawn(name, *shape) for name, shape in shapes.items()}
        error = worst_slope_error(
            "lora-merged-qkv", t, ("X", "B", "A"), rank=2, alpha=F(3), enabled=[True, False, True]
        )
        assert error < CLOSE

    def test_nothing_enabled_is_the_frozen_layer(self):
        """No factors at all."""
        t = {"X": [[1, 2]], "W0": [[1, 0], [0, 1]], "B": [], "A": []}
        assert run("lora-merged-qkv", "forward", t, rank=1, alpha=F(2), enabled=[False, False])["Y"] == [
            [1, 2]
        ]
        assert run("lora-merged-qkv", "merge", t, rank=1, alpha=F(2), enabled=[False, False])["W"] == t["W0"]


PLACE = {"stride": 1, "padding": 0, "dilation": 1}


class TestConvolution:
    """The sliding kernel."""

    def test_by_hand(self):
        """A 2 x 2 kernel over 3 x 3, no padding."""
        image, kernel = [[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], [[[1, 10], [100, 1000]]]
        assert convolve([image], [kernel], Geometry(), groups=1) == [[[[5421, 6532], [8754, 9865]]]]

    def test_stride_padding_and_dilation(self):
        """One row of five; kernel (1, 10), two apart, in steps of two, one zero around."""
        g = Geometry((1, 2), (0, 1), (1, 2))
        assert convolve([[[[1, 2, 3, 4, 5]]]], [[[[1, 10]]]], g, groups=1) == [[[[20, 42, 4]]]]

    def test_groups_see_their_own_channels(self):
        """Two groups of one channel."""
        X, W = [[[[1]], [[10]]]], [[[[2]]], [[[3]]]]
        assert convolve(X, W, Geometry(), groups=2) == [[[[2]], [[30]]]]

    @pytest.mark.parametrize(
        ("along", "want"), [((1, 0, 1), [0, 1, 2]), ((2, 1, 1), [-1, 1, 3]), ((1, 0, 2), [0])]
    )
    def test_corners(self, along, want):
        """Where a kernel of three fits into five; spread by two it spans all of it."""
        assert corners(5, 3, along) == want

    def test_numbers_or_pairs(self):
        """One number counts for both directions."""
        assert geometry({"stride": 2, "padding": [0, 1], "dilation": (1, 3)}) == ((2, 2), (0, 1), (1, 3))


def conv(form: str, groups: int, d: int = 4, k: int = 4, r: int = 2):
    """Tensors of an adapted convolution with a 2 x 2 kernel."""
    if form == "peft":
        factors = {"A": (r, k, 2, 2), "B": (d, r // groups, 1, 1)}
    else:
        factors = {"A": (2 * r, 2 * k), "B": (d // groups * 2, 2 * r)}
    shapes = {"X": (1, k, 3, 3), "W0": (d, k // groups, 2, 2), "bias": (d,), **factors}
    return {name: drawn(f"{name}{form}", *shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("groups", [1, 2])
class TestConv2d:
    """Both forms, with and without groups."""

    def test_peft_merges_into_one_ungrouped_kernel(self, groups):
        """Property 29: convolving with the merged kernel, for one group, is the adapted layer; and back."""
        t, config = conv("peft", groups), {"rank": 2, "alpha": F(3), "groups": groups, "form": "peft"}
        Y = run("lora-conv2d", "forward", t, **config, **PLACE)["Y"]
        W = run("lora-conv2d", "merge", t, **config)["W"]
        merged = convolve(t["X"], W, Geometry(), groups=1)
        biased = [
            [[[y + b for y in row] for row in plane] for plane, b in zip(merged[0], t["bias"], strict=True)]
        ]
        assert biased == Y
        assert run("lora-conv2d", "unmerge", {**t, "W": W}, **config)["W0"] == t["W0"]

    def test_loralib_adds_the_product_row_by_row(self, groups):
        """The merged kernel, flattened, is W0 flattened plus s B A flattened; and back."""
        t, config = conv("loralib", groups), {"rank": 2, "alpha": F(3), "groups": groups, "form": "loralib"}
        W = run("lora-conv2d", "merge", t, **config)["W"]
        want = [w + F(3, 2) * u for w, u in zip(flat(t["W0"]), flat(product(t["B"], t["A"])), strict=True)]
        assert flat(W) == want
        assert run("lora-conv2d", "unmerge", {**t, "W": W}, **config)["W0"] == t["W0"]
        del t["bias"]
        Y = run("lora-conv2d", "forward", t, **config, **PLACE)["Y"]
        assert convolve(t["X"], W, Geometry(), groups=groups) == Y

    @pytest.mark.parametrize("form", ["peft", "loralib"])
    def test_gradient_is_the_slope(self, form, groups):
        """gX, gB and gA, with padding and a stride."""
        t = {**conv(form, groups, d=2, k=2), "gY": drawn("g", 1, 2, 2, 2)}
        error = worst_slope_error(
            "lora-conv2d", t, ("X", "B", "A"),
            rank=2, alpha=F(3), groups=groups, form=form, stride=2, padding=1, dilation=1,
        )  # fmt: skip
        assert error < CLOSE
