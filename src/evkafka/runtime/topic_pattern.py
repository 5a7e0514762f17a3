"""The topics that `topic_pattern` subscribes to. Pure."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from evkafka.config.settings import ConsumerSettings

logger = logging.getLogger("evkafka")

OURS = re.compile(r".+(\.dlq|\.dlq\.state|\.retry\.[^.]+)")
"""The default names of dead-letter, state and retry topics, of any group."""

UNMATCHED, UNREADABLE = "unmatched", "unreadable"
"""The values of `{event_type}` in the name of a dead-letter topic: for a record that no endpoint takes, and for one
that the client cannot read."""


class TopicPattern:
    """A pattern that does not match the topics which a consumer itself writes: it would consume our own dead letters
    again.

    Args:
        templates: the names of the dead-letter topics of all error policies, with their placeholders.
    """

    def __init__(self, pattern: re.Pattern[str], templates: Iterable[str]) -> None:
        self._pattern = pattern
        self._dead_letters = [re.compile(regex_of_name_template(template)) for template in dict.fromkeys(templates)]
        self._excluded: set[str] = set()

    @classmethod
    def from_settings(cls, settings: ConsumerSettings) -> TopicPattern:
        assert settings.topic_pattern is not None
        own = excluded_name_templates(settings.on_error.dead_letter_topic, group_id=settings.group_id, event_type=None)
        return cls(settings.topic_pattern, settings.dead_letter_topics or own)

    @property
    def pattern(self) -> str:
        return self._pattern.pattern

    def match(self, topic: str) -> bool:
        if self._pattern.match(topic) is None:
            return False
        if OURS.fullmatch(topic) is None and not any(
            self._is_dead_letter_topic(name, topic) for name in self._dead_letters
        ):
            return True
        if topic not in self._excluded:
            self._excluded.add(topic)
            logger.info(
                "topic %s matches %r but is not read: it is a dead-letter topic by its name", topic, self.pattern
            )
        return False

    def _is_dead_letter_topic(self, name: re.Pattern[str], topic: str) -> bool:
        """True if the name is derived from a topic that the pattern matches. That topic need not exist any more."""
        found = name.fullmatch(topic)
        if found is None:
            return False
        source = found.groupdict().get("topic")
        return source is None or (source != topic and self._pattern.match(source) is not None)


def excluded_name_templates(template: str, *, group_id: str | None, event_type: str | None) -> tuple[str, ...]:
    """The names that a pattern excludes because of one policy, with the placeholders that may have any value.

    A template with letters or digits of its own (`failed-{group_id}-{topic}`) identifies dead-letter topics of every
    group and event type. A template of placeholders alone does not: `{topic}.{event_type}` could be any `shop.orders`.
    For such a template only the names that this consumer itself writes to are excluded.

    Args:
        event_type: None for the consumer's own policy.
    """
    if any(character.isalnum() for character in re.sub(r"\{\w+\}", "", template)):
        return (template.replace("{event_type}", event_type or "{event_type}"),)
    named = template.replace("{group_id}", group_id or "none")
    types = (UNMATCHED, UNREADABLE) if event_type is None else (event_type,)
    return tuple(dict.fromkeys(named.replace("{event_type}", one) for one in types))


def regex_of_name_template(template: str) -> str:
    """A regular expression for the names of a template, and for the names of their state topics."""
    parts, seen = [], False
    for part in re.split(r"(\{\w+\})", template):
        match part:
            case "{topic}":
                parts.append("(?P=topic)" if seen else "(?P<topic>.+)")
                seen = True
            case "{group_id}" | "{event_type}":
                parts.append(".+")
            case _:
                parts.append(re.escape(part))
    return "".join(parts) + r"(\.state)?"
