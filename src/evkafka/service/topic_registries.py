"""The schema registries of an app and of a topic, from the declarations: for commands and pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from evkafka.serde.formats.interface import ValueFormat
from evkafka.serde.formats.registry import SchemaRegistry
from evkafka.serde.formats.registry_format import RegistryFormat
from evkafka.service.plan import DeclaredConsumer, DeclaredProducer


class DeclaringApp(Protocol):
    @property
    def consumers(self) -> Mapping[str, DeclaredConsumer]: ...
    @property
    def producers(self) -> Mapping[str, DeclaredProducer]: ...


def registry_of_topic(app: DeclaringApp, topic: str) -> SchemaRegistry | None:
    """The registry with the schemas of a topic's values: that of its format, or of the source of a retry or dead-letter
    topic; else the only one of the app. None if there is none."""
    if of_topic := _distinct_registries(_formats_of_topic(app, topic)):
        return of_topic[0]
    of_app = registries_of(app)
    return of_app[0] if len(of_app) == 1 else None


def registries_of(app: DeclaringApp) -> list[SchemaRegistry]:
    """Each registry of an app once."""
    return _distinct_registries(_formats_of_app(app))


def _formats_of_topic(app: DeclaringApp, topic: str) -> Iterator[ValueFormat | None]:
    for consumer in app.consumers.values():
        formats = consumer.formats()
        if formats is not None:
            yield from map(formats.format_of_topic, _source_topics(consumer, topic))
    for producer in app.producers.values():
        default = producer.describe_contract().settings.topic
        yield from (one.value_format for one in producer.sender.endpoints if (one.topic or default) == topic)


def _source_topics(consumer: DeclaredConsumer, topic: str) -> Iterator[str]:
    """The topics that the consumer reads and whose records are in this one: itself, and the sources of a retry or
    dead-letter topic."""
    yield from (one.name for one in consumer.settings.topics if one.name == topic)
    yield from (one.source for name, one in consumer.retry_topics().items() if name == topic)
    yield from (one.source for one in consumer.dead_letter_topics() if one.name == topic)


def _formats_of_app(app: DeclaringApp) -> Iterator[ValueFormat | None]:
    for consumer in app.consumers.values():
        formats = consumer.formats()
        yield from formats.distinct_formats if formats is not None else ()
    for producer in app.producers.values():
        yield from producer.sender.formats


def _distinct_registries(formats: Iterator[ValueFormat | None]) -> list[SchemaRegistry]:
    found = [one.registry for one in formats if isinstance(one, RegistryFormat)]
    return list({id(one): one for one in found}.values())
