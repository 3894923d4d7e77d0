"""Make the shipped example: real adapters, trained and saved by PEFT on a small vision transformer of our digits.

Run as `python -m tests.interop_make_example [FOLDER]`; it writes `lora_np/datasets/peft_vit/`, or the named folder,
anew.  A few minutes.
"""

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np

from lora_np.datasets import adapters
from lora_np.datasets.digits import Labelled, load_digits
from lora_np.datasets.shift import invert, rotate
from lora_np.datasets.split import stratified_split

SHAPE = {
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 8,
    "patch_size": 2,
    "num_channels": 1,
    "num_labels": 10,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj", "fc1", "fc2"]}
BASE = "a-small-vit-of-8x8-digits"  # no path and no hub name: the base is not published
TASKS = {  # name: (what became of the digits, seed, epochs, learning rate)
    "turned": (lambda X: rotate(X, 90), 1, 20, 2e-3),
    "turned-again": (lambda X: rotate(X, 90), 2, 20, 2e-3),
    "inverted": (invert, 3, 20, 2e-3),
    "tilted": (lambda X: rotate(X, 15), 4, 10, 2e-4),
}
PRETRAIN = {"epochs": 40, "rate": 2e-3}
NOTE = """# Example adapters made by PEFT

Real adapters in the form that PEFT writes, of a network small enough to ship. Made by
`tests/interop_make_example.py` with torch {torch}, transformers {transformers}, peft {peft}; seeds {seeds}.

- Base: a vision transformer of {parameters:,} parameters (width 48, 4 blocks, patches of 2 x 2), trained from
  scratch on three quarters of this package's digits (origin and licence: `../digits.md`); seed 0.
  `base.safetensors` holds the weights of the adapted modules alone, in float32.
- Adapters: r = 8, alpha = 16, on q_proj, v_proj, fc1 and fc2 of every block: {trained:,} numbers each. AdamW.
  The classifier stays frozen. Dropout 0.

Accuracy on the {held_out} digits held out, measured when they were made:

| adapter | task | seed | epochs | learning rate | before | after |
|---|---|---|---|---|---|---|
{rows}

The base itself reads upright digits with {upright:.3f}.
"""


def tensors(data: Labelled, shift=lambda X: X):
    """Images as a vision model wants them, (N, 1, 8, 8), and labels."""
    import torch

    return torch.tensor(shift(data.X)[:, None], dtype=torch.float32), torch.tensor(data.y)


def train(model, X, y, *, seed: int, epochs: int, rate: float) -> None:
    """Fit what may be fitted, in batches of 64."""
    import torch

    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(y)).split(64):
            loss = model(pixel_values=X[rows], labels=y[rows]).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def accuracy(model, X, y) -> float:
    import torch

    with torch.no_grad():
        return float((model(pixel_values=X).logits.argmax(1) == y).float().mean())


def pretrained(train_set: Labelled):
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(**SHAPE))
    train(model, *tensors(train_set), seed=0, **PRETRAIN)
    return model


def adapted(state, train_set: Labelled, held_out: Labelled, name: str, folder: Path) -> tuple[float, float]:
    """Adapt a fresh copy of the base, save the adapter as PEFT does; return accuracy before and after."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import ViTConfig, ViTForImageClassification

    shift, seed, epochs, rate = TASKS[name]
    base = ViTForImageClassification(ViTConfig(**SHAPE))
    base.load_state_dict(state)
    before = accuracy(base, *tensors(held_out, shift))
    torch.manual_seed(seed)
    model = get_peft_model(base, LoraConfig(**LORA))
    train(model, *tensors(train_set, shift), seed=seed, epochs=epochs, rate=rate)
    model.peft_config["default"].base_model_name_or_path = BASE
    model.save_pretrained(folder / name)
    (folder / name / "README.md").unlink(missing_ok=True)  # a form to fill in, about nothing here
    return before, accuracy(model, *tensors(held_out, shift))


def main(folder: Path = adapters.FOLDER) -> None:
    import peft
    import torch
    import transformers
    from safetensors.torch import save_file

    torch.set_num_threads(1)  # the same sums in the same order wherever it runs
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    kept, out = stratified_split(digits.y, held_out=0.25, rng=np.random.default_rng(0))
    train_set, held_out = (Labelled(digits.X[rows], digits.y[rows]) for rows in (kept, out))
    shutil.rmtree(folder, ignore_errors=True)
    model = pretrained(train_set)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    rows = []
    for name, (_, seed, epochs, rate) in TASKS.items():
        before, after = adapted(state, train_set, held_out, name, folder)
        rows.append(
            f"| `{name}` | {adapters.ADAPTERS[name]} | {seed} | {epochs} | {rate} | {before:.3f} | {after:.3f} |"
        )
        print(rows[-1])
    weights = {
        name: value.contiguous()
        for name, value in state.items()
        if name.endswith("weight") and name.split(".")[-2] in LORA["target_modules"]
    }
    save_file(weights, folder / "base.safetensors")
    note = NOTE.format(
        torch=torch.__version__,
        transformers=transformers.__version__,
        peft=peft.__version__,
        seeds=", ".join(str(seed) for _, seed, *_ in TASKS.values()),
        parameters=sum(p.numel() for p in model.parameters()),
        trained=sum(LORA["r"] * sum(value.shape) for value in weights.values()),
        held_out=len(held_out.y),
        rows="\n".join(rows),
        upright=accuracy(model, *tensors(held_out)),
    )
    (folder / "README.md").write_text(note)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = path.read_bytes()
            print(path.relative_to(folder), len(text))
            assert b"/home" not in text
            assert b"/work" not in text
    json.loads((folder / "turned" / "adapter_config.json").read_text())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*map(Path, sys.argv[1:]))
