"""`evkafka send` to a consumer of CloudEvents writes events that it accepts, and `evkafka tail` shows their type."""

from __future__ import annotations

import json

from evkafka.cli.impl.send import read_events
from evkafka.cli.impl.tail import event_type_of
from evkafka.cli.options import EventOptions
from evkafka.dlq.dead_letter import read_dead_letter
from evkafka.serde.cloudevents.reading import read_event
from evkafka.testing import MemoryRecord
from evkafka.ui.record_browser import record_row


def test_an_event_has_the_required_attributes() -> None:
    options = EventOptions(payload='{"order_id":"1"}', event_type="OrderPlaced", header=["ce_source=/shop"])
    [event] = read_events(options, "ce_type")
    record = MemoryRecord("orders", 0, 0, 0, None, event.value, tuple(event.headers))
    sent = read_event(record, "Event-Type").cloudevent
    assert (sent.type, sent.source, bool(sent.id)) == ("OrderPlaced", "/shop", True)


def test_a_record_in_structured_mode_stays_as_it_is() -> None:
    value = json.dumps({"specversion": "1.0", "id": "7", "source": "/shop", "type": "OrderPlaced"})
    options = EventOptions(payload=value, header=["content-type=application/cloudevents+json"])
    [event] = read_events(options, "ce_type")
    assert event.headers == (("content-type", b"application/cloudevents+json"),)


def test_a_consumer_without_the_envelope_gets_the_type_only() -> None:
    [event] = read_events(EventOptions(payload="{}", event_type="OrderPlaced"), "Event-Type")
    assert event.headers == (("Event-Type", b"OrderPlaced"),)


def test_the_type_of_an_event_in_structured_mode_is_shown() -> None:
    value = json.dumps({"specversion": "1.0", "id": "7", "source": "/shop", "type": "OrderPlaced"}).encode()
    headers = (("content-type", b"application/cloudevents+json"),)
    record = MemoryRecord("orders", 0, 0, 0, None, value, headers)
    assert event_type_of(record, "ce_type") == "OrderPlaced"
    assert record_row(record, "ce_type", 1000)["event_type"] == "OrderPlaced"
    assert event_type_of(MemoryRecord("orders", 0, 0, 0, None, value, ()), "ce_type") is None


def test_after_a_null_first_type_header_the_type_in_the_event_is_shown() -> None:
    value = json.dumps({"specversion": "1.0", "id": "7", "source": "/shop", "type": "OrderPlaced"}).encode()
    headers = (("Event-Type", None), ("Event-Type", b"Other"), ("content-type", b"application/cloudevents+json"))
    record = MemoryRecord("orders", 0, 0, 0, None, value, headers)
    assert event_type_of(record, "Event-Type") == "OrderPlaced"
    assert record_row(record, "Event-Type", 1000)["event_type"] == "OrderPlaced"
    assert read_dead_letter(record).event_type is None
