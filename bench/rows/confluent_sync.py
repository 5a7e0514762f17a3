"""A loop on confluent-kafka, as a careful author writes it: librdkafka's threads fetch, this one decodes and handles.

It commits the handled records every five seconds. CPU seconds are those of all threads of the process.
"""

from __future__ import annotations

import time

from confluent_kafka import Consumer, TopicPartition

from bench.arguments import arguments
from bench.event import OrderPlaced
from bench.meter import Meter

COMMIT_EVERY_S = 5.0


def main() -> None:
    args = arguments()
    done: list[bool] = []
    meter = Meter(args.events, lambda: done.append(True))

    def handle(event: OrderPlaced) -> None:
        meter.tick()

    consumer = Consumer(
        {
            "bootstrap.servers": args.bootstrap_servers,
            "group.id": args.group_id,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
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
