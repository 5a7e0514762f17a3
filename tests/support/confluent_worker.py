"""A consumer of confluent-kafka that tests run as a process; it writes the same journal as tests/support/worker.py.

Its configuration is confluent-kafka's, with the key "topics". It commits what it has handled, as programs with
confluent-kafka commonly do: finished records are stored, and librdkafka commits them at its interval, before a
partition is given back, and when the consumer is closed. Of the works of tests/support/worker.py it has "wait_for"
alone; "metadata" is what it commits with the record's offset.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from tests.support.worker_journal import note, note_partitions

stopping = threading.Event()


def main() -> None:
    [config] = json.loads(os.environ["WORKER_CONFIGS"])
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    topics = config.pop("topics")
    consumer = Consumer({"enable.auto.offset.store": False, **config})
    consumer.subscribe(topics, on_assign=noted("assigned"), on_revoke=noted("revoked"), on_lost=noted("lost"))
    while not stopping.is_set():
        message = consumer.poll(0.1)
        if message is None:
            continue
        if (error := message.error()) is not None:
            note("error", text=str(error))
        elif handle(message):
            consumer.store_offsets(offsets=[behind(message)])
    consumer.close()
    note("clean exit")


def noted(what: str) -> Any:
    def callback(_: Consumer, partitions: list[TopicPartition]) -> None:
        note_partitions(what, [partition.partition for partition in partitions])

    return callback


def behind(message: Message) -> TopicPartition:
    """What to commit when this record is finished."""
    position = message.topic() or "", message.partition() or 0, (message.offset() or 0) + 1
    text = work_of(message).get("metadata")
    return TopicPartition(*position) if text is None else TopicPartition(*position, metadata=text)


def work_of(message: Message) -> dict[str, Any]:
    return dict(json.loads(message.value() or b"{}"))


def handle(message: Message) -> bool:
    """Handle one record. Returns False if the process is told to stop before."""
    work = work_of(message)
    position = {"partition": message.partition(), "offset": message.offset(), "id": work.get("id")}
    note("begun", **position)
    while (gate := work.get("wait_for")) and not Path(gate).exists():
        if stopping.wait(0.01):
            return False
    note("done", **position)
    return True


if __name__ == "__main__":
    main()
