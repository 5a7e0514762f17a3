"""The dead-letter topics that an app writes to: those that its policies ask for, and all others of its that are there.

A name may be known only once there is a letter: of a consumer that subscribes by pattern, or of an endpoint that gives
a record up (`DeadLetter`) although its policy never does.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator

from evkafka.config import dead_letter_producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError
from evkafka.kafka.admin.topics import topic_shapes
from evkafka.runtime.subscription import name_pattern
from evkafka.service.plan import DeclaredConsumer
from evkafka.ui.app_view import OperatedApp, Place, dead_letter_places

logger = logging.getLogger("evkafka.web")

LOOK_S = 10.0


async def dead_letter_topics(app: OperatedApp) -> dict[str, Place]:
    """By name; those that a policy asks for come first, and need not be there yet."""
    found = dead_letter_places(app)
    asked: list[tuple[ConnectionSettings, Collection[str]]] = []  # connections cannot be keys
    for declared in app.consumers.values():
        for name, connection in _names(declared):
            there = next((topics for known, topics in asked if known == connection), None)
            if there is None:
                there = await _topics(connection)
                asked.append((connection, there))
            for topic in there:
                if _is_of(declared, name, topic):
                    found.setdefault(topic, Place(connection, declared.type_header, declared.name))
    return found


def _names(declared: DeclaredConsumer) -> Iterator[tuple[re.Pattern[str], ConnectionSettings]]:
    """The names of a consumer's dead-letter topics, and where those are."""
    settings = declared.settings
    for event_type, policy in declared.policies():
        template = policy.dead_letter_topic.replace("{group_id}", settings.group_id or "none")
        if event_type is not None:
            template = template.replace("{event_type}", event_type)
        sources = [topic.name for topic in settings.topics] or ["{topic}"]
        connection = dead_letter_producer_settings(settings, policy).connection
        for source in sources:
            yield re.compile(name_pattern(template.replace("{topic}", source))), connection


def _is_of(declared: DeclaredConsumer, name: re.Pattern[str], topic: str) -> bool:
    found, pattern = name.fullmatch(topic), declared.settings.topic_pattern
    if found is None or topic.endswith(".state"):
        return False
    source = found.groupdict().get("topic")
    return source is None or pattern is None or pattern.match(source) is not None


async def _topics(connection: ConnectionSettings) -> Collection[str]:
    try:
        return await topic_shapes(connection, timeout_s=LOOK_S)
    except BrokerError as error:
        logger.info("dead-letter topics beyond those of the policies are not known: %s", error)
        return ()
