"""Example adapters that PEFT made: four small ones on one vision transformer, and its weights.  Floor 4.

How they were made, and what they are worth, stands in `peft_vit/README.md`.  Only places are named here; for reading
them see `lora_np.files`.
"""

from pathlib import Path

from lora_np import checks

FOLDER = Path(__file__).with_name("peft_vit")
ADAPTERS = {
    "turned": "digits turned by 90 degrees",
    "turned-again": "digits turned by 90 degrees, another seed",
    "inverted": "ink and paper swapped",
    "tilted": "digits turned by 15 degrees, adapted gently",
}
BASE = FOLDER / "base.safetensors"
"""The frozen weights of the modules that they adapt, in float32."""


def example_adapter(name: str) -> Path:
    """Name the folder of an example: `adapter_model.safetensors` and `adapter_config.json`, as PEFT saved them.

    Raises `ConfigError` for a name that is none of `ADAPTERS`.

    >>> sorted(path.name for path in example_adapter("turned").iterdir())
    ['adapter_config.json', 'adapter_model.safetensors']
    """
    checks.require_one_of("name", name, ADAPTERS)
    return FOLDER / name
