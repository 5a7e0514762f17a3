"""Events that endpoints send: a confirmed one is in the log, in order by key, at least once for each handled record."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, RecordMetadata, Request, Sender
from tests.conformance.table import LANES, QUICK
from tests.support.backends import Backend, committed_is

RECORDS, KEYS = 24, 3


class Relay:
    """An app that forwards each event with its key; every fifth record fails once, after it has sent."""

    def __init__(self, config: dict[str, Any], out: str, *, fails: bool = True) -> None:
        self.confirmed: list[RecordMetadata] = []
        handler, sender = Handler(), Sender()

        @sender.event("Relayed", key=lambda payload: payload["key"])
        async def relay(payload: dict[str, Any]) -> None: ...

        @handler.event("E")
        async def on_event(payload: dict[str, Any], request: Request) -> None:
            self.confirmed.append(await relay(payload))
            await asyncio.sleep(0)
            if fails and payload["number"] % 5 == 0 and request.attempt == 1:
                raise ValueError("after it has sent")

        self.app = EVKafkaApp()
        self.app.add_consumer(config, handler)  # type: ignore[arg-type]
        servers = config.get("bootstrap_servers", "nobody:1")
        self.app.add_producer({"bootstrap_servers": servers, "topic": out}, sender)


async def numbers_by_key(backend: Backend, topic: str) -> dict[str, list[int]]:
    """Return the numbers in the log, in order for each key."""
    found: dict[str, list[int]] = {}
    for value, headers in await backend.values(topic):
        assert value is not None
        assert headers["Event-Type"] == b"Relayed"
        payload = json.loads(value)
        found.setdefault(payload["key"], []).append(payload["number"])
    return found


@pytest.mark.parametrize("lanes", LANES)
class TestASender:
    async def test_writes_the_output_of_each_handled_record_at_least_once_and_in_order_by_key(
        self, backend: Backend, lanes: str
    ) -> None:
        topic, out = await backend.topic(), await backend.topic(partitions=2)
        config = backend.config(topic, on_error=QUICK, **LANES[lanes])
        for number in range(RECORDS):
            key = f"k{number % KEYS}"
            await backend.send(topic, {"number": number, "key": key}, key=key.encode())
        relay = Relay(config, out)
        async with backend.running(relay.app):
            await committed_is(backend, config, topic, RECORDS)

        found = await numbers_by_key(backend, out)
        assert {number for numbers in found.values() for number in numbers} == set(range(RECORDS))
        assert sum(map(len, found.values())) == len(relay.confirmed)
        if lanes != "unordered":
            firsts = {key: list(dict.fromkeys(numbers)) for key, numbers in found.items()}
            assert firsts == {f"k{key}": list(range(key, RECORDS, KEYS)) for key in range(KEYS)}

    async def test_returns_the_offset_of_a_sent_event(self, backend: Backend, lanes: str) -> None:
        topic, out = await backend.topic(), await backend.topic(partitions=2)
        config = backend.config(topic, **LANES[lanes])
        for number in range(6):
            await backend.send(topic, {"number": number, "key": f"k{number}"}, key=b"%d" % number)
        relay = Relay(config, out, fails=False)
        async with backend.running(relay.app):
            await committed_is(backend, config, topic, 6)

        places = sorted((place.partition, place.offset) for place in relay.confirmed)
        counts = [sum(partition == own for partition, _ in places) for own in (0, 1)]
        assert places == [(partition, offset) for partition in (0, 1) for offset in range(counts[partition])]
        assert all(place.topic == out for place in relay.confirmed)


class TestKeys:
    async def test_map_to_the_same_partitions_on_both_backends(self, backend: Backend) -> None:
        """The partitions of the Java client for k0 to k7."""
        topic, out = await backend.topic(), await backend.topic(partitions=4)
        config = backend.config(topic)
        for number in range(8):
            await backend.send(topic, {"number": number, "key": f"k{number}"})
        relay = Relay(config, out, fails=False)
        async with backend.running(relay.app):
            await committed_is(backend, config, topic, 8)
        assert [place.partition for place in relay.confirmed] == [1, 1, 1, 0, 0, 0, 1, 0]
