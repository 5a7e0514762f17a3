"""With an exactly-once consumer a test client has sent what readers of committed records would see."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evkafka import BatchError, DeadLetter, EVKafkaApp, EVKafkaProducer, Handler, Retry, Sender, Skip, TestClient
from evkafka.exceptions import ConfigError
from evkafka.records import RecordMetadata
from evkafka.testing import AsyncTestClient

OUTCOMES: dict[str, Any] = {"skip": Skip("enough"), "retry": Retry(after_ms=5), "dead_letter": DeadLetter("bad")}


class Relay:
    """An app whose endpoints send each value on, and end as it says: `skip`, `retry`, `dead_letter` or `fail`.

    Attributes:
        metadata: of the sends.
        late: the task of an endpoint that outlives its attempt.
    """

    def __init__(self, mode: str = "exactly-once", **producer: Any) -> None:
        self.metadata: list[RecordMetadata] = []
        self.late: asyncio.Task[object] | None = None
        self.app, self.sender = EVKafkaApp(), Sender()
        self.app.add_consumer({"topics": ["in"], "auto_commit_mode": mode}, self._handler())  # type: ignore[typeddict-item]
        self.app.add_producer(producer, self.sender)  # type: ignore[arg-type]

    def _handler(self) -> Handler:
        handler = Handler()

        @self.sender.event("Out", topic="out")
        async def send_out(value: str) -> None: ...

        @handler.event("E")
        async def relay(value: str) -> object:
            self.metadata.append(await send_out(value))
            return ended(value)

        @handler.event("Sync")
        def in_thread(value: str) -> object:
            self.metadata.append(send_out.from_thread(value))
            return ended(value)

        @handler.event("Batch", batch=True)
        async def batch(values: list[str]) -> None:
            for value in values:
                await send_out(value)
            if ends := {index: OUTCOMES[value] for index, value in enumerate(values) if value in OUTCOMES}:
                raise BatchError(ends)

        @handler.event("Own")
        async def own_producer(value: str) -> object:
            async with EVKafkaProducer({"topic": "out"}) as producer:
                await producer.send_event(value, "Out")
            return ended(value)

        @handler.event("Late")
        async def outlived(value: str) -> None:
            go_on = asyncio.Event()

            async def later() -> None:
                await go_on.wait()
                await send_out(value)

            self.late = asyncio.get_running_loop().create_task(later())
            asyncio.get_running_loop().call_soon(go_on.set)

        return handler


def ended(value: str) -> object:
    if value == "fail":
        raise ValueError(value)
    return OUTCOMES.get(value)


def sent_by(relay: Relay, *values: str, event_type: str = "E") -> list[object]:
    """What a client has sent after these events."""
    with TestClient(relay.app, raise_endpoint_errors=False) as client:
        for value in values:
            client.send_event(value, event_type, "in")
        return [one.event for one in client.sent]


@pytest.mark.parametrize("event_type", ["E", "Sync"])
def test_an_attempt_that_does_not_finish_its_record_sends_nothing(event_type: str) -> None:
    values = ["a", "fail", "retry", "dead_letter", "skip", "b"]
    assert sent_by(Relay(), *values, event_type=event_type) == ["a", "skip", "b"]


def test_a_send_over_a_producer_of_another_cluster_is_refused() -> None:
    with TestClient(Relay(bootstrap_servers="elsewhere:9092").app) as client:
        with pytest.raises(ConfigError, match=r"elsewhere:9092 .*a transaction cannot span two clusters.*outside_tr"):
            client.send_event("a", "E", "in")
        assert client.sent == []


@pytest.mark.parametrize(
    "producer",
    [
        {"bootstrap_servers": "elsewhere:9092", "outside_transactions": True},
        {"bootstrap_servers": ["elsewhere:9092", "localhost:9092"]},
    ],
    ids=["outside transactions", "a server in common"],
)
def test_a_send_over_another_list_of_servers_is_sent(producer: dict[str, Any]) -> None:
    assert sent_by(Relay(**producer), "a") == ["a"]


def test_a_list_of_another_producer_says_that_two_lists_name_one_cluster() -> None:
    relay = Relay(bootstrap_servers="elsewhere:9092")
    relay.app.add_producer({"bootstrap_servers": ["elsewhere:9092", "localhost:9092"]}, Sender(), "both")
    assert sent_by(relay, "a") == ["a"]


def test_an_error_that_the_client_raises_drops_what_was_sent() -> None:
    with TestClient(Relay().app) as client:
        with pytest.raises(ValueError, match="fail"):
            client.send_event("fail", "E", "in")
        assert client.sent == []


def test_an_event_is_described_as_in_any_other_mode() -> None:
    described = []
    for mode in ("exactly-once", "post-commit"):
        with TestClient(Relay(mode).app) as client:
            client.send_event("a", "E", "in")
            described += client.sent
    assert described[0] == described[1]


def test_a_send_has_no_offset() -> None:
    relay = Relay()
    sent_by(relay, "a", "b")
    assert [(one.topic, one.partition, one.offset) for one in relay.metadata] == [("out", 0, -1)] * 2


@pytest.mark.parametrize(
    ("values", "visible"),
    [(["a", "b"], ["a", "b"]), (["a", "skip"], ["a", "skip"]), (["a", "dead_letter"], []), (["retry", "b"], [])],
)
def test_what_a_batch_sends_belongs_to_all_of_its_records(values: list[str], visible: list[str]) -> None:
    with TestClient(Relay().app, raise_endpoint_errors=False) as client:
        client.send_batch(values, "Batch", "in")
        assert [one.event for one in client.sent] == visible


def test_a_producer_outside_transactions_sends_in_each_attempt() -> None:
    assert sent_by(Relay(outside_transactions=True), "a", "fail") == ["a", "fail"]


def test_a_producer_that_the_endpoint_creates_sends_in_each_attempt() -> None:
    assert sent_by(Relay(), "a", "fail", event_type="Own") == ["a", "fail"]


def test_in_other_modes_each_attempt_sends() -> None:
    assert sent_by(Relay("post-commit"), "a", "fail", "retry") == ["a", "fail", "retry"]


async def test_a_task_that_outlives_its_attempt_cannot_send() -> None:
    relay = Relay()
    async with AsyncTestClient(relay.app) as client:
        await client.send_event("a", "Late", "in")
        assert relay.late is not None
        with pytest.raises(RuntimeError, match=r"after the attempt at in\[0\]@0 had ended"):
            await relay.late
        assert client.sent == []


async def test_attempts_at_the_same_time_do_not_mix() -> None:
    async with AsyncTestClient(Relay().app, raise_endpoint_errors=False) as client:
        await asyncio.gather(*(client.send_event(value, "E", "in") for value in ("a", "fail", "b", "retry")))
        assert sorted(one.event for one in client.sent) == ["a", "b"]
