"""All jobs of the bench, to be run one after another.  Floor 6.  Prints nothing."""

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from lora_np.backends import Backend
from lora_np.bench import layer_cases, update_cases
from lora_np.bench.import_case import import_time
from lora_np.bench.machine import Machine
from lora_np.bench.row import Row
from lora_np.errors import ConfigError

CASES = (
    "lora-step",
    "low-rank-update",
    "importance-exact",
    "importance-estimated",
    "forms",
    "adam",
    "import",
)


class Job(NamedTuple):
    """One row to be measured: ``job.measure()``."""

    case: str
    shape: str
    measure: Callable[[], Row]


def plan(machine: Machine, backend: Backend, *, quick: bool = False, only: Sequence[str] = ()) -> list[Job]:
    """List the jobs; `only` names cases.  Raises `ConfigError`.

    Quick gives each row a second rather than eight: the same rows, noisier.  The layer, with seven contestants, has
    three times that.
    """
    for name in only:
        if name not in CASES:
            close = difflib.get_close_matches(name, CASES, n=1)
            raise ConfigError(
                f"no case is called {name!r}; there are {', '.join(CASES)}",
                fix=f"did you mean {close[0]!r}?" if close else "",
            )
    budget = 1.0 if quick else 8.0
    bind = partial(partial, backend=backend, machine=machine, budget_s=budget)
    jobs = [
        Job("lora-step", layer_cases.words_of(s), bind(layer_cases.lora_step, s, budget_s=3 * budget))
        for s in layer_cases.STEP_SHAPES
    ]
    jobs += [
        Job("low-rank-update", "2048x4096 r8", bind(update_cases.low_rank_update, (2048, 4096, 8))),
        Job("importance-exact", "2048x4096x4096", bind(update_cases.importance_exact, (2048, 4096, 4096))),
        Job("importance-estimated", "4096x4096 r8", bind(update_cases.importance_estimated, (4096, 4096, 8))),
    ]
    jobs += [
        Job("forms", layer_cases.words_of(s), bind(layer_cases.forms, s)) for s in layer_cases.FORM_SHAPES
    ]
    jobs += [
        Job("adam", "1000000", bind(update_cases.adam, (1_000_000,))),
        Job("import", "lora_np", partial(import_time, budget_s=budget)),
    ]
    return [job for job in jobs if not only or job.case in only]
