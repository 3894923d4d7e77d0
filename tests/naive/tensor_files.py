"""Safetensors files put together byte by byte: whole ones, and every kind of broken one.  Imports nothing of ours."""

import json
import struct


def floats(values, code="f"):
    """Pack numbers as little-endian floats: f, d, e (half)."""
    return b"".join(struct.pack("<" + code, value) for value in values)


def bfloats(values):
    """Pack numbers that bfloat16 holds exactly: the upper two bytes of a float32."""
    return b"".join(struct.pack("<f", value)[2:] for value in values)


def raw(header, data=b"", length=None):
    """Put a file together from the text of its header and its data."""
    text = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype, shape, start, stop):
    """Describe one tensor as a header does."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def whole(tensors, metadata=None):
    """Put a file together from {name: (dtype, shape, bytes)}."""
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, shape, content) in tensors.items():
        header[name] = entry(dtype, list(shape), len(data), len(data) + len(content))
        data += content
    return raw(json.dumps(header), data)


def ramp(count, start=1.0, step=0.5):
    """Return small numbers that every float type holds exactly, up to 256 of them."""
    return [start + step * i for i in range(count)]


def linear(stem="base_model.model.q", d=3, k=4, r=2, **extra):
    """Put together the adapter of one linear module, as float32."""
    tensors = {
        f"{stem}.lora_A.weight": ("F32", (r, k), floats(ramp(r * k))),
        f"{stem}.lora_B.weight": ("F32", (d, r), floats(ramp(d * r, start=-2.0))),
    }
    return whole(tensors | extra)


def config(**values):
    """Write the least adapter_config.json, with changes; a value of None leaves its key out."""
    keys = {"peft_type": "LORA", "r": 2, "lora_alpha": 8} | values
    return json.dumps({key: value for key, value in keys.items() if value is not None}).encode()
