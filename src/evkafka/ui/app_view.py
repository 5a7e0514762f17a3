"""What the page is given of an app, and what of its declarations it needs again and again."""

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
class Endpoint:
    """An endpoint's name and the type that it takes; None of a default endpoint, or a callable that takes all."""

    event_type: str | None
    name: str


def endpoints_of(declared: DeclaredConsumer) -> list[Endpoint]:
    if declared.endpoints is not None:
        return [Endpoint(None if one.is_default else one.event_type, one.name) for one in declared.endpoints]
    target = declared.target
    name = getattr(target, "__qualname__", type(target).__qualname__)
    return [Endpoint(None, f"{getattr(target, '__module__', '')}.{name}")]


@dataclass(frozen=True, slots=True)
class Place:
    """A topic that the app has to do with.

    Attributes:
        consumer: the consumer whose dead letters stand in it, or that reads it; None of one that is only sent to.
    """

    connection: ConnectionSettings
    type_header: str
    consumer: str | None = None


def dead_letter_places(app: OperatedApp) -> dict[str, Place]:
    """The dead-letter topics that the app's policies name, and where they are. Those of a pattern are not known."""
    found: dict[str, Place] = {}
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
                found.setdefault(name, Place(connection, declared.type_header, declared.name))
    return found


def places(app: OperatedApp) -> dict[str, Place]:
    """All topics that the app reads, retries through, gives records up to, or sends to."""
    found: dict[str, Place] = {}
    for declared in app.consumers.values():
        place = Place(declared.settings.connection, declared.type_header, declared.name)
        found |= dict.fromkeys((topic.name for topic in declared.settings.topics), place)
        found |= dict.fromkeys(declared.retry_topics(), place)
    for producer in app.producers.values():
        settings = producer_settings(producer.config)
        names = {one.topic or settings.topic for one in producer.sender.endpoints}
        for name in names - {None}:
            found.setdefault(str(name), Place(settings.connection, "Event-Type"))
    return found | {name: place for name, place in dead_letter_places(app).items() if name not in found}
