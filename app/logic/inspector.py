"""The inspector: the shipped adapters once per server, a visitor's own files once per visit, never their tensors.

What is kept of a file is its scene: numbers of the rank's size.  The uploads themselves are kept by Streamlit until
the visitor leaves or takes them out; their size is bounded below.
"""

import functools
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import streamlit as st

from app.frame import script
from app.logic.engine import fastest
from lora_np.adapters.inspection import chance_cosine, cosine, cut_to_rank, thin_svd
from lora_np.adapters.rounding import merge_loss, rounded
from lora_np.datasets.adapters import ADAPTERS, BASE, example_adapter
from lora_np.errors import ConfigError, LoraNpError
from lora_np.figures.inspect_scene import InspectScene, heaviest, inspect_steps, inspected
from lora_np.files import AdapterFile, Limits, adapter_from_bytes, read_adapter, read_base
from lora_np.rank.kernels import REFERENCE, Kernels
from lora_np.rank.spectrum import SpectrumReport
from lora_np.subspace import similarity

SOURCES = ["example", "my files"]
LOOKS = ["likeness", "merging"]
ENERGIES = {50: 0.5, 80: 0.8, 90: 0.9, 95: 0.95, 99: 0.99}  # per cent, as the control has it: share
DIRECTIONS = 64  # the most that are compared
LARGEST = 64  # megabytes of one upload; a LLaMA-7B adapter of rank 16 on q and v has 34 in float32
TOGETHER = 192 * 10**6  # bytes of all uploads of a visitor
AT_ONCE = 10**6  # bytes that are looked at without a button,
FEW = 40  # in no more steps than this, one a module: some 100 ms
HEAVIEST = 10**9  # multiplications for one module: two seconds, in which nobody else's work goes on
LIMITS = Limits(tensors=4096, tensor_bytes=64 * 10**6)
CODE = {
    "spectra": (thin_svd, SpectrumReport.smallest_rank),
    "ranks": (cut_to_rank, SpectrumReport.smallest_rank),
    "merging": (merge_loss, rounded),
    "likeness": (cosine, similarity, chance_cosine),
}
__all__ = ["ADAPTERS", "CODE", "DIRECTIONS", "ENERGIES", "LARGEST", "LOOKS", "SOURCES"]


# ---- the shipped example -------------------------------------------------------------------------------------


@st.cache_resource(max_entries=16, show_spinner=False)
def example(name: str, other: str) -> InspectScene:
    """Look at a shipped adapter beside its base and another one."""
    adapter = read_adapter(example_adapter(name))
    return inspected(
        adapter,
        base=read_base(BASE, adapter.modules),
        other=read_adapter(example_adapter(other)),
        kernels=kernels(),
    )


@functools.cache
def kernels() -> Kernels:
    """Take the compiled loops where they are."""
    if fastest().name != "numba":
        return REFERENCE
    from lora_np.backends.numba_rank import KERNELS

    return KERNELS


# ---- a visitor's files ---------------------------------------------------------------------------------------


class Looked(NamedTuple):
    """What came of the visitor's files: the scene, None where the adapter was refused, and why files were refused."""

    scene: InspectScene | None
    refusals: tuple[str, ...]


class Uploads(NamedTuple):
    """The files as they were dropped."""

    adapter: Sequence[Any]
    other: Sequence[Any]
    base: Sequence[Any]

    @property
    def about(self) -> tuple[tuple[str, ...], ...]:
        """What tells these files from others."""
        return tuple(tuple(file.file_id for file in files) for files in self)

    @property
    def size(self) -> int:
        """Their bytes, all together."""
        return sum(file.size for files in self for file in files)


def too_large(uploads: Uploads) -> bool:
    """Tell whether the files are more than one visitor may have looked at."""
    return uploads.size > TOGETHER


def at_once(uploads: Uploads) -> Looked | None:
    """Look at small files; None where there is too much in them.  The last answer is kept in the session."""
    if uploads.size > AT_ONCE:
        return None
    kept = st.session_state.get("inspect_kept")
    if kept is None or kept[0] != uploads.about:
        kept = (uploads.about, finished(steps(uploads), most=FEW))
        st.session_state["inspect_kept"] = kept
    looked: Looked | None = kept[1]
    return looked


def finished(work: Generator[tuple[float, str], None, Looked], *, most: int) -> Looked | None:
    """Run a generator to its end; None where that takes more steps."""
    try:
        for _ in range(most):
            next(work)
    except StopIteration as ended:
        looked: Looked = ended.value
        return looked
    work.close()
    return None


def steps(uploads: Uploads) -> Generator[tuple[float, str], None, Looked]:
    """Read the files and look at one module after the other; a file that is refused takes nothing else with it."""
    refusals: list[str] = []
    yield 0.0, "Reading …"
    try:
        adapter = read("adapter", uploads.adapter)
        other, base = None, None
        if uploads.other:
            yield 0.0, "Reading the second adapter …"
            try:
                other = read("second adapter", uploads.other)
            except LoraNpError as error:
                refusals.append(f"Second adapter: {error}")
        if uploads.base:
            yield 0.0, "Reading the base …"
            try:
                base = read_base(tensors_and_config("base", uploads.base)[0], adapter.modules)
            except LoraNpError as error:
                refusals.append(f"Base weights: {error}")
        scene = yield from inspect_steps(adapter, base=base, other=other, kernels=kernels())
    except LoraNpError as error:
        return Looked(None, (*refusals, str(error)))
    return Looked(scene, tuple(refusals))


def read(what: str, files: Sequence[Any]) -> AdapterFile:
    """Read the adapter among the dropped files; raise where looking at it would hold everybody else up."""
    tensors, config = tensors_and_config(what, files)
    adapter = adapter_from_bytes(tensors, config, strict=False, limits=LIMITS)
    name, work = heaviest(adapter)
    if work > HEAVIEST:
        module = adapter.modules[name]
        raise ConfigError(
            f"module {name!r} of rank {module.rank} and shape {module.shape} is too large to be looked at here",
            fix="look at it with lora-np inspect",
        )
    return adapter


def tensors_and_config(what: str, files: Sequence[Any]) -> tuple[bytes, bytes | None]:
    """Tell the tensor file from the config, by the ending; raise unless there is one of the first."""
    configs = [file for file in files if file.name.endswith(".json")]
    others = [file for file in files if not file.name.endswith(".json")]
    for kind, found in (("tensor file", others), ("adapter_config.json", configs)):
        if len(found) > 1:
            named = ", ".join(file.name for file in found)
            raise ConfigError(f"the {what} has more than one {kind}: {named}", fix="take all but one out")
    if not others:
        raise ConfigError(f"the {what} has no tensor file", fix="add adapter_model.safetensors")
    return others[0].getvalue(), configs[0].getvalue() if configs else None


# ---- scripts to take along -----------------------------------------------------------------------------------

OWN_FOLDER, OTHER_FOLDER, BASE_FOLDER = "path/to/adapter", "path/to/another", "path/to/base.safetensors"
EXAMPLE = """
from lora_np.datasets.adapters import BASE, example_adapter
from lora_np.files import read_adapter, read_base


def read(name):
    return read_adapter(example_adapter(name)).modules


"""
OWN = """
from lora_np.files import read_adapter, read_base


def read(folder):
    return read_adapter(folder).modules


"""
SPECTRA = """
from lora_np.adapters import thin_svd
from lora_np.rank import spectrum_report

reports = [spectrum_report(thin_svd(module.lora)) for module in read(adapter).values()]
numbers = {
    "singular value": [float(sigma) for report in reports for sigma in report.sigma],
    "energy of the first i": [float(share) for report in reports for share in report.energies[1:]],
}
print(numbers)
"""
RANKS = """
from lora_np.adapters import thin_svd
from lora_np.rank import spectrum_report

modules = read(adapter)
reports = [spectrum_report(thin_svd(module.lora)) for module in modules.values()]
numbers = {
    "r": [module.rank for module in modules.values()],
    "norm": [float(report.errors[0]) for report in reports],
    "effective rank": [report.effective_rank for report in reports],
    f"rank for {100 * energy:g} %": [report.smallest_rank(energy) for report in reports],
}
print(numbers)
"""
MERGING = """
from lora_np.adapters import merge_loss

modules = read(adapter)
weights = read_base(BASE, modules)
losses = [merge_loss(weights[name], module.lora, dtype="bfloat16") for name, module in modules.items()]
numbers = {
    "bfloat16: left as they were": [loss.unchanged for loss in losses],
    "bfloat16: lost share of the norm": [loss.lost for loss in losses],
}
print(numbers)
"""
LIKENESS = """
from lora_np.adapters import cosine, thin_svd
from lora_np.subspace import similarity

one, two = read(adapter), read(other)
pairs = [(thin_svd(one[name].lora), thin_svd(two[name].lora)) for name in one]
numbers = {
    "cosine": [cosine(*pair) for pair in pairs],
    "φ of outputs": [similarity(*pair, directions, directions, side="left") for pair in pairs],
    "φ of inputs": [similarity(*pair, directions, directions, side="right") for pair in pairs],
}
print(numbers)
"""
BODIES = {"spectra": SPECTRA, "ranks": RANKS, "merging": MERGING, "likeness": LIKENESS}


def names_of(*, own: bool, adapter: str, other: str) -> dict[str, str]:
    """Name the files that a script reads: the shipped ones, or places for the visitor's own."""
    return {"adapter": OWN_FOLDER, "other": OTHER_FOLDER} if own else {"adapter": adapter, "other": other}


def snippet(picture: str, *, adapter: str, other: str, **values: object) -> str:
    """Write the script of a picture; the visitor's own files stand in it as folders to fill in."""
    own = adapter == OWN_FOLDER
    given: dict[str, object] = {"adapter": adapter}
    if picture == "likeness":
        given["other"] = other
    if picture == "merging" and own:
        given["BASE"] = BASE_FOLDER
    return script((OWN if own else EXAMPLE) + BODIES[picture], **given, **values)


def told(source: str, adapter: str, other: str) -> dict[str, str]:
    """Say which example is looked at, for the link."""
    return {"inspect_adapter": adapter, "inspect_other": other} if source == "example" else {}


def most_directions(scene: InspectScene) -> int:
    """Say how many directions can be compared in some module; two at least, for the slider's sake."""
    most = max(len(report.likeness.outputs) for report in scene.reports if report.likeness is not None)
    return max(2, min(most, DIRECTIONS))
