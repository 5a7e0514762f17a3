"""A loop on confluent-kafka's `consume(500)`: librdkafka's threads fetch, this one decodes and handles.

Option: `pydantic`, `msgspec`, or `nothing`, which neither looks at a header nor decodes: the floor for a consumer that
gets its records from librdkafka. It commits the handled records every five seconds. CPU seconds are those of all
threads of the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from bench.arguments import arguments, options
from bench.event import PROFILE
from bench.meter import Meter
from bench.models import decoder

COMMIT_EVERY_S = 5.0


def main() -> None:
    args, (library,) = arguments(), options()
    done: list[bool] = []
    meter = Meter(args.events if library != "nothing" else PROFILE.records(args.events), lambda: done.append(True))
    handle_messages = create_counter(meter) if library == "nothing" else create_decoding_handler(meter, library)
    consumer = Consumer(
        {
            "bootstrap.servers": args.bootstrap_servers,
            "group.id": args.group_id,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 5,  # the default of a second stops fetching whenever the queue is full
        }
    )
    consumer.subscribe([args.topic])
    positions: dict[int, int] = {}
    committed_at = time.monotonic()

    def commit() -> None:
        consumer.commit(
            offsets=[TopicPartition(args.topic, *position) for position in positions.items()], asynchronous=False
        )

    while not done:
        messages = consumer.consume(500, 0.2)
        handle_messages(messages)
        positions.update({message.partition(): message.offset() + 1 for message in messages})
        if time.monotonic() - committed_at >= COMMIT_EVERY_S:
            commit()
            committed_at = time.monotonic()
    commit()
    consumer.close()


def create_counter(meter: Meter) -> Callable[[list[Any]], None]:
    """Return what only counts."""

    def count(messages: list[Any]) -> None:
        meter.tick(len(messages))

    return count


def create_decoding_handler(meter: Meter, library: str) -> Callable[[list[Any]], None]:
    """Return what decodes and handles the messages of the handled types."""
    decode = decoder(library)
    handlers = {name.encode(): decode for name in PROFILE.handled}
    only_type = len(PROFILE.types) == 1

    def handle(event: object) -> None:
        meter.tick()

    def handle_all(messages: list[Any]) -> None:
        for message in messages:
            if (error := message.error()) is not None:
                raise RuntimeError(str(error))
            handle(decode(message.value()))

    def handle_some(messages: list[Any]) -> None:
        for message in messages:
            if (error := message.error()) is not None:
                raise RuntimeError(str(error))
            for name, value in message.headers():
                if name == "Event-Type":
                    if (decode := handlers.get(value)) is not None:
                        handle(decode(message.value()))
                    break

    return handle_all if only_type else handle_some


if __name__ == "__main__":
    main()
