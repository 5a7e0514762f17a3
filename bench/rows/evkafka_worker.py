"""One worker of several in a group. Options: the group; seconds to run after the first event.

Prints marks: monotonic time (the same in all processes of the machine), CPU seconds, events handled so far.
"""

from __future__ import annotations

import json
import time

from bench.app import make_app
from bench.arguments import arguments, options
from bench.event import EVENT_TYPE, OrderPlaced

MARK_EVERY = 2_000


def main() -> None:
    args, (group_id, seconds) = arguments(), options()
    app = make_app(args, group_id=group_id)
    marks: list[tuple[float, float, int]] = []
    seen = 0

    @app.event(EVENT_TYPE)
    async def handle(event: OrderPlaced) -> None:
        nonlocal seen
        if seen % MARK_EVERY == 0:
            marks.append((time.monotonic(), time.process_time(), seen))
            if marks[-1][0] - marks[0][0] > float(seconds):
                app.stop()
        seen += 1

    app.run()
    print(json.dumps({"marks": marks}))


if __name__ == "__main__":
    main()
