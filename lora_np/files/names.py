"""What a tensor's name in a PEFT file says: which module, and which part of its adapter.  Floor 5.

``base_model.model.layers.0.q_proj.lora_A.weight`` is part A of module ``layers.0.q_proj``.  Nothing here is a pattern
from the file; names are compared as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lora_np.errors import MissingTensorError, UnexpectedTensorError
from lora_np.files.json_text import shown

PREFIX = "base_model.model."
PARTS = {  # ending of a tensor's name -> part of the adapter
    ".lora_A.weight": "A",
    ".lora_B.weight": "B",
    ".lora_embedding_A": "embedding_A",
    ".lora_embedding_B": "embedding_B",
    ".lora_B.bias": "bias",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
}
_PARTNERS = {
    "A": "B",
    "B": "A",
    "embedding_A": "embedding_B",
    "embedding_B": "embedding_A",
}
_ENDING = {"A": ".lora_A.weight", "B": ".lora_B.weight"} | {
    part: f".lora_{part}" for part in ("embedding_A", "embedding_B")
}
_SAVED_BY_PEFT = ("embed_tokens", "lm_head")  # saved whole where the vocabulary was resized


def module_name(stem: str) -> str:
    """Strip what PEFT puts before a module's name.

    >>> module_name("base_model.model.layers.0.q_proj")
    'layers.0.q_proj'
    """
    return stem.removeprefix(PREFIX)


def grouped(names: Iterable[str], without: Iterable[str] = ()) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Sort tensor names into modules {stem: {part: name}} and the rest; parts `without` belong to the rest.

    >>> grouped(["q.lora_A.weight", "head.weight"])
    ({'q': {'A': 'q.lora_A.weight'}}, ['head.weight'])
    """
    without = set(without)
    modules: dict[str, dict[str, str]] = {}
    rest = []
    for name in names:
        ending = next((ending for ending in PARTS if name.endswith(ending)), None)
        if ending is None or PARTS[ending] in without:
            rest.append(name)
        elif modules.setdefault(name.removesuffix(ending), {}).setdefault(PARTS[ending], name) != name:
            rest.append(name)  # a second name for the same part
    return modules, rest


def require_complete(
    modules: Mapping[str, Mapping[str, str]], rest: list[str], label: str, *, dora: bool = False
) -> None:
    """Raise `MissingTensorError`, with the list, unless every module has both factors, and DoRA its magnitude."""
    if not modules:
        raise MissingTensorError(
            f"no tensor of {label} is a LoRA factor (…lora_A.weight); it holds {listed(rest, most=20)}",
            fix="expected an adapter saved by PEFT with peft_type LORA",
        )
    missing = []
    for stem, parts in modules.items():
        factors = [part for part in parts if part in _PARTNERS]
        if dora and "magnitude" not in parts:
            missing.append(f"{stem}.lora_magnitude_vector")
        partners = (_PARTNERS[part] for part in factors or ["B", "A"])
        missing += [stem + _ENDING[part] for part in partners if part not in parts]
        if len(factors) > 2:
            raise UnexpectedTensorError(f"{label}: module {shown(stem)} has factors of two kinds: {factors}")
    if missing:
        raise MissingTensorError(
            f"{label} lacks {len(missing)} tensors whose partners are there: {listed(missing)}"
        )


def unexpected(
    rest: Iterable[str], modules: Iterable[str], saved: Iterable[str], bias: str, tokens: bool
) -> list[str]:
    """Return the names among `rest` that neither the modules nor the config explain.

    `saved` names the modules that were saved whole; with `tokens`, rows of embeddings were trained.

    >>> unexpected(["head.weight", "x.weight"], [], ["head"], "none", False)
    ['x.weight']
    """
    whole = {*saved, *_SAVED_BY_PEFT}
    stems = set(modules)

    def explained(name: str) -> bool:
        stem, _, ending = name.rpartition(".")
        if stem.removesuffix(".base_layer") in stems:
            return stem.endswith(".base_layer")
        if tokens and ending in ("trainable_tokens_delta", "trainable_tokens_indices"):
            return True
        return (ending == "bias" and bias == "all") or not whole.isdisjoint(stem.split("."))

    return [name for name in rest if not explained(name)]


def listed(names: Iterable[str], most: int = 200) -> str:
    """List names for a message, in full up to `most` and then their number.

    >>> listed("abc", most=2)
    "'a', 'b' and 1 more"
    """
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(map(shown, names[:most])) or "nothing") + more
