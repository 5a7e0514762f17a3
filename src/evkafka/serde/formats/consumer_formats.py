"""The formats of one consumer's topics, and the event types of records that have a schema."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any

from evkafka.records import NotReady, Record
from evkafka.serde.decoding import Decoder
from evkafka.serde.formats.interface import DecodeValue, FormatError, ValueFormat


class ConsumerFormats:
    """Which format a consumer's topics have.

    Args:
        default: of topics that are not in `by_topic`; None for JSON.
        by_topic: topic -> its format; None for JSON.
        event_types: those that have an endpoint: a schema's name is matched with them.
    """

    def __init__(
        self,
        default: ValueFormat | None,
        by_topic: Mapping[str, ValueFormat | None],
        event_types: Collection[str] = (),
    ) -> None:
        self._default = default
        self._by_topic = dict(by_topic)
        self._event_types = frozenset(event_types)
        self._decoders: dict[Hashable, DecodeValue] = {}
        self._names = {id(one): one.schema_name_reader() for one in self.distinct_formats}

    @property
    def distinct_formats(self) -> list[ValueFormat]:
        """Each format once."""
        found = [one for one in (self._default, *self._by_topic.values()) if one is not None]
        return list({id(one): one for one in found}.values())

    def format_of_topic(self, topic: str) -> ValueFormat | None:
        return self._by_topic.get(topic, self._default)

    def decoder_of_endpoint(self, endpoint: Hashable, annotation: Any, json: Decoder) -> DecodeValue:
        """The decoder for an endpoint's payloads, in any of the topics; compiled once.

        Args:
            annotation: the payload's type.
            json: its decoder for JSON.
        """
        decode = self._decoders.get(endpoint)
        if decode is None:
            decode = self._decoders[endpoint] = self._build_endpoint_decoder(annotation, json)
        return decode

    def _build_endpoint_decoder(self, annotation: Any, json: Decoder) -> DecodeValue:
        decoders = {id(one): one.decoder(annotation, json) for one in self.distinct_formats}

        def from_json(value: bytes, _: Record) -> Any:
            return json.from_bytes(value)

        default = from_json if self._default is None else decoders[id(self._default)]
        by_topic = {
            topic: from_json if one is None else decoders[id(one)]
            for topic, one in self._by_topic.items()
            if one is not self._default
        }
        if not by_topic:
            return default
        return lambda value, record: by_topic.get(record.topic, default)(value, record)

    def event_type_reader(self, default_event_type_by_topic: Mapping[str, str]) -> Callable[[Record], str | None]:
        """A function that gives the event type of a record without a type header: the name of its schema, with or
        without its namespace, if that has an endpoint; else its topic's event type; else the name without its
        namespace. It raises NotReady while the schema is being asked for.

        Args:
            default_event_type_by_topic: topic -> the event type of records that carry none.
        """

        # With one format in all topics, its own function is called for each record.
        names = list(self._names.values())
        schema_name = names[0] if len(names) == 1 and not self._by_topic else self._schema_name_of_record
        event_types = self._event_types

        def type_of(record: Record) -> str | None:
            try:
                name = schema_name(record)
            except FormatError:  # see `undecodable_error`
                name = None
            if name in event_types:
                return name
            if name is None:
                return default_event_type_by_topic.get(record.topic)
            short = name.rpartition(".")[2]
            return short if short in event_types else default_event_type_by_topic.get(record.topic, short)

        return type_of

    def _schema_name_of_record(self, record: Record) -> str | None:
        one = self.format_of_topic(record.topic)
        return self._names[id(one)](record) if one is not None else None

    def undecodable_error(self, record: Record) -> FormatError | None:
        """Why no endpoint can decode the value: its schema, whose name would be its event type, is unknown.

        None if it is known.
        """
        try:
            self._schema_name_of_record(record)
        except FormatError as error:
            return error
        return None

    def is_record_schema_known(self, record: Record) -> bool:
        """Whether decoding the record would not raise NotReady. From any thread."""
        one = self.format_of_topic(record.topic)
        return one is None or one.is_record_schema_known(record)

    def future_done_when_record_schema_known(self, record: Record) -> asyncio.Future[None] | None:
        """Done once the record's schema is known; None if there is nothing to wait for."""
        one = self.format_of_topic(record.topic)
        return one.future_done_when_record_schema_known(record) if one is not None else None

    def raise_if_schema_is_being_fetched(self, record: Record) -> None:
        """Raise NotReady while the record's schema is being asked for."""
        if (ready := self.future_done_when_record_schema_known(record)) is not None:
            raise NotReady(ready)

    @property
    def is_asking(self) -> bool:
        """Whether a request for a schema is under way."""
        return any(one.is_asking for one in self.distinct_formats)

    def unavailable_reasons(self) -> list[str]:
        """Why records wait for schemas."""
        return [reason for one in self.distinct_formats if (reason := one.registry_unavailable_reason())]

    async def close(self) -> None:
        for one in self.distinct_formats:
            await one.close()
