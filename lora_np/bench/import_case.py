"""What `import lora_np` costs beside `import numpy`, each in a fresh interpreter.  Floor 6."""

import os
import subprocess
import sys
from pathlib import Path

import lora_np.errors
from lora_np.bench.row import Row, Target

_ROOT = Path(lora_np.errors.__file__).parents[1]


def import_time(*, budget_s: float) -> Row:
    """Time both imports in turns; interpreter start not counted."""
    turns = max(3, min(20, int(2 * budget_s)))
    times: dict[str, list[float]] = {"lora_np": [], "numpy": []}
    for _ in range(turns):
        for package in times:
            times[package].append(_import_ms(package))
    return Row(
        "import",
        "lora_np",
        ours_ms=min(times["lora_np"]),
        numpy_ms=min(times["numpy"]),
        dtype="",
        targets=(Target("ours", "numpy", 1.5),),
        bound="NumPy's own import",
        words="import lora_np, and import numpy alone",
    )


def _import_ms(package: str) -> float:
    """Import a package in a fresh interpreter; return the milliseconds that the import took."""
    code = f"import time; t = time.perf_counter(); import {package}; print(time.perf_counter() - t)"
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    return 1e3 * float(done.stdout)
