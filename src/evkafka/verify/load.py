"""Numbered records, sent at a steady pace, with each one's acknowledgement noted."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

from evkafka.exceptions import DeliveryError
from evkafka.producer import EVKafkaProducer
from evkafka.records import RecordMetadata
from evkafka.verify.observations import Sent

NUMBER_HEADER = "Verify-Number"

_TICK_S = 0.02
_LARGEST_BURST_S = 0.2
"""What was missed while nothing could be sent is not made up for: that would be another load."""


class NumberedProducer:
    """Attributes:
    sent: all records so far, in order.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        *,
        seed: int,
        rate: int,
        keys: int,
        event_type: str,
        payload: str | None,
    ) -> None:
        self.sent: list[Sent] = []
        self._chance = random.Random(f"{seed} keys")  # nosec B311 # to be repeated
        self._rate = rate
        self._keys = keys
        self._event_type = event_type
        self._payload = payload or '{"n": {n}}'
        self._producer = EVKafkaProducer({"bootstrap_servers": bootstrap_servers, "topic": topic, "linger_ms": 5})

    @property
    def places(self) -> set[tuple[int, int]]:
        """Where the acknowledged records stand."""
        return {one.place for one in self.sent if one.place is not None}

    async def run(self, lasts_s: float) -> None:
        """Send for so long, then wait until each record is confirmed or has failed."""
        async with self._producer:
            began_s = at_s = time.monotonic()
            owed = 0.0
            while at_s - began_s < lasts_s:
                owed = min(owed, self._rate * _LARGEST_BURST_S)
                while owed >= 1:
                    await self._send()
                    owed -= 1
                await asyncio.sleep(_TICK_S)
                before_s, at_s = at_s, time.monotonic()
                owed += (at_s - before_s) * self._rate
            await self._producer.flush()

    async def _send(self) -> None:
        number = len(self.sent)
        key = f"k{self._chance.randrange(self._keys)}"
        one = Sent(number, key, time.monotonic())
        self.sent.append(one)
        value = self._payload.replace("{n}", str(number)).replace("{key}", key)
        headers = {NUMBER_HEADER: str(number)}
        try:
            future = await self._producer.enqueue_event(value, self._event_type, key=key, headers=headers)
        except DeliveryError as error:
            _failed(one, error)
        else:
            future.add_done_callback(partial(_answered, one))


def _answered(one: Sent, answer: asyncio.Future[RecordMetadata]) -> None:
    if answer.cancelled():
        one.error = "cancelled"
    elif (error := answer.exception()) is not None:
        _failed(one, error)
    else:
        written = answer.result()
        one.acknowledged_s = time.monotonic()
        one.place = (written.partition, written.offset)


def _failed(one: Sent, error: BaseException) -> None:
    one.error = str(error)
    one.never_written = isinstance(error, DeliveryError) and not error.may_have_been_written
