"""How long the rooms compute, at their default and at every control's ends: ``python -m tests.room_times [ROOM …]``.

It prints and asserts nothing: what a room may ask for is bounded by sizes.  The first visit of a process loads the
compiled kernels; it is not counted.
"""

import logging
import sys

from lora_np.figures.chart import in_seconds
from tests.app_visits import PATHS, opened, visits


def main(*paths: str) -> None:
    """Print a line for each room: default, slowest state, and which."""
    logging.disable(logging.WARNING)
    print(f"{'room':12} {'default':>10} {'slowest':>10}  state")
    for room in paths or PATHS:
        opened(room)
        timed = [visit for visit in visits(room) if visit.seconds is not None]
        if timed:
            slowest = max(timed, key=lambda visit: visit.seconds)
            print(
                f"{room:12} {in_seconds(timed[0].seconds):>10} {in_seconds(slowest.seconds):>10}  {slowest.state}",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
