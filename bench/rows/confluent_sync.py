"""confluent-kafka's loop as a careful person writes it: librdkafka's threads fetch, this one decodes and handles.

Its positions are committed every five seconds, of what was handled. CPU seconds are the process's, its threads' too.
"""

from __future__ import annotations

import time

from confluent_kafka import Consumer, TopicPartition

from bench.arguments import arguments
from bench.event import OrderPlaced
from bench.meter import Meter

COMMIT_EVERY_S = 5.0


def main() -> None:
    given = arguments()
    done: list[bool] = []
    meter = Meter(given.events, lambda: done.append(True))

    def handle(event: OrderPlaced) -> None:
        meter.tick()

    consumer = Consumer(
        {
            "bootstrap.servers": given.bootstrap_servers,
            "group.id": given.group_id,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([given.topic])
    positions: dict[int, int] = {}
    committed_at = time.monotonic()

    def commit() -> None:
        consumer.commit(
            offsets=[TopicPartition(given.topic, *place) for place in positions.items()], asynchronous=False
        )

    while not done:
        messages = consumer.consume(500, 0.2)
        for message in messages:
            if (error := message.error()) is not None:
                raise RuntimeError(str(error))
            handle(OrderPlaced.model_validate_json(message.value()))
        positions.update({message.partition(): message.offset() + 1 for message in messages})
        if time.monotonic() - committed_at >= COMMIT_EVERY_S:
            commit()
            committed_at = time.monotonic()
    commit()
    consumer.close()


if __name__ == "__main__":
    main()
