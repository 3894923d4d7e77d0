"""The target "peft": the released package, used as its users use it.  Floor 6.

Each case makes a model of one layer, wraps it with `get_peft_model`, and puts the case's tensors where PEFT keeps
them.  Nothing is corrected on the way: what PEFT computes is what is judged.  Where a method or an operation does not
exist in PEFT, it is not claimed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lora_np.conformance.targets import peft_combining, peft_state
from lora_np.conformance.targets.torch_bridge import Tensors, array, pulled_back, tensor

Config = Mapping[str, Any]
NAME = "default"


class Method(NamedTuple):
    """How PEFT spells a method: its configuration, its base layer, and where it keeps each trained tensor.

    `places` maps a tensor's name to a function from the wrapped layer to (container, key, shape in PEFT).
    """

    config: Callable[[Config, Mapping[str, Any]], Any]
    places: Mapping[str, str]
    base: str = "Linear"
    frozen: Mapping[str, str] = {}
    inputs: bool = True


def _lora(**further: Any) -> Callable[[Config, Mapping[str, Any]], Any]:
    def make(config: Config, t: Mapping[str, Any]) -> Any:  # noqa: ARG001
        from peft import LoraConfig

        alpha, rank = config.get("alpha", 1.0), config["rank"]
        return LoraConfig(r=rank, lora_alpha=alpha, target_modules=["layer"], lora_dropout=0.0, **further)

    return make


def _hadamard(config: Config, t: Mapping[str, Any]) -> Any:  # noqa: ARG001
    from peft import LoHaConfig

    return LoHaConfig(r=config["rank"], alpha=config["alpha"], target_modules=["layer"])


def _kronecker(config: Config, t: Mapping[str, Any]) -> Any:  # noqa: ARG001
    from peft import LoKrConfig

    return LoKrConfig(r=config["rank"], alpha=config["alpha"], target_modules=["layer"])


def _ia3(config: Config, t: Mapping[str, Any]) -> Any:  # noqa: ARG001
    from peft import IA3Config

    feedforward = ["layer"] if config["feedforward"] else []
    return IA3Config(target_modules=["layer"], feedforward_modules=feedforward)


def _vera(config: Config, t: Mapping[str, Any]) -> Any:  # noqa: ARG001
    from peft import VeraConfig

    return VeraConfig(r=config["rank"], target_modules=["layer"], vera_dropout=0.0)


def _adalora(config: Config, t: Mapping[str, Any]) -> Any:  # noqa: ARG001
    from peft import AdaLoraConfig

    rank = config["rank"]
    return AdaLoraConfig(
        init_r=rank, target_r=rank, total_step=10, target_modules=["layer"], lora_dropout=0.0
    )


def _oft(config: Config, t: Mapping[str, Any]) -> Any:
    from peft import OFTConfig

    blocks, terms = t["q"].shape[0], config.get("neumann")
    if config.get("side", "paper") not in ("paper", "transposed") or not isinstance(terms, int | None):
        raise ValueError("PEFT has no such setting")
    width = t["W0" if "W0" in t else "W"].shape[1]
    return OFTConfig(
        r=0,
        oft_block_size=width // blocks,
        target_modules=["layer"],
        use_cayley_neumann=terms is not None,
        num_cayley_neumann_terms=5 if terms is None else terms,
    )


_FACTORS = {"B": "lora_B.weight", "A": "lora_A.weight"}
METHODS: Mapping[str, Method] = {
    "lora": Method(_lora(), _FACTORS),
    "lora-plus": Method(_lora(), _FACTORS),
    "rslora": Method(_lora(use_rslora=True), _FACTORS),
    "dora": Method(_lora(use_dora=True), {**_FACTORS, "m": "lora_magnitude_vector.weight"}),
    "pissa": Method(_lora(), _FACTORS),
    "olora": Method(_lora(), _FACTORS),
    "loha": Method(_hadamard, {"B1": "hada_w1_a", "A1": "hada_w1_b", "B2": "hada_w2_a", "A2": "hada_w2_b"}),
    "lokr": Method(_kronecker, {"C": "lokr_w1", "D": "lokr_w2", "B": "lokr_w2_a", "A": "lokr_w2_b"}),
    "ia3": Method(_ia3, {"l": "ia3_l"}),
    "vera": Method(
        _vera,
        {"lambda_b": "vera_lambda_b", "lambda_d": "vera_lambda_d"},
        frozen={"B": "vera_B", "A": "vera_A"},
    ),
    "adalora": Method(_adalora, {"P": "lora_B", "lam": "lora_E", "Q": "lora_A"}),
    "oft": Method(_oft, {"q": "oft_R.weight"}),
    "lora-transposed": Method(_lora(fan_in_fan_out=True), _FACTORS, base="Conv1D"),
    "lora-embedding": Method(
        _lora(), {"B": "lora_embedding_B", "A": "lora_embedding_A"}, base="Embedding", inputs=False
    ),
    "lora-conv2d": Method(_lora(), _FACTORS, base="Conv2d"),
}
STARTS = ("pissa", "olora", "dora", "ia3")
"""Methods whose start is computed from the weight."""


class Peft:
    """PEFT as it is installed, in eval mode, without dropout."""

    name = "peft"
    dtypes: tuple[str, ...] = ("float32", "float64")
    options: Mapping[str, str] = {"dora.norm": "detached", **peft_state.CHOICES}
    methods: Mapping[str, Method] = METHODS
    several: tuple[str, ...] = peft_combining.CAPABILITIES

    def __init__(self) -> None:
        import peft
        import torch

        torch.set_num_threads(1)
        self.version = str(peft.__version__)
        self.capabilities = sorted(
            {f"{m}.{op}" for m in self.methods for op in ("forward", "backward", "merge", "unmerge")}
            | {f"{m}.init" for m in STARTS if m in self.methods}
            | ({"lora.state"} if self.methods is METHODS else set())
            | set(self.several)
        )

    def forward(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Apply the wrapped layer."""
        t = self._tensors(config, tensors)
        return array(self._wrapped(method, config, t)(t["X"]))

    def backward(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Pull gY back through the wrapped layer."""
        t = self._tensors(config, tensors)
        layer = self._wrapped(method, config, t)
        by = {"X": t["X"].requires_grad_()} if self.methods[method].inputs else {}
        by |= {name: _get(layer, place) for name, place in self.methods[method].places.items() if name in t}
        found = pulled_back(layer(t["X"]), t["gY"], by)
        return {name: x.reshape(tensors[name[1:]].shape) for name, x in found.items()}

    def merge(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Merge with PEFT's own check for numbers that are not finite."""
        t = self._tensors(config, tensors)
        layer = self._wrapped(method, config, t)
        layer.merge(safe_merge=True)
        return array(layer.get_base_layer().weight)

    def unmerge(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Unmerge a layer that was told it is merged."""
        if config.get("groups", 1) != 1:
            raise NotImplementedError("PEFT merges no convolution with groups")
        t = self._tensors(config, tensors)
        layer = self._wrapped(method, config, {**t, "W0": t["W"]})
        layer.merged_adapters.append(NAME)
        if "lengths" in t:  # what DoRA's merge keeps for this
            layer._cache_store(f"{NAME}-weight_norm", t["lengths"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # (IA)³ says that its unmerging may be inexact
            layer.unmerge()
        return array(layer.get_base_layer().weight)

    def state(self, _: str, config: Config, tensors: Tensors) -> Any:
        """Run a script with PEFT's own calls."""
        return peft_state.state(config, tensors)

    def init(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Start the method on a weight."""
        t = self._tensors(config, tensors)
        if method in ("pissa", "olora"):
            if config["dtype"] == "float64":
                raise NotImplementedError(f"PEFT starts {method} in float32 and narrower types only")
            settings = _lora(init_lora_weights=method)(config, t)
        else:
            settings = self.methods[method].config({"rank": 1, **config}, t)
        layer = _wrap(base_layer(self.methods[method].base, config, t), settings)
        if method == "dora":
            return array(_get(layer, "lora_magnitude_vector.weight"))
        if method == "ia3":
            return array(_get(layer, "ia3_l")).reshape(-1)
        B, A = (_get(layer, place) for place in ("lora_B.weight", "lora_A.weight"))
        return {"W_base": array(layer.get_base_layer().weight), "BA": array(B @ A), "BBt": array(B @ B.T)}

    def combine(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Combine several adapters on one layer."""
        return peft_combining.combine(method, config, tensors)

    def _wrapped(self, method: str, config: Config, t: Mapping[str, Any]) -> Any:
        """Make the layer, wrap it, and put the tensors in their places."""
        one = self.methods[method]
        if method == "lora-conv2d" and config.get("form") == "loralib":
            raise NotImplementedError("loralib's reshaped form of a convolution is not PEFT's")
        layer = _wrap(base_layer(one.base, config, t), one.config(config, t))
        put = _replace if method == "lokr" else _put
        for name, place in one.places.items():
            if name in t:
                put(layer, place, t[name])
        for name, place in one.frozen.items():
            getattr(layer, place)[NAME] = t[name]
        if method == "lokr":
            for name in ("D",) if "D" not in t else ("B", "A"):
                _drop(layer, one.places[name])
        if method == "adalora":
            layer.ranknum[NAME].data.fill_(int(config["rank"]))
            layer.scaling[NAME] = float(config["scale"]) * (int(config["rank"]) + 1e-5)
        return layer.eval()

    def _tensors(self, config: Config, tensors: Tensors) -> dict[str, Any]:
        return {name: tensor(x, config["dtype"]) for name, x in tensors.items()}


# ---- base layers --------------------------------------------------------------------------------------------


def base_layer(kind: str, config: Config, t: Mapping[str, Any]) -> Any:
    """Make a plain torch layer with the case's weight in it: "Linear", "Conv1D", "Embedding" or "Conv2d"."""
    import torch
    from transformers.pytorch_utils import Conv1D

    W0, bias = t["W0"], t.get("bias")
    if kind == "Linear":
        return _linear(W0, bias)
    if kind == "Conv1D":
        made: Any = Conv1D(W0.shape[1], W0.shape[0])
        made.bias.data = torch.zeros(W0.shape[1], dtype=W0.dtype) if bias is None else bias.clone()
    elif kind == "Embedding":
        V, d = W0.shape
        made = torch.nn.Embedding(V, d, padding_idx=config.get("padding"), dtype=W0.dtype)
    else:
        places = {key: _pair(config[key]) for key in ("stride", "padding", "dilation") if key in config}
        groups = int(config.get("groups", 1))
        made = torch.nn.Conv2d(
            W0.shape[1] * groups,
            W0.shape[0],
            W0.shape[2:],
            groups=groups,
            bias=bias is not None,
            dtype=W0.dtype,
            **places,
        )
        if bias is not None:
            made.bias.data = bias.clone()
    made.weight.data = W0.clone()
    return made


def _pair(x: Any) -> Any:
    return tuple(int(n) for n in x) if isinstance(x, (list, tuple)) else int(x)


def _linear(W0: Any, bias: Any) -> Any:
    import torch

    made = torch.nn.Linear(W0.shape[1], W0.shape[0], bias=bias is not None, dtype=W0.dtype)
    made.weight.data = W0.clone()
    if bias is not None:
        made.bias.data = bias.clone()
    return made


# ---- the wrapped layer, and what stands in it ---------------------------------------------------------------


def _wrap(base: Any, settings: Any) -> Any:
    """Wrap one layer as users do: a model, a configuration, `get_peft_model`; return PEFT's layer."""
    import peft
    import torch

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = base

        def forward(self, X: Any) -> Any:
            return self.layer(X)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice for real models
        model = peft.get_peft_model(Model(), settings, autocast_adapter_dtype=False)
    layer = model.base_model.model.layer
    for name, parameter in layer.named_parameters():
        if not name.startswith("base_layer."):  # made in float32
            parameter.data = parameter.data.to(base.weight.dtype)
    return layer


def _get(layer: Any, place: str) -> Any:
    """Return the parameter at a place such as "lora_B.weight"."""
    container, _, attribute = place.partition(".")
    found = getattr(layer, container)[NAME]
    return getattr(found, attribute) if attribute else found


def _drop(layer: Any, place: str) -> None:
    """Take a parameter away where there is one: this case stores the tensor in another form."""
    holder = getattr(layer, place)
    if NAME in holder:
        del holder[NAME]


def _put(layer: Any, place: str, value: Any) -> None:
    """Load a tensor as a checkpoint is loaded, which refuses other shapes; vectors may be columns or rows in PEFT."""
    container, _, attribute = place.partition(".")
    key = ".".join(part for part in (container, NAME, attribute) if part)
    shape = layer.state_dict()[key].shape
    loaded = value.reshape(shape) if value.ndim == 1 < len(shape) else value
    layer.load_state_dict({key: loaded}, strict=False)


def _replace(layer: Any, place: str, value: Any) -> None:
    """Put a matrix in a place whose shape depends on settings that a case does not have."""
    import torch

    if value.ndim != 2:
        raise ValueError(f"no checkpoint with {tuple(value.shape)} for {place} can be loaded")
    getattr(layer, place)[NAME] = torch.nn.Parameter(value.clone())
