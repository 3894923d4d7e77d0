"""Equations: networks.  Floor 0."""

from lora_np.equations._entry import table

EQUATIONS = table()
