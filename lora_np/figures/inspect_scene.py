"""What the inspector shows: every module of an adapter file summed up, and the whole in a few numbers.  Floor 6.

Reading files is `lora_np.files`' part, and the mathematics of one module `lora_np.adapters.report`'s.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lora_np._typing import Array
from lora_np.adapters.report import ModuleReport, module_report
from lora_np.errors import ConfigError, ShapeError
from lora_np.files.module import AdapterFile
from lora_np.rank.kernels import REFERENCE, Kernels

BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True, slots=True, eq=False)
class InspectScene:
    """An adapter, looked at: a report for each module, and what the file says besides.

    `remarks` are sentences on what a report leaves out; `other_modules` counts those of the adapter beside it, or is
    None where there is none.
    """

    reports: tuple[ModuleReport, ...]
    itemsize: int
    file_bytes: int
    other_modules: int | None
    remarks: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The modules' names."""
        return [report.name for report in self.reports]

    def module(self, name: str) -> ModuleReport:
        """Find a module by its name; the first where there is none of it."""
        return next((report for report in self.reports if report.name == name), self.reports[0])


@dataclass(frozen=True, slots=True)
class InspectSummary:
    """The whole adapter in a few numbers, at one share of the energy.

    `half` counts the modules that keep that share with half their rank or less, `kept_ranks` and `ranks` sum over
    modules.  What needs a base or another adapter is None without it.
    """

    modules: int
    half: int
    ranks: int
    kept_ranks: int
    numbers: int
    saved_numbers: int
    saved_bytes: int
    relative_norm: float | None
    unchanged: Mapping[str, float]
    alike: int
    cosine: float | None

    @property
    def saved_share(self) -> float:
        """The share of the factors' numbers that could go."""
        return self.saved_numbers / self.numbers if self.numbers else 0.0


def inspect_steps(
    adapter: AdapterFile,
    *,
    base: Mapping[str, Array] | None = None,
    other: AdapterFile | None = None,
    kernels: Kernels = REFERENCE,
) -> Generator[tuple[float, str], None, InspectScene]:
    """Look at one module after the other, telling before each (share done, its name); return the scene.

    `base` maps modules to weights (d, k).  The magnitudes of DoRA are left out, and nothing is said there of a merge.
    Raises `ConfigError` for an adapter without modules, `ShapeError` where the adapters are of different bases, and
    what `module_report` raises.
    """
    if not adapter.modules:
        raise ConfigError("the adapter has no modules", fix="pass the file that PEFT saved")
    weights, others = base or {}, other.modules if other is not None else {}
    reports = []
    for index, (name, module) in enumerate(adapter.modules.items()):
        yield index / len(adapter.modules), name
        partner = others.get(name)
        if partner is not None and partner.shape != module.shape:
            raise ShapeError(
                f"module {name!r} is {module.shape} in one adapter and {partner.shape} in the other",
                fix="compare adapters of one base model",
            )
        reports.append(
            module_report(
                name,
                module.lora,
                alpha=module.alpha,
                W0=None if module.magnitude is not None else weights.get(name),
                other=None if partner is None else partner.lora,
                kernels=kernels,
            )
        )
    return InspectScene(
        tuple(reports),
        itemsize=max(BYTES.get(module.dtype, 4) for module in adapter.modules.values()),
        file_bytes=adapter.size_bytes,
        other_modules=None if other is None else len(others),
        remarks=tuple(_remarks(adapter, other)),
    )


def heaviest(adapter: AdapterFile) -> tuple[str, int]:
    """Find the module that takes longest to decompose, and its count of multiplications, about r² (d + k).

    >>> from lora_np.files import make_adapter
    >>> from lora_np.lora import LoraParams
    >>> import numpy as np
    >>> heaviest(make_adapter({"q": LoraParams(np.ones((4, 2)), np.ones((2, 6)))}, alpha=1))
    ('q', 40)
    """
    work = {name: module.rank**2 * sum(module.shape) for name, module in adapter.modules.items()}
    return max(work.items(), key=lambda item: item[1], default=("", 0))


def inspected(
    adapter: AdapterFile,
    *,
    base: Mapping[str, Array] | None = None,
    other: AdapterFile | None = None,
    kernels: Kernels = REFERENCE,
) -> InspectScene:
    """Look at all modules without telling of the way.  Raises what `inspect_steps` raises."""
    steps = inspect_steps(adapter, base=base, other=other, kernels=kernels)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            scene: InspectScene = ended.value
            return scene


def _remarks(adapter: AdapterFile, other: AdapterFile | None) -> Iterable[str]:
    """Say what is assumed and what is left out."""
    modules = adapter.modules.values()
    if any(module.scale_assumed for module in modules):
        yield "No adapter_config.json came with it, so the scale α / r is unknown and taken as 1."
    if any(module.magnitude is not None for module in modules):
        yield "It is a DoRA adapter: what is shown is its increment s B A, without the magnitudes; no merge is judged."
    if any(module.bias is not None for module in modules):
        yield "Its factors B have biases of their own, which are left out."
    if adapter.extra:
        yield f"Further tensors, saved whole with it, are left out: {len(adapter.extra)}."
    if other is not None:
        shared = len(adapter.modules.keys() & other.modules.keys())
        if shared < len(adapter.modules):
            yield f"{shared} of its {len(adapter.modules)} modules are in the other adapter too."


def summary(scene: InspectScene, energy: float) -> InspectSummary:
    """Sum up the modules at a share of the energy between 0 and 1.  [increment-cut] [increment-unchanged]"""
    reports = scene.reports
    saved = sum(report.saved(energy) for report in reports)
    sizes = [report.relative_norm for report in reports if report.relative_norm is not None]
    cosines = [report.likeness.cosine for report in reports if report.likeness is not None]
    merges = [report.merges for report in reports if report.merges]
    unchanged = {}
    for dtype in merges[0] if merges else ():
        changing = sum(merge[dtype].changing for merge in merges)
        unchanged[dtype] = sum(merge[dtype].unchanged for merge in merges) / changing if changing else 0.0
    return InspectSummary(
        modules=len(reports),
        half=sum(2 * report.kept(energy) <= report.rank for report in reports),
        ranks=sum(report.rank for report in reports),
        kept_ranks=sum(report.kept(energy) for report in reports),
        numbers=sum(report.numbers for report in reports),
        saved_numbers=saved,
        saved_bytes=saved * scene.itemsize,
        relative_norm=median(sizes) if sizes else None,
        unchanged=unchanged,
        alike=len(cosines),
        cosine=median(cosines) if cosines else None,
    )


def in_short(scene: InspectScene, energy: float) -> str:
    """Answer a practitioner in one computed paragraph: rank that could go, size, merging, likeness."""
    whole = summary(scene, energy)
    share, bytes_now = _percent(energy), whole.numbers * scene.itemsize
    parts = [
        f"{whole.half} of {whole.modules} modules reach {share} of their energy with half their rank or less; cutting "
        f"each to what that needs would save {_size(whole.saved_bytes)} of {_size(bytes_now)} "
        f"({_percent(whole.saved_share)})."
    ]
    if whole.relative_norm is not None:
        parts.append(f"The increments are {_percent(whole.relative_norm)} of their weights' size (median).")
    if whole.unchanged:
        unchanged = _percent(whole.unchanged["bfloat16"])
        parts.append(f"Merging in bfloat16 would leave {unchanged} of the changed entries as they were.")
    if whole.cosine is not None:
        parts.append(f"Beside the other adapter, the median cosine is {whole.cosine:.2f}.")
    return " ".join(parts)


def _percent(share: float) -> str:
    """Write a share with three digits; `chart` has a finer one, but needs plotly, which a command may lack."""
    return f"{100 * share:.3g} %"


def _size(count: int) -> str:
    """Write bytes with three digits."""
    return f"{count / 10**6:.3g} MB" if count >= 10**6 else f"{count / 10**3:.3g} kB"


def short_names(names: Sequence[str]) -> list[str]:
    """Shorten module names to their numbers and last word, where that tells them apart; else drop what all share.

    >>> short_names(["vit.layers.0.attention.q_proj", "vit.layers.1.attention.q_proj"])
    ['0 q_proj', '1 q_proj']
    >>> short_names(["a.b.x", "a.c.x"])
    ['b.x', 'c.x']
    """
    parts = [name.split(".") for name in names]
    short = [
        " ".join([*(part for part in place if re.fullmatch(r"\d+", part)), place[-1]]) for place in parts
    ]
    if len(set(short)) == len(names):
        return short
    common = 0
    while all(len(place) > common + 1 for place in parts) and len({place[common] for place in parts}) == 1:
        common += 1
    return [".".join(place[common:]) for place in parts]
