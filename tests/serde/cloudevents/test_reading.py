"""CloudEvents are read from records in binary and structured mode, as the CloudEvents SDK writes them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent

from evkafka import CloudEvent, DecodeError
from evkafka.serde.cloudevents.reading import EventRecord, event_data_or_value, read_event, structured_event_type
from evkafka.testing import MemoryRecord

REQUIRED = {"id": "7", "source": "/orders", "specversion": "1.0", "type": "OrderPlaced"}
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)


def record(
    value: bytes | None, headers: tuple[tuple[str, bytes | None], ...], key: bytes | None = None
) -> MemoryRecord:
    return MemoryRecord("orders", 2, 5, 0, key, value, headers)


def binary(attributes: dict[str, str], value: bytes | None = b"{}", **more: Any) -> EventRecord:
    headers = tuple((f"ce_{name}", text.encode()) for name, text in attributes.items())
    return read_event(record(value, headers, **more), "Event-Type")


def structured(value: Any, **more: Any) -> EventRecord:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read_event(record(content, STRUCTURED, **more), "Event-Type")


def of_sdk(message: KafkaMessage) -> EventRecord:
    key = message.key.encode() if isinstance(message.key, str) else message.key
    return read_event(record(message.value, tuple(message.headers.items()), key), "Event-Type")


ALL = {
    **REQUIRED,
    "subject": "order 7",
    "time": datetime(2026, 5, 1, 12, 30, tzinfo=timezone(timedelta(hours=2))),
    "datacontenttype": "application/json",
    "dataschema": "https://example.com/order",
    "partitionkey": "k-7",
    "color": "blue",
}


class TestEventsOfTheSdk:
    @pytest.mark.parametrize("write", [to_binary, to_structured])
    def test_attributes_data_and_key_are_read(self, write: Any) -> None:
        event = of_sdk(write(SdkEvent(ALL, {"total": 3}), JSONFormat()))
        assert event.cloudevent == CloudEvent(
            id="7",
            source="/orders",
            type="OrderPlaced",
            subject="order 7",
            time=datetime(2026, 5, 1, 10, 30, tzinfo=UTC),
            datacontenttype="application/json",
            dataschema="https://example.com/order",
            extensions={"partitionkey": "k-7", "color": "blue"},
        )
        assert json.loads(event.value or b"") == {"total": 3}
        assert event.key == b"k-7"

    @pytest.mark.parametrize("write", [to_binary, to_structured])
    def test_bytes_and_text_are_read(self, write: Any) -> None:
        attributes = {**REQUIRED, "datacontenttype": "application/octet-stream"}
        assert of_sdk(write(SdkEvent(attributes, b"\x00\xff"), JSONFormat())).value == b"\x00\xff"
        attributes["datacontenttype"] = "text/plain"
        assert of_sdk(write(SdkEvent(attributes, 'a "text" ü'), JSONFormat())).value == 'a "text" ü'.encode()

    def test_an_event_without_data_is_no_value_in_structured_mode(self) -> None:
        assert of_sdk(to_structured(SdkEvent(dict(REQUIRED), None), JSONFormat())).value is None


class TestTheRecord:
    @pytest.mark.parametrize("read", [binary, structured])
    def test_its_type_is_in_the_type_header(self, read: Any) -> None:
        assert dict(read(REQUIRED).headers)["Event-Type"] == b"OrderPlaced"

    def test_the_events_type_replaces_a_type_header(self) -> None:
        headers = (("Event-Type", b"Other"), *((f"ce_{name}", text.encode()) for name, text in REQUIRED.items()))
        event = read_event(record(b"{}", headers), "Event-Type")
        assert [value for name, value in event.headers if name == "Event-Type"] == [b"OrderPlaced"]

    def test_it_keeps_its_address(self) -> None:
        event = binary(REQUIRED)
        assert (event.topic, event.partition, event.offset, event.timestamp) == ("orders", 2, 5, 0)

    def test_a_tombstone_is_an_event_without_data(self) -> None:
        assert binary(REQUIRED, None).value is None

    @pytest.mark.parametrize("read", [binary, structured])
    def test_the_partition_key_is_the_key_of_a_record_without_one(self, read: Any) -> None:
        assert read({**REQUIRED, "partitionkey": "ü"}).key == "ü".encode()

    @pytest.mark.parametrize("read", [binary, structured])
    def test_the_records_key_is_the_partition_key_of_an_event_without_one(self, read: Any) -> None:
        assert read(REQUIRED, key=b"k").cloudevent.extensions == {"partitionkey": "k"}
        assert read(REQUIRED, key=b"\xff").cloudevent.extensions == {}

    @pytest.mark.parametrize("read", [binary, structured])
    def test_the_record_keeps_its_key_and_the_event_its_partition_key(self, read: Any) -> None:
        event = read({**REQUIRED, "partitionkey": "a"}, key=b"b")
        assert (event.key, event.cloudevent.extensions["partitionkey"]) == (b"b", "a")

    @pytest.mark.parametrize("read", [binary, structured])
    def test_the_events_trace_is_the_records_unless_it_has_its_own(self, read: Any) -> None:
        traced = dict(read({**REQUIRED, "traceparent": "00-a", "tracestate": "b=c"}).headers)
        assert (traced["traceparent"], traced["tracestate"]) == (b"00-a", b"b=c")
        headers = (("traceparent", b"00-own"), ("ce_traceparent", b"00-a"))
        required = tuple((f"ce_{name}", text.encode()) for name, text in REQUIRED.items())
        event = read_event(record(b"{}", (*headers, *required)), "Event-Type")
        assert [value for name, value in event.headers if name == "traceparent"] == [b"00-own"]

    def test_headers_that_are_not_text_are_kept(self) -> None:
        headers = (("blob", b"\xff"), ("gone", None), *((f"ce_{n}", text.encode()) for n, text in REQUIRED.items()))
        event = read_event(record(b"{}", headers), "Event-Type")
        assert dict(event.headers)["blob"] == b"\xff"
        assert event.cloudevent.extensions == {}


class TestStructuredMode:
    @pytest.mark.parametrize(
        "content_type",
        [b"application/cloudevents", b"Application/CloudEvents+JSON", b"application/cloudevents+json;charset=utf-8"],
    )
    def test_its_content_type_is_recognized(self, content_type: bytes) -> None:
        event = read_event(record(json.dumps(REQUIRED).encode(), (("content-type", content_type),)), "Event-Type")
        assert event.cloudevent.id == "7"

    def test_the_data_is_the_json_as_it_was_written(self) -> None:
        data = '{"price": 1.10, "n": 12345678901234567890, "s":"\\ud83d\\ude00"}'
        assert structured(f'{json.dumps(REQUIRED)[:-1]}, "data" : {data} }}'.encode()).value == data.encode()

    def test_spaces_and_the_order_of_members_do_not_matter(self) -> None:
        text = ' {\n"data":[1 ,2]\t,' + json.dumps(REQUIRED)[1:-1] + " }\r\n"
        assert structured(text.encode()).value == b"[1 ,2]"

    def test_the_last_of_equal_names_counts(self) -> None:
        text = json.dumps(REQUIRED)[:-1] + ',"id":"8","data":1,"data":2}'
        event = structured(text.encode())
        assert (event.cloudevent.id, event.value) == ("8", b"2")

    def test_data_that_is_null_is_a_json_null_and_null_attributes_are_absent(self) -> None:
        event = structured({**REQUIRED, "subject": None, "data": None})
        assert (event.value, event.cloudevent.subject) == (b"null", None)

    def test_a_string_is_text_unless_the_data_is_json(self) -> None:
        assert structured({**REQUIRED, "data": "a"}).value == b'"a"'
        assert structured({**REQUIRED, "datacontenttype": "a/b+json", "data": "a"}).value == b'"a"'
        assert structured({**REQUIRED, "datacontenttype": "application/xml", "data": "<a/>"}).value == b"<a/>"

    def test_base64_is_decoded(self) -> None:
        assert structured({**REQUIRED, "data_base64": base64.b64encode(b"\x00").decode()}).value == b"\x00"
        assert structured({**REQUIRED, "data_base64": None, "data": 1}).value == b"1"

    def test_extensions_keep_their_types(self) -> None:
        event = structured({**REQUIRED, "sampled": True, "size": 3, "color": "blue"})
        assert event.cloudevent.extensions == {"sampled": True, "size": 3, "color": "blue"}


class TestInvalidEvents:
    def test_missing_attributes_are_named(self) -> None:
        with pytest.raises(
            DecodeError, match=r"orders\[2\]@5 is not a CloudEvent: required attributes id and type are"
        ):
            binary({"source": "/orders", "specversion": "1.0"})
        with pytest.raises(DecodeError, match="required attribute id is missing"):
            structured({**REQUIRED, "id": ""})

    def test_a_record_without_any_attribute_names_all_of_them(self) -> None:
        with pytest.raises(DecodeError, match="attributes id, source, specversion and type are missing"):
            read_event(record(b"{}", (("Event-Type", b"OrderPlaced"),)), "Event-Type")

    @pytest.mark.parametrize("read", [binary, structured])
    def test_another_specversion_is_refused(self, read: Any) -> None:
        with pytest.raises(DecodeError, match=r"specversion '0\.3' is not supported: EVKafka reads 1\.0"):
            read({**REQUIRED, "specversion": "0.3"})
        with pytest.raises(DecodeError, match="specversion of the event is not supported"):
            read({**REQUIRED, "specversion": "s3cret"})

    @pytest.mark.parametrize("read", [binary, structured])
    @pytest.mark.parametrize(
        "time", ["yesterday", "2026-05-01", "2026-05-01T12:00:00", "12:00:00Z", "20260501T120000Z"]
    )
    def test_an_invalid_time_is_refused(self, read: Any, time: str) -> None:
        with pytest.raises(DecodeError, match="attribute time is not an RFC 3339 timestamp"):
            read({**REQUIRED, "time": time})

    def test_the_batch_mode_is_refused(self) -> None:
        headers = (("content-type", b"application/cloudevents-batch+json"),)
        with pytest.raises(DecodeError, match=r"batch of events .* send each event as a record"):
            read_event(record(b"[]", headers), "Event-Type")

    def test_another_structured_format_is_refused(self) -> None:
        headers = (("content-type", b"application/cloudevents+avro"),)
        with pytest.raises(DecodeError, match=r"not JSON: EVKafka reads application/cloudevents\+json"):
            read_event(record(b"", headers), "Event-Type")

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            (b"", "not valid JSON: Expecting '{' at character 0"),
            (b"[]", "not valid JSON: Expecting '{'"),
            (b'{"id"', "not valid JSON: Expecting ':'"),
            (b'{"id": }', "not valid JSON: Expecting value"),
            (b'{"id": 1', "not valid JSON: Expecting ','"),
            (b'{"id": 1,}', "not valid JSON: Expecting a name in double quotes"),
            (b"{id: 1}", "not valid JSON: Expecting a name in double quotes"),
            (b"{} {}", "not valid JSON: Extra data"),
            (b"{}", "attributes id, source, specversion and type are missing"),
            (b"\xff", r"not valid UTF-8 \(byte 0\)"),
            (b'{"data": ' + b"[" * 100_000, "nested too deeply"),
            (b'{"id": ' + b"1" * 5000 + b"}", "not valid JSON"),
            (None, "it has no value"),
            ({**REQUIRED, "subject": 1}, "attribute subject must be a string"),
            ({**REQUIRED, "color": 1.5}, "attribute color must be a string, a number or a boolean"),
            ({**REQUIRED, "color": {}}, "attribute color must be a string, a number or a boolean"),
            ({**REQUIRED, "data": 1, "data_base64": "AA=="}, "both data and data_base64"),
            ({**REQUIRED, "data_base64": "A"}, "data_base64 is not valid base64"),
            ({**REQUIRED, "data_base64": 1}, "data_base64 is not valid base64"),
            ({**REQUIRED, "datacontenttype": "text/plain", "data": "\ud800"}, "data is not valid Unicode"),
        ],
    )
    def test_an_invalid_structured_event_says_why(self, value: Any, why: str) -> None:
        content = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
        with pytest.raises(DecodeError, match=why):
            read_event(record(content, STRUCTURED), "Event-Type")

    def test_a_header_that_is_not_text_is_named(self) -> None:
        headers = (("ce_id", b"\xff"), *((f"ce_{n}", text.encode()) for n, text in REQUIRED.items() if n != "id"))
        with pytest.raises(DecodeError, match=r"the header ce_id is not valid UTF-8 \(byte 0\)"):
            read_event(record(b"{}", headers), "Event-Type")

    def test_the_error_has_the_address_and_nothing_of_the_value(self) -> None:
        with pytest.raises(DecodeError) as raised:
            structured(b'{"id": "s3cret", ]')
        error = raised.value
        assert (error.topic, error.partition, error.offset) == ("orders", 2, 5)
        assert "s3cret" not in str(error)
        assert error.__cause__ is None
        assert error.__context__ is None


class TestStructuredType:
    def test_is_found_without_a_header(self) -> None:
        assert structured_event_type(record(json.dumps(REQUIRED).encode(), STRUCTURED)) == "OrderPlaced"

    def test_of_any_other_record_is_none(self) -> None:
        assert structured_event_type(record(b"[", STRUCTURED)) is None
        assert structured_event_type(record(json.dumps(REQUIRED).encode(), ())) is None


class TestDataOf:
    def test_the_data_of_a_structured_event_is_found(self) -> None:
        assert event_data_or_value(json.dumps({**REQUIRED, "data": {"a": 1}}).encode(), STRUCTURED) == b'{"a": 1}'

    def test_any_other_value_stays(self) -> None:
        assert event_data_or_value(b"{}", (("content-type", b"application/json"),)) == b"{}"
        assert event_data_or_value(b"no event", STRUCTURED) == b"no event"
