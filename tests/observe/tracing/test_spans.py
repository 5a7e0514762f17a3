"""Spans of attempts and sends, as an exporter gets them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from evkafka import Context, EVKafkaApp, Handler, Request, Sender, Skip
from evkafka.middleware import Middleware
from evkafka.testing import InMemoryKafka

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="session")  # not the module: pytest-xdist may run its tests in two parts
def exporter() -> InMemorySpanExporter:
    """A process can set its provider only once."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def app_with(handler: Handler, **config: Any) -> EVKafkaApp:
    app = EVKafkaApp(tracing=True)
    app.add_consumer({"topics": ["orders"], "group_id": "billing", **config}, handler, name="billing")
    return app


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def handling(function: Any = None, **options: Any) -> Handler:
    handler = Handler()

    @handler.event("OrderPlaced", **options)
    async def on_order(event: dict[str, Any]) -> Any:
        return function(event) if function is not None else None

    return handler


async def handled(app: EVKafkaApp, *events: Any, **options: Any) -> InMemoryKafka:
    async with InMemoryKafka() as kafka, kafka.running(app):
        for event in events:
            await kafka.send("orders", event, event_type="OrderPlaced", **options)
        await kafka.settle()
        return kafka


class TestAttempts:
    async def test_an_attempt_is_a_span_with_the_records_address(self, spans: InMemorySpanExporter) -> None:
        await handled(app_with(handling()), {"id": 1})
        [span] = named(spans, "process orders")
        assert span.kind is SpanKind.CONSUMER
        assert dict(span.attributes or {}) == {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": "orders",
            "messaging.destination.partition.id": "0",
            "messaging.kafka.offset": 0,
            "messaging.client.id": "evkafka",
            "messaging.consumer.group.name": "billing",
            "evkafka.consumer": "billing",
            "evkafka.attempt": 1,
            "evkafka.event_type": "OrderPlaced",
        }
        assert span.status.status_code is StatusCode.UNSET

    async def test_its_parent_is_in_the_headers(self, spans: InMemorySpanExporter) -> None:
        await handled(app_with(handling()), {}, headers={"traceparent": PARENT})
        [span] = named(spans, "process orders")
        assert span.context is not None
        assert span.parent is not None
        assert f"{span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
        assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"

    async def test_without_one_records_of_one_executor_have_traces_of_their_own(
        self, spans: InMemorySpanExporter
    ) -> None:
        await handled(app_with(handling()), {}, {})
        first, second = named(spans, "process orders")
        assert first.context is not None
        assert second.context is not None
        assert first.context.trace_id != second.context.trace_id
        assert first.parent is second.parent is None

    async def test_a_failed_attempt_has_the_error_and_each_attempt_is_a_span(self, spans: InMemorySpanExporter) -> None:
        def fail(event: dict[str, Any]) -> None:
            raise ValueError("no such customer")

        await handled(app_with(handling(fail), on_error={"max_attempts": 2, "then": "skip"}), {})
        first, second = named(spans, "process orders")
        assert [(one.attributes or {})["evkafka.attempt"] for one in (first, second)] == [1, 2]
        assert (first.attributes or {})["error.type"] == "ValueError"
        assert first.status.status_code is StatusCode.ERROR
        assert first.status.description == "no such customer"

    async def test_a_value_that_cannot_be_decoded_is_an_error_without_the_value(
        self, spans: InMemorySpanExporter
    ) -> None:
        await handled(app_with(handling(), on_error={"max_attempts": 1, "then": "skip"}), b'{"secret')
        [span] = named(spans, "process orders")
        assert (span.attributes or {})["error.type"] == "evkafka.exceptions.DecodeError"
        assert "secret" not in span.to_json()

    @pytest.mark.parametrize("raised", [True, False])
    async def test_an_outcome_is_not_an_error(self, spans: InMemorySpanExporter, raised: bool) -> None:
        def skip(event: dict[str, Any]) -> Any:
            if raised:
                raise Skip("not ours")
            return Skip

        await handled(app_with(handling(skip)), {})
        [span] = named(spans, "process orders")
        assert (span.attributes or {})["evkafka.outcome"] == "Skip"
        assert (span.attributes or {}).get("evkafka.reason") == ("not ours" if raised else None)
        assert span.status.status_code is StatusCode.UNSET

    async def test_an_unmatched_record_is_marked(self, spans: InMemorySpanExporter) -> None:
        await handled(app_with(Handler()), {})
        [span] = named(spans, "process orders")
        assert (span.attributes or {})["evkafka.outcome"] == "unmatched"

    async def test_a_thread_runs_inside_of_its_span(self, spans: InMemorySpanExporter) -> None:
        handler, seen = Handler(), []

        @handler.event("OrderPlaced")
        def on_order(event: dict[str, Any]) -> None:
            assert threading.current_thread() is not threading.main_thread()
            seen.append(trace.get_current_span().get_span_context().span_id)

        await handled(app_with(handler), {})
        [span] = named(spans, "process orders")
        assert span.context is not None
        assert seen == [span.context.span_id]

    async def test_middleware_runs_inside_of_it_too(self, spans: InMemorySpanExporter) -> None:
        class Marks:
            def __init__(self, app: Any) -> None:
                self.app = app

            async def __call__(self, context: Context) -> None:
                trace.get_current_span().set_attribute("marked", True)
                await self.app(context)

        app = EVKafkaApp(tracing=True, middleware=[Middleware(Marks)])
        app.add_consumer({"topics": ["orders"], "group_id": "billing"}, handling())
        await handled(app, {})
        [span] = named(spans, "process orders")
        assert (span.attributes or {})["marked"] is True
        assert (span.attributes or {})["evkafka.event_type"] == "OrderPlaced"

    async def test_nothing_of_a_key_or_a_value_is_in_it(self, spans: InMemorySpanExporter) -> None:
        await handled(app_with(handling()), {"card": "4711-planted"}, key="key-planted")
        assert "planted" not in "".join(span.to_json() for span in spans.get_finished_spans())


class TestBatches:
    async def test_a_batch_is_one_span_linked_with_the_traces_of_its_records(self, spans: InMemorySpanExporter) -> None:
        handler = Handler()

        @handler.event("OrderPlaced", batch=True, max_records=2, max_wait_ms=50)
        async def on_orders(events: list[dict[str, Any]]) -> None: ...

        await handled(app_with(handler), {}, {}, headers={"traceparent": PARENT})
        [span] = named(spans, "process orders")
        assert (span.attributes or {})["messaging.batch.message_count"] == 2
        assert [f"{link.context.span_id:016x}" for link in span.links] == ["b7ad6b7169203331"] * 2
        assert span.parent is None


def billing_app(**keys: Any) -> EVKafkaApp:
    """An app that sends an event for each record."""
    handler, sender = Handler(), Sender()

    @sender.event("Billed", topic="bills")
    async def send_bill(event: dict[str, Any]) -> None: ...

    @handler.event("OrderPlaced")
    async def on_order(event: dict[str, Any]) -> None:
        await send_bill(event)

    app = app_with(handler, **keys)
    app.add_producer({}, sender)
    return app


class TestSends:
    async def test_a_send_in_an_endpoint_is_a_child_whose_context_goes_into_the_headers(
        self, spans: InMemorySpanExporter
    ) -> None:
        app = billing_app()
        kafka = await handled(app, {}, headers={"traceparent": PARENT})
        [process], [send] = named(spans, "process orders"), named(spans, "send bills")
        assert send.kind is SpanKind.PRODUCER
        assert send.context is not None
        assert process.context is not None
        assert send.parent is not None
        assert send.parent.span_id == process.context.span_id
        [record] = kafka.records("bills")
        header = dict(record.headers)["traceparent"]
        assert header == f"00-0af7651916cd43dd8448eb211c80319c-{send.context.span_id:016x}-01".encode()
        assert (send.attributes or {})["messaging.kafka.offset"] == 0

    async def test_a_send_that_is_kept_for_a_transaction_has_no_offset(self, spans: InMemorySpanExporter) -> None:
        await handled(billing_app(auto_commit_mode="exactly-once"), {})
        [send] = named(spans, "send bills")
        assert "messaging.kafka.offset" not in (send.attributes or {})

    async def test_a_failed_send_has_an_error(self, spans: InMemorySpanExporter) -> None:
        handler, sender = Handler(), Sender()

        @sender.event("Billed", topic="bills")
        async def send_bill(event: dict[str, Any]) -> None: ...

        @handler.event("OrderPlaced", on_error={"max_attempts": 1, "then": "skip"})
        async def on_order(event: dict[str, Any]) -> None:
            await send_bill(event)

        app = app_with(handler)
        app.add_producer({}, sender)
        async with InMemoryKafka() as kafka, kafka.running(app):
            kafka.fail_sends("refused", topic="bills")
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await kafka.settle()
        [send] = named(spans, "send bills")
        assert send.status.status_code is StatusCode.ERROR
        assert (send.attributes or {})["error.type"] == "evkafka.exceptions.DeliveryError"

    async def test_a_dead_letter_keeps_its_trace(self, spans: InMemorySpanExporter) -> None:
        def fail(event: dict[str, Any]) -> None:
            raise ValueError

        app = app_with(handling(fail), on_error={"max_attempts": 1, "then": "dead_letter"})
        kafka = await handled(app, {}, headers={"traceparent": PARENT})
        [record] = kafka.records("orders.billing.dlq")
        assert dict(record.headers)["traceparent"] == PARENT.encode()


class TestCloudEvents:
    EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "OrderPlaced", "traceparent": PARENT}  # noqa: RUF012

    @pytest.mark.parametrize("mode", ["binary", "structured"])
    async def test_the_parent_is_the_trace_of_the_event(self, spans: InMemorySpanExporter, mode: str) -> None:
        value: Any = {} if mode == "binary" else {**self.EVENT, "data": {}}
        headers = {f"ce_{name}": text for name, text in self.EVENT.items()}
        if mode == "structured":
            headers = {"content-type": "application/cloudevents+json"}
        app = app_with(handling(), envelope="cloudevents")
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", value, headers=headers)
            await kafka.settle()
        [span] = named(spans, "process orders")
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"

    async def test_an_invalid_event_is_a_span_with_the_error(self, spans: InMemorySpanExporter) -> None:
        app = app_with(handling(), envelope="cloudevents", on_error={"max_attempts": 1, "then": "skip"})
        await handled(app, {}, headers={"traceparent": PARENT})
        [span] = named(spans, "process orders")
        assert (span.attributes or {})["error.type"] == "evkafka.exceptions.DecodeError"
        assert span.parent is not None

    @pytest.mark.parametrize("mode", ["binary", "structured"])
    async def test_a_sent_event_has_the_trace_of_its_send(self, spans: InMemorySpanExporter, mode: Any) -> None:
        handler, sender = Handler(), Sender(envelope="cloudevents", source="/billing", mode=mode)

        @sender.event("Invoiced", topic="orders")
        async def send_invoice(event: dict[str, Any]) -> None: ...

        @handler.event("OrderPlaced")
        async def on_order(event: dict[str, Any]) -> None:
            await send_invoice(event)

        @handler.event("Invoiced")
        async def on_invoice(event: dict[str, Any], request: Request) -> None:
            seen.append(request.cloudevent.extensions["traceparent"])

        seen: list[Any] = []
        app = app_with(handler, envelope="cloudevents")
        app.add_producer({}, sender)
        headers = {f"ce_{name}": text for name, text in self.EVENT.items()}
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", {}, headers=headers)
            await kafka.settle()
        [sent] = named(spans, "send orders")
        assert sent.context is not None
        assert seen == [f"00-{sent.context.trace_id:032x}-{sent.context.span_id:016x}-01"]


class TestSwitch:
    async def test_without_it_there_are_no_spans(self, spans: InMemorySpanExporter) -> None:
        app = EVKafkaApp()
        app.add_consumer({"topics": ["orders"], "group_id": "billing"}, handling())
        await handled(app, {})
        assert spans.get_finished_spans() == ()

    def test_without_the_extra_the_error_says_what_to_install(self) -> None:
        program = """
import sys
sys.modules["opentelemetry"] = None
from evkafka import ConfigError, EVKafkaApp
try:
    EVKafkaApp(tracing=True)
except ConfigError as error:
    print(error)
"""
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
        assert ended.stdout == "tracing needs an extra that is not installed: pip install 'evkafka[tracing]'\n"
