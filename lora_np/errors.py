"""The error classes: one root, one class per kind of mistake, a stable code each.  Floor 0.

A message says which argument, what came, what was expected, and how to mend it.  All errors derive from
`LoraNpError`, a `ValueError`, so `except ValueError` keeps working.  The checks that raise them are in `checks`.
"""


class LoraNpError(ValueError):
    """Signal a mistake in a call; the root of every error of this package.

    >>> try:
    ...     raise ShapeError("X has shape (2, 7), expected (..., 6)", fix="pass rows of 6 inputs")
    ... except ValueError as error:
    ...     print(error, error.code)
    X has shape (2, 7), expected (..., 6); pass rows of 6 inputs [LNP-E002] LNP-E002
    """

    code = "LNP-E000"

    def __init__(self, problem: str, *, fix: str = "") -> None:
        self.problem, self.fix = problem, fix
        super().__init__("; ".join(part for part in (problem, fix) if part) + f" [{self.code}]")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.problem, self.fix)


def _rebuild(cls: type[LoraNpError], problem: str, fix: str) -> LoraNpError:
    """Make the error again in another process (its constructor takes a keyword)."""
    return cls(problem, fix=fix)


class ConfigError(LoraNpError):
    """Signal a hyper-parameter or option that cannot be: a rank of 0, an unknown method."""

    code = "LNP-E001"


class ShapeError(LoraNpError):
    """Signal arrays whose shapes do not fit together."""

    code = "LNP-E002"


class DTypeError(LoraNpError):
    """Signal an array of the wrong element type, or two of different ones."""

    code = "LNP-E003"


class RankError(LoraNpError):
    """Signal two factors of different rank, or a rank out of range."""

    code = "LNP-E004"


class NonFiniteError(LoraNpError):
    """Signal NaN or infinity where a finite number is needed."""

    code = "LNP-E005"


class OverflowInMergeError(LoraNpError):
    """Signal a merge whose sum does not fit the weight's element type; the base is untouched."""

    code = "LNP-E006"


class StateError(LoraNpError):
    """Signal a call that the present state forbids: merging twice, importance without gradients."""

    code = "LNP-E007"


class GroupError(LoraNpError):
    """Signal pruning groups that are out of range, empty, repeated or overlapping."""

    code = "LNP-E008"


class BufferError_(LoraNpError):  # noqa: N801, N818 (the builtin has the plain name)
    """Signal an output buffer that cannot be written or that is also an input."""

    code = "LNP-E009"


class BackendError(LoraNpError, ImportError):
    """Signal a backend or extra whose package is not installed."""

    code = "LNP-E010"


class DatasetError(LoraNpError):
    """Signal shipped data that are missing or do not match their checksum."""

    code = "LNP-E011"


class RunFileError(LoraNpError):
    """Signal a saved run that is missing, cut short, or not a saved run."""

    code = "LNP-E012"


class ZeroNormError(LoraNpError):
    """Signal a row of norm zero, whose direction is not defined."""

    code = "LNP-E013"


class NotInvertibleError(LoraNpError):
    """Signal a step that cannot be undone by arithmetic, such as a division by a zero factor."""

    code = "LNP-E014"


class UnknownAdapterError(LoraNpError):
    """Signal an adapter name that is not there."""

    code = "LNP-E015"


class AdapterNameError(LoraNpError):
    """Signal an adapter name that is taken, empty, or holds a character that names may not hold."""

    code = "LNP-E016"


class UnsupportedCombinationError(LoraNpError):
    """Signal adapters that cannot be combined without losing a part of them."""

    code = "LNP-E017"


class VectorFileError(LoraNpError):
    """Signal a file of test vectors that is missing, damaged, or not one."""

    code = "LNP-E018"


class TargetError(LoraNpError):
    """Signal an implementation that cannot be tested: not found, not importable, or without what a target needs."""

    code = "LNP-E019"


class XfailsFileError(LoraNpError):
    """Signal a file of expected failures that cannot be read, or an entry without id, reason or end."""

    code = "LNP-E020"


class AdapterFileError(LoraNpError):
    """Signal a file of tensors that is missing, empty, changed while it was read, or of another format."""

    code = "LNP-E021"


class TruncatedFileError(AdapterFileError):
    """Signal a file that ends before the data that its header announces."""

    code = "LNP-E022"


class HeaderTooLargeError(AdapterFileError):
    """Signal a file whose header claims more bytes than the limit or than the file has."""

    code = "LNP-E023"


class HeaderJSONError(AdapterFileError):
    """Signal a header that is not one JSON object, names a key twice, or is too deep or too long."""

    code = "LNP-E024"


class HeaderSchemaError(AdapterFileError):
    """Signal a header that is JSON but does not describe tensors: a missing field, a negative extent."""

    code = "LNP-E025"


class OffsetError(AdapterFileError):
    """Signal tensors that overlap, leave holes, or do not fill their bytes."""

    code = "LNP-E026"


class MissingTensorError(AdapterFileError):
    """Signal tensors that should be in a file and are not; the message lists them."""

    code = "LNP-E027"


class UnexpectedTensorError(AdapterFileError):
    """Signal tensors in a file that nothing in its config announces; the message lists them."""

    code = "LNP-E028"


class ConfigFileError(AdapterFileError):
    """Signal an adapter_config.json that is missing, too large, or not one JSON object."""

    code = "LNP-E029"


class UnsafePathError(AdapterFileError):
    """Signal a file name that leaves the folder it belongs to."""

    code = "LNP-E030"


class UnsafeFormatError(AdapterFileError):
    """Signal a format that can execute code when it is read, such as a pickle; it is never opened."""

    code = "LNP-E031"


class RankWarning(UserWarning):
    """Warn of a rank above min(d, k): allowed, but it adds no expressive power."""
