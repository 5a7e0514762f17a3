"""Reads the error policy of a consumer or event type; names of retry topics and dead-letter topics."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from string import Formatter
from typing import Any

from evkafka.config.masking import describe_type, text_for_error
from evkafka.config.section import INT32, Section
from evkafka.config.setting_types import read_settings_over_defaults
from evkafka.config.settings import DeadLetterLimitSettings, ErrorPolicySettings

DOC = "evkafka.config.ErrorPolicy"

PLACEHOLDERS = ("topic", "group_id", "event_type")

TOPIC_LENGTH = 249

_LEGAL = re.compile(r"[a-zA-Z0-9._-]+")


def topic_fault(name: str) -> str | None:
    """The reason why a topic name is illegal in Kafka; None if it is legal."""
    if name in (".", ".."):
        return f"{name!r} is not a valid topic name; use another one"
    if len(name) > TOPIC_LENGTH:
        return f"{text_for_error(name)} has {len(name)} characters; a topic name has 1 to {TOPIC_LENGTH}"
    if not _LEGAL.fullmatch(name):
        return f"{text_for_error(name)} is not a valid topic name; use letters a-z and A-Z, digits, '.', '_' and '-'"
    return None


# ------------------------------------------------------------------ the policy


def read_error_policy(section: Section, base: ErrorPolicySettings) -> ErrorPolicySettings:
    """A policy; keys that are not given have the base's values, also in nested mappings."""
    readers: dict[str, Callable[[], Any]] = {
        "max_attempts": lambda: _read_max_attempts(section, base),
        "non_retryable": lambda: _read_non_retryable(section, base),
        "retry_topics": lambda: _read_retry_topics(section, base),
        "dead_letter_topic": lambda: _read_dead_letter_topic(section, base),
        "dead_letter_limit": lambda: _read_dead_letter_limit(section, base),
        "dead_letter_producer": lambda: _read_unchecked_dead_letter_producer(section, base),
    }
    policy = read_settings_over_defaults(section, base, readers)
    _check_backoff(section, policy)
    _check_then_is_reachable(section, policy)
    _check_retry_topics(section, policy)
    return policy


def _check_backoff(section: Section, policy: ErrorPolicySettings) -> None:
    if section.are_keys_valid("backoff_ms", "max_backoff_ms") and policy.backoff_s > policy.max_backoff_s:
        section.add_fault(
            "backoff_ms" if section.is_given("backoff_ms") else "max_backoff_ms",
            f"backoff_ms {policy.backoff_s * 1000:g} is above max_backoff_ms {policy.max_backoff_s * 1000:g}; raise"
            " max_backoff_ms to at least the same value",
        )


def _check_then_is_reachable(section: Section, policy: ErrorPolicySettings) -> None:
    """A `then` that is given here must be reachable; an inherited one may be unreachable on purpose."""
    if not section.is_given("then") or not section.are_keys_valid("then", "max_attempts", "non_retryable"):
        return
    if policy.max_attempts is None and not policy.non_retryable:
        section.add_fault(
            "then",
            f"{policy.then!r} would never be reached: without max_attempts a record is retried forever; set"
            " max_attempts, or list the errors that must not be retried in non_retryable",
        )


def _check_retry_topics(section: Section, policy: ErrorPolicySettings) -> None:
    if not section.is_given("retry_topics") or not policy.retry_topics or not section.are_keys_valid("max_attempts"):
        return
    if policy.max_attempts is None:
        section.add_fault(
            "retry_topics",
            "they would never be reached: without max_attempts a record is retried in place forever; set"
            " max_attempts, the number of attempts before the first retry topic and in each of them",
        )


def _read_max_attempts(section: Section, base: ErrorPolicySettings) -> int | None:
    if section.value_or_missing("max_attempts") is None:
        return None  # given as None: forever, whatever the base has
    return section.integer("max_attempts", base.max_attempts, least=1)


def _read_non_retryable(section: Section, base: ErrorPolicySettings) -> tuple[type[Exception], ...]:
    key = "non_retryable"
    value = section.value_or_missing(key)
    if isinstance(value, type):
        section.add_fault(key, f"it is {describe_type(value)}, but must be a list; write [{value.__name__}]")
        return base.non_retryable
    given = section.sequence(key, items="exception classes")
    if given is None:
        return base.non_retryable
    for item in given:
        if not (isinstance(item, type) and issubclass(item, Exception)):
            section.add_fault(
                key,
                f"{text_for_error(item)} is not an exception class; list classes derived from Exception, not their"
                " names",
            )
    return tuple(given) if section.are_keys_valid(key) else base.non_retryable


def _read_retry_topics(section: Section, base: ErrorPolicySettings) -> tuple[int, ...]:
    key = "retry_topics"
    if section.value_or_missing(key) is None:
        return ()
    given = section.sequence(key, items="delays in milliseconds")
    if given is None:
        return base.retry_topics
    for delay_ms in given:
        if not isinstance(delay_ms, int) or isinstance(delay_ms, bool):
            section.add_fault(
                key, f"{text_for_error(delay_ms)} is not a whole number of milliseconds; give ints, unquoted"
            )
        elif not 1 <= delay_ms <= INT32:
            section.add_fault(key, f"{text_for_error(delay_ms)} is out of range; give 1 to {INT32} milliseconds")
    if not section.are_keys_valid(key):
        return base.retry_topics
    if any(late <= early for early, late in pairwise(given)):
        section.add_fault(key, f"{text_for_error(list(given))}: each delay must be longer than the one before it")
        return base.retry_topics
    return tuple(given)


def _read_dead_letter_limit(section: Section, base: ErrorPolicySettings) -> DeadLetterLimitSettings | None:
    key = "dead_letter_limit"
    if section.value_or_missing(key) is None:
        return None
    values = section.mapping(key, none=True)
    if values is None:
        return base.dead_letter_limit
    before = base.dead_letter_limit or DeadLetterLimitSettings()
    inner = section.create_nested_section(key, values, doc="evkafka.config.DeadLetterLimit")
    limit = read_settings_over_defaults(inner, before, {})
    inner.refuse_unknown_keys()
    return limit


def _read_unchecked_dead_letter_producer(section: Section, base: ErrorPolicySettings) -> Mapping[str, Any] | None:
    """The producer's keys as given; `read_dead_letter_producer` checks them together with a connection."""
    values = section.mapping("dead_letter_producer", none=True)
    if values is None:
        return base.dead_letter_producer
    return {**(base.dead_letter_producer or {}), **values}


# ------------------------------------------------------------------ topic names


def retry_topic_name(topic: str, group_id: str | None, delay_ms: int) -> str:
    """The name of a retry topic; it may be illegal."""
    return f"{topic}.{group_id or 'none'}.retry.{delay_ms}"


def dead_letter_topic_name(template: str, *, topic: str, group_id: str | None, event_type: str) -> str:
    """The name of a dead-letter topic; it may be illegal."""
    return template.format(topic=topic, group_id=group_id or "none", event_type=event_type)


def parse_topic_template_into_parts(text: str) -> Iterator[tuple[str, str | None]]:
    """The parts of a topic name template: literal text, and the placeholder that follows it.

    Raises:
        ValueError: it is not a template; the message is for the user.
    """
    for literal, field, spec, conversion in Formatter().parse(text):
        if field is not None and (field not in PLACEHOLDERS or spec or conversion):
            allowed = ", ".join("{" + name + "}" for name in PLACEHOLDERS)
            raise ValueError(f"the allowed placeholders are {allowed}, without format options")
        yield literal, field


def _read_dead_letter_topic(section: Section, base: ErrorPolicySettings) -> str:
    """The text between the placeholders must be legal; the final name is checked by `dead_letter_topic_fault`."""
    key = "dead_letter_topic"
    template = section.text(key, base.dead_letter_topic)
    if template == base.dead_letter_topic:
        return template
    try:
        parts = list(parse_topic_template_into_parts(template))
    except ValueError as error:
        section.add_fault(key, f"{text_for_error(template)}: {error}")
        return base.dead_letter_topic
    # A placeholder has at least one character.
    fault = topic_fault("".join(literal + ("x" if field is not None else "") for literal, field in parts))
    if fault is not None:
        section.add_fault(key, f"{text_for_error(template)} cannot name a topic: {fault}")
        return base.dead_letter_topic
    return template


def dead_letter_topic_fault(template: str, *, topic: str, group_id: str | None, event_type: str | None) -> str | None:
    """The reason why a template's name is illegal; None if it is legal.

    Args:
        event_type: None if unknown: a legal one is assumed.
    """
    name = dead_letter_topic_name(
        template, topic=topic, group_id=group_id, event_type="x" if event_type is None else event_type
    )
    fault = topic_fault(name)
    if fault is None:
        return None
    becomes = f"{text_for_error(template)} becomes {text_for_error(name)} for topic {topic!r}"
    return f"{becomes}, but {fault}; change dead_letter_topic"


def fault_if_consumer_reads_dead_letters(
    template: str,
    topics: Sequence[str],
    pattern: re.Pattern[str] | None,
    *,
    group_id: str | None,
    event_type: str | None,
    retry_topics: Collection[str] = (),
) -> str | None:
    """The fault that this consumer itself reads its dead-letter topic; None if it does not, or that is not known.

    A pattern's subscription leaves out dead-letter topics whose names derive from the matched topics, and all topics
    that end with `.dlq`: see `runtime/topic_pattern.py`.

    Args:
        event_type: None if unknown.
        retry_topics: topics that the consumer reads besides its own.
    """
    if "{event_type}" in template and event_type is None:
        return None

    def name(topic: str) -> str:
        return dead_letter_topic_name(template, topic=topic, group_id=group_id, event_type=event_type or "")

    if pattern is None:
        found = next((name(topic) for topic in topics if name(topic) in {*topics, *retry_topics}), None)
    elif template == "{topic}":
        found = pattern.pattern
    elif "{topic}" in template or name("").endswith(".dlq") or not pattern.match(name("")):
        found = None
    else:
        found = name("")
    if found is None:
        return None
    return (
        f"{text_for_error(template)} becomes {text_for_error(found)}, which this consumer reads itself; use another"
        " name"
    )
