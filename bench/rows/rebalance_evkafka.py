"""One member of a group that handles 16 partitions at a time, 50 ms each. Options: the group; its protocol;
seconds that a record of partition 0 takes.

It prints a line at its first record, and when it is stopped what it has handled: monotonic time (the same in all
processes), partition, offset.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from bench.app import make_app
from bench.arguments import arguments, options
from bench.event import EVENT_TYPE
from bench.rebalance import HANDLER_S, IN_FLIGHT, SLOW_PARTITION
from evkafka import Request


def main() -> None:
    args, (group_id, protocol, slow_s) = arguments(), options()
    app = make_app(args, group_id=group_id, group_protocol=protocol, concurrency=IN_FLIGHT, ordering="partition")
    handled: list[tuple[float, int, int]] = []

    @app.event(EVENT_TYPE)
    async def handle(event: dict[str, Any], request: Request) -> None:
        if not handled:
            print("first record", flush=True)
        handled.append((time.monotonic(), request.partition, request.offset))
        await asyncio.sleep(float(slow_s) if request.partition == SLOW_PARTITION else HANDLER_S)

    app.run()
    print(json.dumps({"handled": handled}))


if __name__ == "__main__":
    main()
