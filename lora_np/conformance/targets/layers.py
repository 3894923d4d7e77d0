"""One table of all layers: which module computes a method, and how its tensors and numbers reach it.  Floor 6.

The modules of `methods` and `layouts` share one form, so a layer is a row: the module, the tensors it trains, those
that are frozen beside the weight, and the keywords that a configuration becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from lora_np.gradient_view.additive import AdditiveParams
from lora_np.lora import scaling
from lora_np.methods.lokr import LokrFactored, LokrFull

Tensors = Mapping[str, Any]
Config = Mapping[str, Any]


class Layer(NamedTuple):
    """A row: module, class of the trainable tensors, tensors that stand beside the weight, keywords.

    `module` may depend on the configuration.  `kind` is the name of the class in the module, or a function from tensors
    to a class.  `only_backward` names keywords that backward takes and forward does not.  `weight` is None where there
    is none, `unmerging` names tensors that stand beside the weight in unmerge only.
    """

    module: str | Callable[[Config], str]
    kind: str | Callable[[Tensors], Any] = "LoraParams"
    frozen: tuple[str, ...] = ()
    keywords: Callable[[Config, ModuleType], dict[str, Any]] = lambda config, module: {}  # noqa: ARG005
    only_backward: tuple[str, ...] = ()
    weight: str | None = "W0"
    unmerging: tuple[str, ...] = ()
    merges: bool = True

    def load(self, config: Config) -> ModuleType:
        """Import the module."""
        name = self.module if isinstance(self.module, str) else self.module(config)
        return import_module(f"lora_np.{name}")

    def params(self, t: Tensors, module: ModuleType) -> Any:
        """Gather the trainable tensors."""
        kind = getattr(module, self.kind) if isinstance(self.kind, str) else self.kind(t)
        return kind(*(t[name] for name in kind._fields))


def scaled(config: Config, module: ModuleType) -> dict[str, Any]:
    """Make the keyword `scale` from alpha and the rank, by the method's own rule if it has one."""
    return {"scale": getattr(module, "scaling", scaling)(config["alpha"], config["rank"])}


def given(*names: str) -> Callable[[Config, ModuleType], dict[str, Any]]:
    """Pass configuration keys on as keywords of the same names, where they are given."""
    return lambda config, _: {name: config[name] for name in names if name in config}


def scaled_with(*names: str) -> Callable[[Config, ModuleType], dict[str, Any]]:
    """Make the scale, and pass further keys on."""
    return lambda config, module: {**scaled(config, module), **given(*names)(config, module)}


def _bent(config: Config, _: ModuleType) -> dict[str, Any]:
    return {"activation": "gelu-erf" if config.get("gelu") == "erf" else config["activation"]}


def _lokr(t: Tensors) -> Any:
    return LokrFull if "D" in t else LokrFactored


def _conv2d(config: Config) -> str:
    return "layouts.conv2d_reshaped" if config.get("form") == "loralib" else "layouts.conv2d"


LAYERS: dict[str, Layer] = {
    "lora": Layer("methods.lora", keywords=scaled),
    "rslora": Layer("methods.rslora", keywords=scaled),
    "lora-plus": Layer("methods.lora_plus", keywords=scaled),
    "lora-fa": Layer("methods.lora_fa", "LoraFaParams", ("A",), scaled),
    "lora-xs": Layer("methods.lora_xs", "LoraXsParams", ("B", "A")),
    "vera": Layer("methods.vera", "VeraParams", ("B", "A")),
    "adalora": Layer("methods.adalora", "AdaloraParams", keywords=given("scale")),
    "additive": Layer("methods.additive", lambda _: AdditiveParams),
    "symmetric": Layer("methods.symmetric", frozen=("B0", "A0"), keywords=scaled),
    "dora": Layer(
        "methods.dora", "DoraParams", keywords=scaled, only_backward=("norm",), unmerging=("lengths",)
    ),
    "pissa": Layer("methods.pissa", keywords=scaled),
    "milora": Layer("methods.milora", keywords=scaled),
    "olora": Layer("methods.olora", keywords=scaled),
    "loha": Layer("methods.loha", "LohaParams", keywords=scaled),
    "lokr": Layer("methods.lokr", _lokr, keywords=scaled),
    "oft": Layer("methods.oft", "OftParams", keywords=given("neumann", "side")),
    "ia3": Layer("methods.ia3", "Ia3Params", keywords=given("feedforward")),
    "bitfit": Layer("methods.bitfit", "BitfitParams", merges=False),
    "houlsby": Layer("methods.houlsby", "BottleneckParams", keywords=_bent, weight=None, merges=False),
    "pfeiffer": Layer("methods.pfeiffer", "BottleneckParams", keywords=_bent, weight=None, merges=False),
    "prompt-tuning": Layer("methods.prompt_tuning", "PromptTuningParams", merges=False),
    "lora-transposed": Layer("layouts.transposed", keywords=scaled),
    "lora-embedding": Layer("layouts.embedding", keywords=scaled_with("padding")),
    "lora-merged-qkv": Layer("layouts.merged_qkv", keywords=scaled_with("enabled")),
    "lora-conv2d": Layer(_conv2d, keywords=scaled_with("stride", "padding", "dilation", "groups")),
}
"""Every layer by the id of its method."""

_PLACES = ("stride", "padding", "dilation")


def keywords(method: str, config: Config) -> dict[str, Any]:
    """Make the keywords of a layer from a configuration."""
    layer = LAYERS[method]
    return layer.keywords(config, layer.load(config))


def forward(method: str, config: Config, t: Tensors) -> tuple[Any, Any]:
    """Apply a layer: its output, and what backward needs."""
    layer = LAYERS[method]
    module = layer.load(config)
    bias = {"bias": t["bias"]} if "bias" in t and method != "bitfit" else {}
    return module.forward(*_arguments(layer, module, t), **layer.keywords(config, module), **bias)  # type: ignore[no-any-return]


def backward(method: str, config: Config, t: Tensors) -> dict[str, Any]:
    """Pull gY back through a layer: gradients by name."""
    layer = LAYERS[method]
    module = layer.load(config)
    X, *rest = _arguments(layer, module, t)
    _, kept = forward(
        method, config, {name: x for name, x in t.items() if name != "bias" or method == "bitfit"}
    )
    if module.__name__ == "lora_np.layouts.conv2d_reshaped":
        rest = rest[1:]  # what its forward kept is the weight
    further = given(*layer.only_backward)(config, module)
    found = module.backward(t["gY"], X, kept, *rest, **layer.keywords(config, module), **further)
    if method == "lora-embedding":  # tokens have no gradient
        return _gradients(found)
    return {"gX": found[0], **_gradients(found[1])}


def _gradients(g: Any) -> dict[str, Any]:
    return {f"g{name}": x for name, x in zip(g._fields, g, strict=True)}


def merge(method: str, config: Config, t: Tensors) -> Any:
    """Build the merged weight."""
    return _change(method, "merge", "W0", (), config, t)


def unmerge(method: str, config: Config, t: Tensors) -> Any:
    """Take a method out of a merged weight."""
    return _change(method, "unmerge", "W", LAYERS[method].unmerging, config, t)


def _change(method: str, name: str, weight: str, further: tuple[str, ...], config: Config, t: Tensors) -> Any:
    layer = LAYERS[method]
    module = layer.load(config)
    keywords = {k: v for k, v in layer.keywords(config, module).items() if k not in _PLACES}
    if method == "lora-embedding":
        keywords.pop("padding", None)
    frozen = [t[one] for one in (weight, *layer.frozen, *further)]
    return getattr(module, name)(*frozen, layer.params(t, module), **keywords)


def _arguments(layer: Layer, module: ModuleType, t: Tensors) -> list[Any]:
    """List X, the frozen tensors with the weight first, and the trainable ones."""
    weight = () if layer.weight is None else (layer.weight,)
    return [t["X"], *(t[name] for name in (*weight, *layer.frozen)), layer.params(t, module)]
