"""The LoRA paper's statements on memory, files and speed, each with the arithmetic that gives it.  Floor 2.

1.2 TB to 350 GB, 350 GB to 35 MB, 100 tasks, the 25 % speedup, the latency of adapters.  A claim holds our number
beside the printed one; `arithmetic` is the line that a reader can check with a pocket calculator.
"""

from __future__ import annotations

from typing import NamedTuple

from lora_np import checks
from lora_np.counts.memory import adapter_file_bytes, training_memory
from lora_np.counts.methods import count


class Claim(NamedTuple):
    """One printed figure, ours, how it comes about, and one of `paper_tables.VERDICTS`."""

    name: str
    printed: str
    ours: float
    unit: str
    arithmetic: str
    verdict: str
    reason: str = ""


def claims() -> tuple[Claim, ...]:
    """Recompute every statement.  [memory-training] [memory-adapter] [count-speedup]

    >>> {claim.name: round(claim.ours, 1) for claim in claims()}["time saved in training"]
    24.6
    """
    return (*_vram(), *_files(), *_speed(), *_latency())


def _vram() -> tuple[Claim, ...]:
    """GPT-3 in training: 16-bit weights, and with full fine-tuning 16-bit moments and gradients."""
    full = training_memory(count("gpt3-175b", "full"), batch=0, state_dtype="float16", dtype="float16")
    lora = training_memory(
        count("gpt3-175b", "lora", rank=4), batch=0, state_dtype="float16", dtype="float16"
    )
    without = full.weights + full.optimizer
    return (
        Claim(
            "LoRA in training",
            "350 GB",
            lora.total / 1e9,
            "GB",
            "2 bytes x 174.6e9 weights + (2 + 2 x 2) bytes x 18.9e6 trained = 349.3 GB",
            "rounded/truncated",
            "349 GB; with the paper's 175,255.8M parameters 2 bytes each make 350.5",
        ),
        Claim(
            "full fine-tuning, weights and Adam's moments",
            "1.2 TB",
            without / 1e12,
            "TB",
            "(2 + 2 x 2) bytes x 174.6e9 = 1.05 TB; with 2 bytes of gradient each 1.40 TB",
            "not reproduced",
            "1.2 TB lies between the sum without gradients and the sum with them; the paper does not list the terms",
        ),
        Claim(
            "share of memory saved, without gradients",
            "up to 2/3",
            1 - lora.weights / without,
            "",
            "1 - 2 / (2 + 4) = 2/3: the moments of frozen weights are not kept",
            "rounded/truncated",
            "with gradients kept it is 1 - 2/8 = 3/4; 1.2 TB to 350 GB is 71 %",
        ),
    )


def _files() -> tuple[Claim, ...]:
    """Size the checkpoint of one task, and of a hundred."""
    adapter = adapter_file_bytes(count("gpt3-175b", "lora", rank=4), dtype="float16")
    model = adapter_file_bytes(count("gpt3-175b", "full"), dtype="float16")
    return (
        Claim(
            "checkpoint of one task",
            "35 MB",
            adapter / 1e6,
            "MB",
            "18,874,368 x 2 bytes = 37.7 MB = 36 MiB exactly",
            "rounded/truncated",
            "rounded down, so that 350 GB / 35 MB is 10,000 exactly; ours is 9,251",
        ),
        Claim(
            "100 tasks as adapters",
            "354 GB",
            (350e9 + 100 * 35e6) / 1e9,
            "GB",
            "350 GB + 100 x 35 MB = 353.5 GB, from the printed sizes",
            "reproduced",
            f"{(model + 100 * adapter) / 1e9:.1f} GB from our counts",
        ),
        Claim("100 tasks as models", "35 TB", 100 * 350e9 / 1e12, "TB", "100 x 350 GB = 35 TB", "reproduced"),
    )


def _speed() -> tuple[Claim, ...]:
    """Tokens per second per V100: 32.5 with full fine-tuning, 43.1 with LoRA."""
    throughput, time = speedup(43.1, 32.5)
    return (
        Claim(
            "time saved in training",
            "25 %",
            100 * time,
            "%",
            "1 - 32.5 / 43.1 = 24.6 %",
            "reproduced",
            "the same figures are 32.6 % more throughput: the printed 25 % is time saved",
        ),
        Claim(
            "throughput gained in training",
            "25 %",
            100 * throughput,
            "%",
            "43.1 / 32.5 - 1 = 32.6 %",
            "not reproduced",
            "the printed 25 % is the other reading, time saved",
        ),
    )


def speedup(after: float, before: float) -> tuple[float, float]:
    """Read two rates in both ways: throughput gained, after/before − 1, and time saved, 1 − before/after.

    [count-speedup]

    >>> speedup(2.0, 1.0)
    (1.0, 0.5)
    """
    checks.require_number("after", after, above=0)
    checks.require_number("before", before, above=0)
    return after / before - 1, 1 - before / after


LATENCY_MS = {
    "batch 32, 512 tokens": {"LoRA": 1449.4, "AdapterL": 1482.0, "AdapterH": 1492.2},
    "batch 16, 256 tokens": {"LoRA": 338.0, "AdapterL": 354.8, "AdapterH": 366.3},
    "batch 1, 128 tokens": {"LoRA": 19.8, "AdapterL": 23.9, "AdapterH": 25.8},
}
"""Table 1 of the paper: GPT-2 medium, milliseconds, mean of 100 runs (a merged LoRA runs like the model itself)."""

_PRINTED_SLOWDOWN = {
    "batch 32, 512 tokens": {"AdapterL": "+2.2%", "AdapterH": "+3.0%"},
    "batch 16, 256 tokens": {"AdapterL": "+5.0%", "AdapterH": "+8.4%"},
    "batch 1, 128 tokens": {"AdapterL": "+20.7%", "AdapterH": "+30.3%"},
}


def _latency() -> tuple[Claim, ...]:
    """Compare inference with and without the adapters' extra layers."""
    found = []
    for case, times in LATENCY_MS.items():
        for method, printed in _PRINTED_SLOWDOWN[case].items():
            percent = 100 * (times[method] / times["LoRA"] - 1)
            same = f"+{percent:.1f}%" == printed
            found.append(
                Claim(
                    f"latency of {method}, {case}",
                    printed,
                    percent,
                    "%",
                    f"{times[method]} / {times['LoRA']} - 1 = {percent:.1f} %",
                    "reproduced" if same else "not reproduced",
                )
            )
    return tuple(found)
