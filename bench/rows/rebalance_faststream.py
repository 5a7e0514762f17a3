"""One member of a FastStream group, as `rebalance_evkafka` is one of EVKafka's. Options: the group."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

from bench.arguments import arguments, options
from bench.rebalance import HANDLER_S, IN_FLIGHT

args, (group_id, *_) = arguments(), options()
broker = KafkaBroker(args.bootstrap_servers, logger=None)
app = FastStream(broker, logger=None)
handled: list[tuple[float, int, int]] = []


@broker.subscriber(
    args.topic,
    group_id=group_id,
    auto_offset_reset="earliest",
    max_workers=IN_FLIGHT,
    ack_policy=AckPolicy.ACK,
)
async def handle(event: dict[str, Any], message: KafkaMessage) -> None:
    raw: Any = message.raw_message
    if not handled:
        print("first record", flush=True)
    handled.append((time.monotonic(), raw.partition, raw.offset))
    await asyncio.sleep(HANDLER_S)


asyncio.run(app.run())
print(json.dumps({"handled": handled}))
