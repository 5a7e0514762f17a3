"""CloudEvents are written in both modes, and the CloudEvents SDK reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from evkafka.serde.cloudevents.reading import read_event
from evkafka.serde.cloudevents.writing import (
    MODES,
    CloudEventsEnvelope,
    Mode,
    Pairs,
    add_missing_specversion_id_and_source,
)
from evkafka.testing import MemoryRecord

NOW_MS = 1_777_631_400_250
both_modes = pytest.mark.parametrize("mode", MODES)


def written(
    mode: Mode,
    value: bytes | None = b'{"total":3}',
    headers: Pairs | None = None,
    *,
    key: bytes | None = None,
    content_type: str = "application/json",
    traced: Pairs | None = None,
) -> MemoryRecord:
    envelope = CloudEventsEnvelope("/billing", mode)
    own_key, pairs = envelope.key_and_headers(
        headers or [], event_type="Paid", key=key, value=value, content_type=content_type, now_ms=NOW_MS
    )
    content, pairs = envelope.wrap(value, [*pairs, *(traced or [])])
    return MemoryRecord("t", 0, 0, NOW_MS, own_key, content, tuple(pairs))


def by_sdk(record: MemoryRecord) -> BaseCloudEvent:
    headers = {name: value for name, value in record.headers if value is not None}
    return from_kafka(KafkaMessage(headers, record.key, record.value or b""), JSONFormat())


class TestWhatTheSdkReads:
    @both_modes
    def test_attributes_data_and_key(self, mode: Mode) -> None:
        headers: Pairs = [("ce_id", b"7"), ("ce_subject", b"order 7"), ("ce_color", "blü".encode()), ("other", b"x")]
        event = by_sdk(written(mode, headers=headers, key=b"k"))
        assert event.get_attributes() == {
            "specversion": "1.0",
            "id": "7",
            "source": "/billing",
            "type": "Paid",
            "subject": "order 7",
            "color": "blü",
            "time": datetime.fromtimestamp(NOW_MS / 1000, UTC),
            "datacontenttype": "application/json",
            "partitionkey": "k",
        }
        assert event.get_data() == {"total": 3}

    @both_modes
    def test_text_and_bytes(self, mode: Mode) -> None:
        assert by_sdk(written(mode, 'a "t" ü'.encode(), content_type="text/plain")).get_data() == 'a "t" ü'
        assert by_sdk(written(mode, b"\xff\x00", content_type="application/octet-stream")).get_data() == b"\xff\x00"
        assert by_sdk(written(mode, b"\xff\x00", content_type="text/plain")).get_data() == b"\xff\x00"

    @both_modes
    def test_no_data(self, mode: Mode) -> None:
        record = written(mode, None)
        assert by_sdk(record).get_data() is None
        assert (record.value is None) is (mode == "binary")  # a tombstone exists in binary mode only
        assert by_sdk(record).get_datacontenttype() is None

    @both_modes
    def test_the_data_of_another_media_type(self, mode: Mode) -> None:
        event = by_sdk(written(mode, b'{"a":1}', [("content-type", b"application/vnd.x+json")]))
        assert (event.get_datacontenttype(), event.get_data()) == ("application/vnd.x+json", {"a": 1})

    @both_modes
    def test_json_behind_the_id_of_its_schema(self, mode: Mode) -> None:
        value = b'\0\0\0\0\7{"a":1}'
        assert read_event(written(mode, value), "Event-Type").value == value


class TestAttributes:
    @both_modes
    def test_each_event_has_an_id_of_its_own(self, mode: Mode) -> None:
        assert len({str(by_sdk(written(mode)).get_id()) for _ in range(10)}) == 10

    @both_modes
    def test_a_key_that_is_not_text_is_no_partition_key(self, mode: Mode) -> None:
        record = written(mode, key=b"\xff")
        assert record.key == b"\xff"
        assert read_event(record, "Event-Type").cloudevent.extensions == {}

    @both_modes
    def test_a_partition_key_is_the_key_of_a_record_without_one(self, mode: Mode) -> None:
        assert written(mode, headers=[("ce_partitionkey", b"a")]).key == b"a"
        assert written(mode, headers=[("ce_partitionkey", b"a")], key=b"b").key == b"b"

    @both_modes
    def test_an_attribute_that_is_none_is_left_out(self, mode: Mode) -> None:
        assert read_event(written(mode, headers=[("ce_subject", None)]), "Event-Type").cloudevent.subject is None

    @both_modes
    def test_the_trace_context_becomes_attributes(self, mode: Mode) -> None:
        record = written(mode, traced=[("traceparent", b"00-a"), ("tracestate", b"b=c")])
        event = by_sdk(record)
        assert (event.get_extension("traceparent"), event.get_extension("tracestate")) == ("00-a", "b=c")
        assert dict(record.headers)["traceparent"] == b"00-a"

    @both_modes
    def test_a_trace_of_the_event_is_kept(self, mode: Mode) -> None:
        record = written(mode, headers=[("ce_traceparent", b"00-event")], traced=[("traceparent", b"00-send")])
        assert by_sdk(record).get_extension("traceparent") == "00-event"
        assert dict(record.headers)["traceparent"] == b"00-send"

    @pytest.mark.parametrize(
        ("header", "value", "why"),
        [
            ("ce_Subject", b"a", "'ce_Subject' cannot be an attribute: a name has lower-case letters and digits"),
            ("ce_", b"a", "cannot be an attribute"),
            ("ce_data", b"a", "ce_data is reserved"),
            ("ce_datacontenttype", b"a", "the data's media type is the header content-type"),
            ("ce_id", b"", "ce_id is empty, but the attribute is required"),
            ("ce_source", None, "ce_source is empty"),
            ("ce_specversion", b"0.3", r"ce_specversion must be 1\.0"),
            ("ce_type", b"Other", "ce_type is not the event type 'Paid'"),
            ("ce_time", b"today", "attribute time is not an RFC 3339 timestamp"),
            ("ce_subject", b"\xff", "ce_subject is not valid UTF-8"),
        ],
    )
    @both_modes
    def test_an_invalid_attribute_is_refused(self, mode: Mode, header: str, value: bytes | None, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            written(mode, headers=[(header, value)])

    def test_bytes_that_are_declared_as_json_must_be_json_in_structured_mode(self) -> None:
        headers: Pairs = [("content-type", b"application/json")]
        assert by_sdk(written("structured", b"[1]", headers, content_type="application/octet-stream")).get_data() == [1]
        with pytest.raises(ValueError, match="content-type says JSON, but the payload is not JSON"):
            written("structured", b"[1", headers, content_type="application/octet-stream")

    @pytest.mark.parametrize("value", [b"{}", None])
    @pytest.mark.parametrize("name", ["content-type", "Content-Type"])
    @pytest.mark.parametrize("media_type", [b"application/cloudevents+json", b"application/CloudEvents-batch+json"])
    def test_the_media_type_of_the_structured_mode_is_refused_in_binary_mode(
        self, media_type: bytes, name: str, value: bytes | None
    ) -> None:
        with pytest.raises(ValueError, match=r'marks the structured mode, .* mode="structured"'):
            written("binary", value, [(name, media_type)])

    @both_modes
    def test_a_media_type_that_is_not_text_is_refused(self, mode: Mode) -> None:
        with pytest.raises(ValueError, match="the header content-type is not valid UTF-8"):
            written(mode, headers=[("content-type", b"\xff")])

    @pytest.mark.parametrize("name", ["content-type", "Content-Type", "CONTENT-TYPE"])
    @both_modes
    def test_the_header_of_the_media_type_may_have_capitals(self, mode: Mode, name: str) -> None:
        record = written(mode, b"<a/>", [(name, b"text/xml"), ("content-type", b"text/plain")], content_type="x/y")
        event = read_event(record, "type")
        assert (event.value, event.cloudevent.datacontenttype) == (b"<a/>", "text/xml")


class TestStructuredMode:
    def test_its_headers_are_the_content_type_and_those_that_are_no_attributes(self) -> None:
        record = written("structured", headers=[("ce_subject", b"a"), ("other", b"x")])
        assert dict(record.headers) == {
            "content-type": b"application/cloudevents+json; charset=UTF-8",
            "other": b"x",
        }

    def test_json_data_is_not_written_again(self) -> None:
        record = written("structured", b'{"price": 1.10}')
        assert b',"data":{"price": 1.10}}' in (record.value or b"")
        json.loads(record.value or b"")


class TestRoundTrips:
    @both_modes
    @given(
        data=st.one_of(st.none(), st.binary()),
        subject=st.text(st.characters(exclude_categories=["Cs"])),
        key=st.one_of(st.none(), st.binary(min_size=1)),
        content_type=st.sampled_from(["text/plain", "application/octet-stream"]),
    )
    def test_what_is_written_is_read(
        self, mode: Mode, data: Any, subject: str, key: bytes | None, content_type: str
    ) -> None:
        headers: Pairs = [("ce_subject", subject.encode())]
        event = read_event(written(mode, data, headers, key=key, content_type=content_type), "Event-Type")
        assert (event.value, event.key, event.cloudevent.subject) == (data, key, subject)


class TestCompleteHeaders:
    def test_missing_attributes_are_added(self) -> None:
        headers = dict(add_missing_specversion_id_and_source([("ce_type", b"Paid"), ("ce_id", b"7")], source="/test"))
        assert headers == {"ce_type": b"Paid", "ce_id": b"7", "ce_source": b"/test", "ce_specversion": b"1.0"}

    def test_a_structured_event_has_its_attributes_in_the_value(self) -> None:
        headers: Pairs = [("content-type", b"application/cloudevents+json")]
        assert add_missing_specversion_id_and_source(headers, source="/test") == headers
