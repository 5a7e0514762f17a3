"""One worker of several in a group. Options: the group; how many seconds to go on after the first event.

Prints how many events were handled by when, on a clock that all processes of the machine share.
"""

from __future__ import annotations

import json
import time

from bench.arguments import arguments, options
from bench.event import EVENT_TYPE, OrderPlaced
from evkafka import EVKafkaApp

EVERY = 2_000


def main() -> None:
    given, (group_id, seconds) = arguments(), options()
    app = EVKafkaApp(
        {
            "topics": [given.topic],
            "bootstrap_servers": given.bootstrap_servers,
            "group_id": group_id,
            "auto_offset_reset": "earliest",
        }
    )
    marks: list[tuple[float, float, int]] = []
    seen = 0

    @app.event(EVENT_TYPE)
    async def handle(event: OrderPlaced) -> None:
        nonlocal seen
        if seen % EVERY == 0:
            marks.append((time.monotonic(), time.process_time(), seen))
            if marks[-1][0] - marks[0][0] > float(seconds):
                app.stop()
        seen += 1

    app.run()
    print(json.dumps({"marks": marks}))


if __name__ == "__main__":
    main()
