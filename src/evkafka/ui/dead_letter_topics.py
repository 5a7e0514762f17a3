"""The dead-letter topics of an app: those of its error policies, and existing ones whose names match its consumers'.

The second kind is known only when it exists: a consumer may subscribe by pattern, and an endpoint may return
`DeadLetter` although its policy writes none.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping

from evkafka.config import dead_letter_producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError
from evkafka.kafka.admin.topics import all_topic_shapes
from evkafka.runtime.topic_pattern import regex_of_name_template
from evkafka.service.plan import DeclaredConsumer
from evkafka.ui.app_topics import AppTopic, configured_dead_letter_topics
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.operated_app import OperatedApp

logger = logging.getLogger("evkafka.web")

READ_TIMEOUT_S = 10.0
LIST_TIMEOUT_S = 30.0
LISTED_EVERY_S = 10.0  # a large cluster has thousands of topics


class DeadLetterTopics:
    """The app's dead-letter topics, listed in the background.

    Args:
        now: the clock, in seconds.
    """

    def __init__(
        self, app: OperatedApp, background: BackgroundRunner, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._background = background
        self._now = now
        self._listed: Mapping[str, AppTopic] = {}
        self._due_s = now()

    async def list_topics(self) -> Mapping[str, AppTopic]:
        """The topics that there are now."""
        self._listed = await self._background.run(lambda: dead_letter_topics(self._app), timeout_s=LIST_TIMEOUT_S)
        if self._listed:
            self._due_s = self._now() + LISTED_EVERY_S
        return self._listed

    async def list_topics_unless_cached(self, wanted: str | None = None) -> Mapping[str, AppTopic]:
        """The topics as listed not long ago; they are listed again if the wanted one is not among them."""
        if self._now() >= self._due_s or (wanted is not None and wanted not in self._listed):
            return await self.list_topics()
        return self._listed


async def dead_letter_topics(app: OperatedApp) -> dict[str, AppTopic]:
    """The topics by name. Those of the error policies come first; they need not exist yet."""
    found = configured_dead_letter_topics(app)
    existing: list[tuple[ConnectionSettings, Collection[str]]] = []  # a list: connections are not hashable
    for declared in app.consumers.values():
        for name, connection in _topic_name_patterns_of_consumer(declared):
            topics = next((topics for known, topics in existing if known == connection), None)
            if topics is None:
                topics = await _all_topic_names_of_cluster(connection)
                existing.append((connection, topics))
            for topic in topics:
                if _is_dead_letter_topic(declared, name, topic):
                    found.setdefault(topic, AppTopic(connection, declared.type_header, declared.name))
    return found


def _topic_name_patterns_of_consumer(
    declared: DeclaredConsumer,
) -> Iterator[tuple[re.Pattern[str], ConnectionSettings]]:
    """Patterns of the names of a consumer's dead-letter topics, each with the cluster that has them."""
    settings = declared.settings
    for event_type, policy in declared.policies():
        template = policy.dead_letter_topic.replace("{group_id}", settings.group_id or "none")
        if event_type is not None:
            template = template.replace("{event_type}", event_type)
        sources = [topic.name for topic in settings.topics] or ["{topic}"]
        connection = dead_letter_producer_settings(settings, policy).connection
        for source in sources:
            yield re.compile(regex_of_name_template(template.replace("{topic}", source))), connection


def _is_dead_letter_topic(declared: DeclaredConsumer, name: re.Pattern[str], topic: str) -> bool:
    found, pattern = name.fullmatch(topic), declared.settings.topic_pattern
    if found is None or topic.endswith(".state"):
        return False
    source = found.groupdict().get("topic")
    return source is None or pattern is None or pattern.match(source) is not None


async def _all_topic_names_of_cluster(connection: ConnectionSettings) -> Collection[str]:
    try:
        return await all_topic_shapes(connection, timeout_s=READ_TIMEOUT_S)
    except BrokerError as error:
        logger.info("dead-letter topics beyond those of the policies are not known: %s", error)
        return ()
