"""The app as its operations page sees it, and the topics and endpoints that it declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from evkafka.config import dead_letter_producer_settings, dead_letter_topic, producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.control import ConsumerControl
from evkafka.service.plan import DeclaredConsumer, DeclaredProducer
from evkafka.service.service import Service
from evkafka.telemetry import Telemetry
from evkafka.web.app_view import AppView


class OperatedApp(AppView, Protocol):
    """An app, as its operations page sees it."""

    @property
    def telemetry(self) -> Telemetry: ...
    @property
    def service(self) -> Service | None: ...
    @property
    def consumers(self) -> Mapping[str, DeclaredConsumer]: ...
    @property
    def producers(self) -> Mapping[str, DeclaredProducer]: ...
    def consumer(self, name: str) -> ConsumerControl: ...


@dataclass(frozen=True, slots=True)
class EndpointName:
    """An endpoint.

    Attributes:
        event_type: None for a default endpoint, and for an app callable, which takes all records.
    """

    event_type: str | None
    name: str


def endpoint_names(declared: DeclaredConsumer) -> list[EndpointName]:
    if declared.endpoints is not None:
        return [EndpointName(None if one.is_default else one.event_type, one.name) for one in declared.endpoints]
    target = declared.target
    name = getattr(target, "__qualname__", type(target).__qualname__)
    return [EndpointName(None, f"{getattr(target, '__module__', '')}.{name}")]


@dataclass(frozen=True, slots=True)
class AppTopic:
    """Where a topic of the app is.

    Attributes:
        consumer: the consumer that reads the topic, or writes its dead letters to it; None if the app only sends to it.
    """

    connection: ConnectionSettings
    type_header: str
    consumer: str | None = None


def configured_dead_letter_topics(app: OperatedApp) -> dict[str, AppTopic]:
    """The dead-letter topics of the app's error policies, by name; without those of a topic pattern."""
    found: dict[str, AppTopic] = {}
    for declared in app.consumers.values():
        settings = declared.settings
        if settings.auto_commit_mode == "pre-commit":
            continue
        for event_type, policy in declared.policies():
            if policy.then != "dead_letter" and (event_type is not None or settings.unmatched != "dead_letter"):
                continue
            for topic in settings.topics:
                name = dead_letter_topic(
                    policy, topic=topic.name, group_id=settings.group_id, event_type=event_type or "unmatched"
                )
                connection = dead_letter_producer_settings(settings, policy).connection
                found.setdefault(name, AppTopic(connection, declared.type_header, declared.name))
    return found


def app_topics(app: OperatedApp) -> dict[str, AppTopic]:
    """All topics that the app reads or writes, with its retry topics and dead-letter topics."""
    found: dict[str, AppTopic] = {}
    for declared in app.consumers.values():
        source = AppTopic(declared.settings.connection, declared.type_header, declared.name)
        found |= dict.fromkeys((topic.name for topic in declared.settings.topics), source)
        found |= dict.fromkeys(declared.retry_topics(), source)
    for producer in app.producers.values():
        settings = producer_settings(producer.config)
        names = {one.topic or settings.topic for one in producer.sender.endpoints}
        for name in names - {None}:
            found.setdefault(str(name), AppTopic(settings.connection, "Event-Type"))
    return found | {name: topic for name, topic in configured_dead_letter_topics(app).items() if name not in found}
