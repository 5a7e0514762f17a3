"""The programs of this folder, tested as users of 0.7 tested them: with TestClient and unittest.mock."""

from __future__ import annotations

import runpy
from pathlib import Path
from unittest import mock

import pytest

from evkafka import DecodeError, EVKafkaApp, TestClient
from evkafka.testing import AsyncTestClient, InMemoryKafka
from tests.examples.of_0_7 import endpoints, lifespans, middlewares, producers


class TestEndpoints:
    @pytest.mark.parametrize(
        ("event", "event_type", "handled"),
        [
            (endpoints.FooEvent(a=1), "ModelEvent", endpoints.FooEvent(a=1)),
            ({"a": 1}, "ModelEvent", endpoints.FooEvent(a=1)),
            ({"a": 1}, "DictEvent", {"a": 1}),
            ("text", "StrEvent", "text"),
            (b"\x00\xff", "BytesEvent", b"\x00\xff"),
            ({"a": 1}, "SyncEvent", endpoints.FooEvent(a=1)),
        ],
    )
    def test_every_kind_of_payload_is_decoded(self, event: object, event_type: str, handled: object) -> None:
        with mock.patch.object(endpoints, "handled", []) as done, TestClient(endpoints.app) as client:
            client.send_event(event, event_type, "topic")
        assert done == [handled]

    def test_an_endpoint_gets_the_request_beside_the_payload(self) -> None:
        with mock.patch.object(endpoints, "handled", []) as done, TestClient(endpoints.app) as client:
            client.send_event({"a": 1}, "RequestEvent", "topic", key=b"key", headers={"h": b"v"})
        assert done == [
            ({"a": 1}, b"key", {"Event-Type": b"RequestEvent", "h": b"v"}, "RequestEvent", "default"),
        ]

    def test_stacked_decorators_included_handlers_and_named_consumers_work(self) -> None:
        with mock.patch.object(endpoints, "handled", []) as done, TestClient(endpoints.several) as client:
            client.send_event({"a": 1}, "FirstName", "one", consumer_name="consumer-1")
            client.send_event({"a": 2}, "SecondName", "two", consumer_name="two")
        assert [event.a for event in done] == [1, 2]

    def test_an_unmatched_event_is_skipped(self) -> None:
        with mock.patch.object(endpoints, "handled", []) as done, TestClient(endpoints.app) as client:
            client.send_event({"a": 1}, "Unknown", "topic")
        assert done == []


class TestProducers:
    def test_a_handler_sends_events(self) -> None:
        with TestClient(producers.app) as client:
            client.send_event(producers.Order(order_id="7"), "OrderPlaced", "orders")
        assert [(sent.event_type, sent.topic) for sent in client.sent] == [
            ("BillIssued", "bills"),
            ("BillArchived", "archive"),
        ]
        assert client.sent[0].event == {"order_id": "7", "cents": 100}

    def test_a_sender_can_be_replaced_by_a_mock(self) -> None:
        sending = mock.AsyncMock()
        with (
            mock.patch.object(producers, "send_bill", sending),
            mock.patch.object(producers, "archive_bill", sending),
            TestClient(producers.app) as client,
        ):
            client.send_event({"order_id": "7"}, "OrderPlaced", "orders")
        bill = producers.Bill(order_id="7", cents=100)
        assert sending.mock_calls == [mock.call(bill), mock.call(bill=bill)]

    async def test_a_producer_works_as_a_context_manager(self) -> None:
        async with AsyncTestClient(EVKafkaApp()) as client:
            await producers.produce_in_a_context()
        first, second = client.sent
        assert (first.topic, first.value) == ("bills", b'{"order_id":"1","cents":1}')
        assert (second.topic, second.key, second.headers["trace"]) == ("other", b"2", b"t")

    async def test_a_second_await_of_a_send_still_works_with_a_warning(self) -> None:
        async with AsyncTestClient(EVKafkaApp()) as client:
            with pytest.warns(DeprecationWarning, match="second await is not needed"):
                await producers.produce_by_hand()
        [sent] = client.sent
        assert (sent.event, sent.partition, sent.timestamp_ms) == ("text", 0, 1)


class TestLifespan:
    def test_its_mapping_is_the_requests_state(self) -> None:
        with TestClient(lifespans.app) as client:
            client.send_event({"name": "a"}, "ByAttribute", "topic")
            client.send_event({"name": "b"}, "ByItem", "topic")
            assert lifespans.opened[-1].open
        assert lifespans.opened[-1].rows == ["a", "b"]
        assert not lifespans.opened[-1].open


class TestMiddleware:
    def test_a_users_middleware_and_decoder_run(self) -> None:
        with mock.patch.object(middlewares, "seen", []) as seen, TestClient(middlewares.app) as client:
            client.send_event({"data": {"a": 1}}, "Event", "topic", headers={"X-Trace": b"7"})
        assert seen == ["before", ({"a": 1}, b"7"), "after"]

    def test_a_value_that_the_decoder_rejects_is_a_decode_error_and_passes_the_middleware(self) -> None:
        patched = mock.patch.object(middlewares, "seen", [])
        with patched as seen, TestClient(middlewares.app) as client, pytest.raises(DecodeError):
            client.send_event({"no": "data"}, "Event", "topic")
        assert seen == ["before", "after"]


class TestRunning:
    """The same programs, run on the in-memory Kafka."""

    async def test_endpoints(self) -> None:
        with mock.patch.object(endpoints, "handled", []) as done:
            async with InMemoryKafka() as kafka, kafka.running(endpoints.app):
                await kafka.send("topic", {"a": 1}, event_type="ModelEvent")
                await kafka.send("topic", {"a": 2}, event_type="SyncEvent")
                await kafka.settle()
        assert sorted(event.a for event in done) == [1, 2]

    async def test_producers(self) -> None:
        async with InMemoryKafka() as kafka, kafka.running(producers.app):
            await kafka.send("orders", {"order_id": "7"}, event_type="OrderPlaced")
            await kafka.settle()
            assert len(kafka.records("bills")) == 1
            assert len(kafka.records("archive")) == 1

    async def test_lifespan(self) -> None:
        async with InMemoryKafka() as kafka, kafka.running(lifespans.app):
            await kafka.send("topic", {"name": "a"}, event_type="ByItem")
            await kafka.settle()
        assert lifespans.opened[-1].rows == ["a"]

    @pytest.mark.parametrize("name", ["endpoints", "producers", "lifespans", "middlewares"])
    def test_every_program_runs_its_app(self, name: str) -> None:
        with mock.patch.object(EVKafkaApp, "run") as run:
            runpy.run_path(str(Path(__file__).with_name(f"{name}.py")), run_name="__main__")
        run.assert_called_once_with()
