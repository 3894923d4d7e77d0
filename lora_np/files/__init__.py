"""PEFT adapters and base weights in the safetensors format, read and written without PyTorch.  Floor 5.

What is read may come from anywhere, so everything is checked before it is believed, and every bad file raises one of
our errors.  Nothing in a file is ever executed, and nothing is allocated because a file claims a size.  Other methods
than LoRA (and DoRA's magnitude) are refused by name.

>>> import numpy as np
>>> from lora_np.lora import LoraParams
>>> made = make_adapter({"q": LoraParams(B=np.ones((2, 1)), A=np.ones((1, 3)))}, alpha=2)
>>> read = adapter_from_bytes(*adapter_to_bytes(made))
>>> read.modules["q"].params.A, read.modules["q"].scale
(array([[1., 1., 1.]]), 2.0)
"""

from lora_np.files.adapter import adapter_from_bytes, read_adapter
from lora_np.files.base import read_base
from lora_np.files.config import PeftConfig
from lora_np.files.header import Header, TensorEntry, read_safetensors_header
from lora_np.files.module import AdapterFile, ModuleAdapter, make_adapter
from lora_np.files.sources import Limits
from lora_np.files.writing import adapter_to_bytes, write_adapter

__all__ = [
    "AdapterFile",
    "Header",
    "Limits",
    "ModuleAdapter",
    "PeftConfig",
    "TensorEntry",
    "adapter_from_bytes",
    "adapter_to_bytes",
    "make_adapter",
    "read_adapter",
    "read_base",
    "read_safetensors_header",
    "write_adapter",
]
