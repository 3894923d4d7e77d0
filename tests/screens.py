"""Photograph every room, in light and dark, on a desktop and on a phone: ``python -m tests.screens DIR [ROOM …]``.

Prints how long each took from the address to the last picture, and from a key press on its first slider to a new
picture.  Needs a Chromium, as the browser tests do.
"""

import sys
import time
from pathlib import Path

from app.rooms import ROOMS
from tests.browser.visiting import DESKTOP, PHONE, Visit, browsing, found_browser, serving

SETTLE_SECONDS = 1.0  # fonts and the last picture


def main(folder: str, *paths: str) -> int:
    """Write ROOM_SCHEME_WIDTH.png for each room named, or for all."""
    path = found_browser()
    if path is None:
        print("no chromium on the path", file=sys.stderr)
        return 2
    shots = Path(folder)
    shots.mkdir(parents=True, exist_ok=True)
    with serving() as (address, _), browsing(path) as browser:
        for room in [room for room in ROOMS if not paths or room.path in paths]:
            for width in (DESKTOP, PHONE):
                for scheme in ("light", "dark"):
                    visitor = Visit(browser, scheme, width)
                    seconds = visitor.open(f"{address}/{room.address}")
                    time.sleep(SETTLE_SECONDS)
                    visitor.page.screenshot(path=shots / f"{room.path}_{scheme}_{width}.png")
                    line = f"{room.path:12} {scheme:5} {width:5} px  first picture {seconds:5.1f} s"
                    if (width, scheme) == (DESKTOP, "light"):
                        answer = visitor.answers_a_key()
                        line += "" if answer is None else f"  key to new picture {answer:4.2f} s"
                    print(line, flush=True)
                    visitor.context.close()
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
