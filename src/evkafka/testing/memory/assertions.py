"""Assertions on the in-memory Kafka; their errors show the actual state."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evkafka.producer import encode_key
from evkafka.records import TopicPartition
from evkafka.serde.cloudevents.reading import event_data_or_value
from evkafka.serde.encoding import encode
from evkafka.testing.memory.cluster import MemoryCluster
from evkafka.testing.memory.group import Group
from evkafka.testing.memory.partition_log import MemoryRecord
from evkafka.testing.memory.topics import Topics, UnknownTopic


class _Any:
    def __repr__(self) -> str:
        return "anything"


ANY: Any = _Any()
MOST_SHOWN = 20
LONGEST_VALUE = 200


# ---------------------------------------------------------------------------- offsets


def assert_committed(
    groups: Mapping[str, Group], topics: Topics, group: str, tp: TopicPartition, offset: int | None
) -> None:
    """Assert the committed offset of a group; None: it has committed nothing.

    Raises:
        AssertionError: it is another one, or there is no such group, topic or partition.
    """
    name = f"{tp.topic}[{tp.partition}]"
    if group not in groups:
        raise AssertionError(no_group_text(group, groups))
    log = topics.log(tp)
    known = groups[group]
    found = known.committed.get(tp)
    if found == offset:
        return
    has = f"has committed {found} of {name}" if found is not None else f"has not committed {name}"
    reads = any(tp.topic in member.subscribed_topics() for member in known.members)
    others = {f"{other.topic}[{other.partition}]": at for other, at in sorted(known.committed.items()) if other != tp}
    notes = [f"group {group!r} {has}, not {offset}; its records are {_offset_range_text(log.start, log.end)}"]
    if known.members and not reads:
        notes.append(f"no member of the group reads {tp.topic!r}")
    if others:
        notes.append(f"it has committed offsets of other partitions: {others}")
    raise AssertionError("; ".join(notes))


def _offset_range_text(start: int, end: int) -> str:
    return f"none, its next offset is {end}" if start == end else f"offsets {start} to {end - 1}"


def no_group_text(name: str, groups: Iterable[str]) -> str:
    known = ", ".join(map(repr, groups))
    return (
        f"group {name!r} does not exist; the groups are {known}"
        if known
        else f"group {name!r} does not exist; there are no groups yet"
    )


# ---------------------------------------------------------------------------- records


def assert_sent(
    kafka: MemoryCluster,
    topic: str,
    event_type: str | None,
    *,
    event: Any,
    key: Any,
    headers: Mapping[str, bytes | str | None] | None,
    times: int | None,
) -> list[MemoryRecord]:
    """Assert that apps have sent such records, and return them.

    Raises:
        AssertionError: too few or too many records match; the text lists those of the topic.
    """
    if topic not in kafka.topics and times != 0 and not kafka.sent:
        raise UnknownTopic(f"no app has sent anything, and topic {topic!r} does not exist")
    in_topic = [record for record in kafka.sent if record.topic == topic]
    wanted = {name: text.encode() if isinstance(text, str) else text for name, text in (headers or {}).items()}
    found = [
        record
        for record in in_topic
        if (event_type is None or record.event_type == event_type)
        and (event is ANY or _has_same_value(record, event))
        and (key is ANY or record.key == encode_key(key))
        and wanted.items() <= dict(record.headers).items()
    ]
    if len(found) == times or (times is None and found):
        return found
    count = "a record" if times is None else f"{times} records"
    like = {"event_type": event_type, "headers": headers} if headers else {"event_type": event_type}
    like |= {name: value for name, value in (("event", event), ("key", key)) if value is not ANY}
    criteria = ", ".join(
        f"{name}={value!r}" for name, value in like.items() if value is not None or name != "event_type"
    )
    matching = f": {len(found)} match" if found else ""
    raise AssertionError(
        f"no app has sent {count} to {topic!r}{' with ' + criteria if criteria else ''}{matching}\n"
        f"{_sent_records_text(kafka, topic, in_topic)}"
    )


def _sent_records_text(kafka: MemoryCluster, topic: str, records: Sequence[MemoryRecord]) -> str:
    if records:
        more = [f"... and {len(records) - MOST_SHOWN} more"] if len(records) > MOST_SHOWN else []
        return "\n".join(["apps have sent these records to it:", *map(record_text, records[:MOST_SHOWN]), *more])
    own = len(kafka.records(topic)) if topic in kafka.topics else 0
    by_test = f" (the {own} records in it were written by the test itself)" if own else ""
    elsewhere = sorted({record.topic for record in kafka.sent})
    return f"apps have sent nothing to it{by_test}, only to {elsewhere}" if elsewhere else f"it is empty{by_test}"


def record_text(record: MemoryRecord) -> str:
    """The record as one line."""
    value = repr(record.value)
    cut = value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + "..."
    others = [(name, text) for name, text in record.headers if name != "Event-Type"]
    tail = f" headers={others}" if others else ""
    return f"  [{record.partition}]@{record.offset} {record.event_type} key={record.key!r} {cut}{tail}"


def _has_same_value(record: MemoryRecord, event: Any) -> bool:
    value = event_data_or_value(record.value, record.headers)
    if event is None or value is None:
        return event is None and value is None
    wanted = encode(event)
    if value == wanted:
        return True
    try:
        return bool(json.loads(value) == json.loads(wanted))
    except ValueError:
        return False
