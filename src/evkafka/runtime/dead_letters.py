"""Dead letters: a record that its policy gives up is written to another topic, byte for byte, and confirmed,
before its offset may be committed."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

from evkafka.backoff import exponential
from evkafka.config import dead_letter_topic
from evkafka.exceptions import ConfigError, EVKafkaError
from evkafka.ports import Clock, Record, RecordSink, Route, Slot
from evkafka.runtime.clock import sleep, within
from evkafka.runtime.settle import Bury, StopApp
from evkafka.settings import ErrorPolicySettings

logger = logging.getLogger("evkafka.dead_letters")

PREFIX = "evkafka-dlq-"
ORIGIN = ("topic", "partition", "offset", "timestamp", "group", "id")
TRACEBACK_BYTES = 8 * 1024
SEND_TIMEOUT_S = 30.0

Headers = list[tuple[str, bytes | None]]


class DeadLetterWriter:
    """Writes dead letters through a producer of its own.

    Args:
        group_id: in the topic's name, so that two services on one topic do not meet in one dead-letter topic.
    """

    def __init__(
        self,
        sink: RecordSink,
        *,
        group_id: str,
        policy_for: Callable[[Route | None], ErrorPolicySettings],
        clock: Clock,
    ) -> None:
        self._sink = sink
        self._group_id = group_id
        self._policy_for = policy_for
        self._clock = clock
        self._started = False
        self._starting = asyncio.Lock()

    async def bury(self, record: Record, slot: Slot, verdict: Bury) -> None:
        """Write the dead letter and wait for its confirmation; try again until it is written, never skip it."""
        topic = self._topic(record, slot)
        headers = dead_letter_headers(record, slot, verdict, group_id=self._group_id)
        attempt = 0
        while True:
            try:
                await self._send(topic, record, headers)
            except (EVKafkaError, TimeoutError) as error:
                attempt += 1
                wait_s = exponential(attempt, first_s=0.5, multiplier=2, most_s=30, jitter=0, random=lambda: 0.5)
                logger.error(
                    "the dead letter of %s[%d]@%d could not be written to %s, trying again in %.1f s: %r",
                    record.topic,
                    record.partition,
                    record.offset,
                    topic,
                    wait_s,
                    error,
                )
                await sleep(self._clock, wait_s)
            else:
                return

    async def stop(self, *, timeout_s: float) -> None:
        if self._started:
            await self._sink.stop(timeout_s=timeout_s)

    async def _send(self, topic: str, record: Record, headers: Headers) -> None:
        async with self._starting:
            if not self._started:
                await self._sink.start()
                self._started = True
        confirmed = await self._sink.send(
            topic,
            value=record.value,
            key=record.key,
            partition=None,
            timestamp_ms=None,
            headers=headers,
        )
        await within(self._clock, confirmed, SEND_TIMEOUT_S)

    def _topic(self, record: Record, slot: Slot) -> str:
        event_type = slot.route.event_type if slot.route is not None else "unmatched"
        policy = self._policy_for(slot.route)
        try:
            return dead_letter_topic(policy, topic=record.topic, group_id=self._group_id, event_type=event_type)
        except ConfigError as error:
            raise StopApp(
                f"{record.topic}[{record.partition}]@{record.offset} has no dead-letter topic", error
            ) from error


def dead_letter_headers(record: Record, slot: Slot, verdict: Bury, *, group_id: str) -> Headers:
    """The record's own headers, and where it came from and why; a first failure's origin survives a second one."""
    own = [(name, value) for name, value in record.headers if not name.startswith(PREFIX)]
    origin = {name: value for name, value in record.headers if name.startswith(PREFIX)}
    error = verdict.error
    said = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": str(record.timestamp),
        "group": group_id,
        "event-type": slot.route.event_type if slot.route is not None else "",
        "attempts": str(slot.attempt),
        "error-type": f"{type(error).__module__}.{type(error).__qualname__}" if error is not None else "",
        "error-message": str(error) if error is not None else verdict.reason,
        "error-traceback": _traceback(error),
        "failed-at": datetime.now(UTC).isoformat(),
        "id": f"{group_id}/{record.topic}/{record.partition}/{record.offset}",
    }
    headers: Headers = list(own)
    for name, text in said.items():
        first = origin.get(PREFIX + name) if name in ORIGIN else None
        headers.append((PREFIX + name, first if first is not None else text.encode()))
    return headers


def _traceback(error: BaseException | None) -> str:
    if error is None:
        return ""
    text = "".join(traceback.format_exception(error))
    return text.encode()[-TRACEBACK_BYTES:].decode(errors="ignore")
