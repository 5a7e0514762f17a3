"""The topics that the app reads or writes, from its declarations."""

from __future__ import annotations

from dataclasses import dataclass

from evkafka.config import producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.runtime.dead_letters.retry_topics import retry_consumer_name
from evkafka.ui.operated_app import OperatedApp


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
        for written in declared.dead_letter_topics():
            found.setdefault(written.name, AppTopic(written.connection, declared.type_header, declared.name))
    return found


def dead_letter_topic_of(app: OperatedApp, consumer: str, topic: str, event_type: str | None) -> str | None:
    """The topic to which a consumer writes the dead letters of this topic and event type.

    Args:
        consumer: its name, or the name of the one that reads its retry topics.
        topic: a topic that it reads, or a retry topic of one.
        event_type: None for records without one.
    """
    declared = next(
        (one for one in app.consumers.values() if consumer in (one.name, retry_consumer_name(one.name))), None
    )
    if declared is None:
        return None
    endpoint = declared.handler.find_endpoint(event_type) if declared.handler is not None else None
    policy = declared.endpoint_policies()[endpoint]
    sources = [source.name for source in declared.settings.topics if topic.startswith(f"{source.name}.")]
    if topic in declared.retry_topics() and sources:
        topic = max(sources, key=len)
    return declared.dead_letter_topic_name(policy, topic, endpoint.event_type if endpoint is not None else None)


def app_topics(app: OperatedApp) -> dict[str, AppTopic]:
    """All topics that the app reads or writes, with its retry topics and dead-letter topics."""
    found: dict[str, AppTopic] = {}
    for declared in app.consumers.values():
        source = AppTopic(declared.settings.connection, declared.type_header, declared.name)
        found |= dict.fromkeys((topic.name for topic in declared.settings.topics), source)
        found |= dict.fromkeys(declared.retry_topics(), source)
    for producer in app.producers.values():
        settings = producer_settings(producer.config)
        names = {endpoint.topic or settings.topic for endpoint in producer.sender.endpoints}
        for name in names - {None}:
            found.setdefault(str(name), AppTopic(settings.connection, "Event-Type"))
    return found | {name: topic for name, topic in configured_dead_letter_topics(app).items() if name not in found}
