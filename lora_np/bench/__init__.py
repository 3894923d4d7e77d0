"""Measurements: what `lora-np bench` prints and the app's Cost page shows.  Floor 6.

measure      times and memory of any functions, taken in turns
machine      what it ran on, and the two rates that bound everything
row          one line of the table, with its targets
peers        the same work in torch and PEFT, where they are installed
layer_cases, update_cases, import_cases      what is measured
run          all jobs, one after another;  report  the table and the JSON

Importing this package measures nothing and loads no optional package.
"""

from lora_np.bench.measure import LinearTime, extra_bytes, in_turns, time_linear
from lora_np.bench.row import Row, Target

__all__ = ["LinearTime", "Row", "Target", "extra_bytes", "in_turns", "time_linear"]
