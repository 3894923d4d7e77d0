"""Why a vector exists: each flag names a kind of mistake, what it is and what it does.  Floor 6.

A case carries the flags of the mistakes that it is there to catch, or of what is special about its inputs.
"""

from __future__ import annotations

from typing import NamedTuple


class Flag(NamedTuple):
    """What a flag means: the class of mistake, in a sentence what goes wrong, and what one would see."""

    bug_type: str
    description: str
    effect: str


FLAGS: dict[str, Flag] = {
    # the scale on the increment
    "MissingScale": Flag(
        "SCALE", "the scale on the increment is not applied", "the increment is off by a factor"
    ),
    "SquaredScale": Flag("SCALE", "the scale is applied twice", "the increment is off by the scale"),
    "ScaleInverted": Flag("SCALE", "rank over alpha in place of alpha over rank", "off by the squared scale"),
    "RankDivided": Flag(
        "SCALE", "alpha / rank where the method has another scale", "off by a power of the rank"
    ),
    "SqrtRank": Flag(
        "SCALE", "alpha / sqrt(rank) where alpha / rank is meant, or the reverse", "off by sqrt(rank)"
    ),
    "NonDyadicScale": Flag("SCALE", "the scale is no power of two", "a scale of lower precision shows"),
    "UnitScale": Flag("SCALE", "the scale is 1", "forgetting it cannot be seen: compare the other cases"),
    # the order of things
    "Transposed": Flag(
        "LAYOUT", "a matrix is used transposed", "wrong values, and wrong shapes unless square"
    ),
    "FactorsSwapped": Flag(
        "LAYOUT", "two factors stand in each other's place", "wrong values where shapes allow"
    ),
    "KroneckerOrder": Flag("LAYOUT", "kron(D, C) in place of kron(C, D)", "blocks are interleaved"),
    "SquareShapes": Flag(
        "LAYOUT", "all sides are equal", "a transposed matrix fits, and shows only in values"
    ),
    "NonContiguous": Flag(
        "LAYOUT", "an input is not one row-major block of memory", "elements are read in a wrong order"
    ),
    "ReadOnlyInput": Flag(
        "LAYOUT", "inputs cannot be written", "an implementation that writes into them fails"
    ),
    # signs and sums
    "SignFlipped": Flag(
        "SIGN", "the increment is subtracted, or added where it is to be taken out", "wrong sign"
    ),
    "MeanForSum": Flag(
        "REDUCTION", "a gradient is averaged over rows, not summed", "off by the number of rows"
    ),
    "MissingBias": Flag("BIAS", "the bias is left out", "each column is off by a constant"),
    "BiasScaled": Flag(
        "BIAS", "the bias is scaled with the rest", "each column is off by a multiple of the bias"
    ),
    # precision
    "InputRoundedToFloat32": Flag(
        "PRECISION", "an input is rounded to float32 on the way", "about 1e-8 relative"
    ),
    "InputRoundedToBfloat16": Flag(
        "PRECISION", "an input is rounded to bfloat16 on the way", "about 1e-3 relative"
    ),
    "WideRange": Flag(
        "PRECISION", "magnitudes range over six orders", "small terms drown where sums go astray"
    ),
    "HugeValues": Flag("RANGE", "some inputs are near 1e30", "overflow in a detour"),
    "TinyValues": Flag(
        "RANGE", "some inputs are near 1e-30", "underflow, or an absolute tolerance, hides them"
    ),
    # the norm of DoRA
    "DetachedNorm": Flag(
        "GRADIENT", "the norm is a constant for the gradient", "differs from the full gradient"
    ),
    "AttachedNorm": Flag("GRADIENT", "the gradient flows through the norm", "differs from the detached one"),
    # what is special about the inputs
    "ZeroFactor": Flag("ZERO", "a factor is zero", "the layer must do what the frozen layer does"),
    "ZeroRows": Flag("ZERO", "some rows are zero", "a division by their norm fails"),
    "RankExceedsShape": Flag(
        "SHAPE", "the rank is above the smaller side of the weight", "a factor of full rank is assumed"
    ),
    "FullRank": Flag(
        "SHAPE", "the rank is the smaller side of the weight", "nothing is left for the frozen base"
    ),
    "NothingKept": Flag("ZERO", "a layer keeps none of its triples", "an empty choice is mishandled"),
    "EmptyBatch": Flag("SHAPE", "there are no rows", "a shape is lost, or a mean over nothing is NaN"),
    "SingleRow": Flag("SHAPE", "there is one row", "an axis is dropped"),
    "SingleElement": Flag("SHAPE", "every side is 1", "axes are confused or dropped"),
    "LeadingAxes": Flag("SHAPE", "the rows have more than one leading axis", "axes are lost or mixed"),
    "Integers": Flag(
        "EXACT", "all inputs are small whole numbers", "every sum is exact, so the result must be"
    ),
    # modules, rotations and layouts
    "MissingVector": Flag(
        "SCALE", "the learned vector is not applied", "the layer does what the frozen layer does"
    ),
    "WrongSide": Flag(
        "LAYOUT", "the learned vector rescales inputs in place of outputs, or the reverse", "wrong values"
    ),
    "RotationInverted": Flag(
        "LAYOUT", "the rotation's transpose is applied", "inputs are turned the other way"
    ),
    "TriangleOrder": Flag(
        "LAYOUT", "the upper triangle is filled in another order or sign", "another rotation"
    ),
    "ActivationApproximated": Flag("PRECISION", "gelu by its tanh approximation", "about 1e-3 relative"),
    "MissingResidual": Flag("MODULE", "the adapter's input is not added back", "off by the input"),
    "MissingRootOfWidth": Flag("SCALE", "scores are not divided by sqrt(dh)", "the softmax is too sharp"),
    "PromptBehind": Flag("LAYOUT", "the prompt stands behind the text", "rows are in another order"),
    "PartsShifted": Flag(
        "LAYOUT", "an increment lands in another part of the merged weight", "v is adapted for k"
    ),
    "GroupsMixed": Flag(
        "LAYOUT", "channels are read from another group", "wrong values with more than one group"
    ),
    "WindowShifted": Flag(
        "LAYOUT", "stride, padding or dilation is not the frozen layer's", "wrong values or shape"
    ),
    "RepeatedTokens": Flag(
        "REDUCTION", "a token occurs twice and its gradient is kept once", "a share is lost"
    ),
    "PaddingTrained": Flag("GRADIENT", "the padding token gets a gradient", "its row moves"),
    "BadInput": Flag("INPUT", "an input that does not fit", "numbers come out that mean nothing"),
    # state and steps
    "StaleMerge": Flag(
        "STATE", "a merged weight is not renewed when the adapter changes", "an old increment stays"
    ),
    "DoubleMerge": Flag(
        "STATE", "an adapter is merged or activated twice, or counted twice", "its increment acts twice"
    ),
    "BaseCorrupted": Flag(
        "STATE", "unmerging takes out what was not put in", "the base is not what it was, for good"
    ),
    "WrongActive": Flag(
        "STATE", "merging changes which adapters act, or an inactive one acts", "another function"
    ),
    "UnknownName": Flag(
        "STATE", "a name that nobody has is passed over", "a typo has no effect and no error"
    ),
    "LengthsTruncated": Flag(
        "STATE", "of two lists of different lengths the longer is cut", "an adapter or a weight is dropped"
    ),
    "DisabledActs": Flag(
        "STATE", "a disabled adapter acts, or one that is enabled again does not", "wrong Y"
    ),
    "LostOnSave": Flag("STATE", "what is loaded is not what was saved", "a scale or a state is lost"),
    "RowsMixed": Flag("STATE", "rows of one batch go through another's adapter", "one task answers another"),
    "HalfDone": Flag("STATE", "a refused step has changed something", "a state that nobody asked for"),
    "RatioOnWrongFactor": Flag(
        "STEP", "the learning rates of two factors are exchanged", "both steps are wrong"
    ),
    "FrozenFactorMoves": Flag("STEP", "a frozen tensor is trained", "it changes, or has a gradient"),
    "TiedScores": Flag("TIES", "several scores are equal", "a threshold keeps too many or too few"),
    "DecompositionGap": Flag(
        "SPECTRUM", "singular values are well apart", "the subspaces are well determined"
    ),
    # several adapters
    "WeightsIgnored": Flag("COMBINE", "the weights of the adapters are not applied", "each counts the same"),
    "WeightsNormalized": Flag("COMBINE", "weights are divided by their sum", "off by that sum"),
    "SignOnWrongFactor": Flag(
        "COMBINE",
        "a negative weight puts its sign on both factors, or on none",
        "it is added, not subtracted",
    ),
    "NoMajority": Flag("TIES", "signs of equal mass: none is elected", "a sign is made up"),
    "RowsExchanged": Flag("COMBINE", "a row gets the adapter of another one", "wrong values in some rows"),
    # pruning
    "SquareOfSum": Flag(
        "IMPORTANCE",
        "the square of a group's sum, its sum of squares and its sum of sizes confused",
        "other ranks",
    ),
    "ThirdTermMissing": Flag(
        "IMPORTANCE", "the product of both gradients is left out, or has another sign", "off by lr gB gA"
    ),
    "GroupsShifted": Flag(
        "IMPORTANCE", "weights count for another group, or free ones for any", "wrong scores"
    ),
    "WindowIgnored": Flag(
        "SCHEDULE", "warm-up or cool-down is not taken off", "pruning starts or ends elsewhere"
    ),
    "PrunedAgain": Flag(
        "TIES", "a pruned group comes back when its score is high", "more or others are kept"
    ),
    "BiasCorrectionMissing": Flag(
        "STEP", "averages that start at zero are not debiased", "too small at first"
    ),
    # long runs of an optimizer
    "LongRun": Flag("STEP", "a thousand steps", "a mistake in the state shows late"),
    "EpsInsideRoot": Flag("STEP", "eps is added under the root", "other steps where gradients are small"),
    "DecayCoupled": Flag("STEP", "weight decay goes through the averages", "Adam's step in place of AdamW's"),
    "RateInsideVelocity": Flag("STEP", "the rate stands in the velocity, or is damped", "off at every step"),
    "FactorsInTurn": Flag(
        "STEP", "A steps from the gradient at the new B", "both must step from the same point"
    ),
    # counts
    "FrozenCounted": Flag("COUNT", "tensors that are not trained are counted", "the count is too high"),
    "PaperTable": Flag("COUNT", "a row of the LoRA paper's tables", "the count is not the paper's formula's"),
}


def notes(names: set[str]) -> dict[str, dict[str, str]]:
    """Describe flags, in the order of the table, as the files do.  Raises `KeyError` for one that is not there.

    >>> notes({"ZeroRows"})["ZeroRows"]["bugType"]
    'ZERO'
    """
    unknown = names - FLAGS.keys()
    if unknown:
        raise KeyError(f"flags without an entry in the table: {sorted(unknown)}")
    return {
        name: {"bugType": flag.bug_type, "description": flag.description, "effect": flag.effect}
        for name, flag in FLAGS.items()
        if name in names
    }
