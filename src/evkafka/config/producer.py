"""Reads a producer's configuration, then checks that its keys do not contradict each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from evkafka.config.connection import override_connection_keys, read_connection, warn_once
from evkafka.config.error_policy import topic_fault
from evkafka.config.section import Faults, Section, require_mapping, to_ms
from evkafka.config.setting_types import read_aiokafka_options, read_settings_over_defaults
from evkafka.config.settings import PRODUCER_OPTIONS, ConnectionSettings, ErrorPolicySettings, ProducerSettings

DOC = "evkafka.config.ProducerConfig"

PRODUCER = ProducerSettings()
"""The defaults."""

REQUEST_TIMEOUT_S = 40.0
ENCODING = "payloads are encoded by their type, and bytes are sent unchanged; encode before sending"


def read_producer(values: object) -> ProducerSettings:
    """Check a producer's configuration.

    Raises:
        ConfigError: it is invalid; the error lists all faults.
    """
    faults = Faults("the producer's configuration")
    section = Section(require_mapping(values, faults), faults, doc=DOC)
    settings = _read_producer_keys(section)
    section.refuse_unknown_keys()
    faults.raise_if_any()
    return settings


DEAD_LETTER_REQUEST_SIZE = 64 * 1024 * 1024


def read_dead_letter_producer(
    section: Section, policy: ErrorPolicySettings, connection: ConnectionSettings, *, login: bool
) -> ProducerSettings:
    """Check the keys of `dead_letter_producer`, which override the consumer's connection.

    Args:
        section: the policy's section; faults are added to it.
        login: False if the connection is not known, or has faults of its own.
    """
    # A record that was read must be writable, whatever its size: only the topic's own limit applies.
    larger = {"max_request_size": DEAD_LETTER_REQUEST_SIZE}
    values = {**larger, **override_connection_keys(connection, policy.dead_letter_producer or {})}
    inner = section.create_nested_section("dead_letter_producer", values, doc=DOC)
    inner.add_fault_if_key_is_given("topic", "dead_letter_topic sets the topic; remove this key")
    settings = _read_producer_keys(inner, login=login)
    if inner.are_keys_valid("acks") and settings.acks != "all":
        inner.add_fault(
            "acks", f"a dead letter must be confirmed by all replicas, but acks is {settings.acks}; remove it"
        )
    inner.refuse_unknown_keys()
    return settings


def _read_producer_keys(section: Section, *, login: bool = True) -> ProducerSettings:
    acks, idempotent = _read_acks_and_idempotence(section)
    readers: dict[str, Callable[[], Any]] = {
        "connection": lambda: read_connection(section, request_timeout_s=REQUEST_TIMEOUT_S, login=login),
        "topic": lambda: _read_topic(section),
        "options": lambda: read_aiokafka_options(
            section, PRODUCER_OPTIONS, {"partitioner": lambda: _read_partitioner(section)}
        ),
    }
    base = replace(PRODUCER, acks=acks, enable_idempotence=idempotent)
    settings = read_settings_over_defaults(section, base, readers, already_read=("acks", "enable_idempotence"))
    linger_ms, delivery_ms = settings.options.get("linger_ms", 0), to_ms(settings.delivery_timeout_s)
    if section.are_keys_valid("linger_ms", "delivery_timeout_ms") and linger_ms >= delivery_ms:
        section.add_fault(
            "linger_ms",
            f"{linger_ms} is not below delivery_timeout_ms {delivery_ms}, so a record would time out before it is"
            " sent; use less",
        )
    no_transactions = (
        "a producer does not have this key; transactions are those of a consumer with auto_commit_mode 'exactly-once',"
        " whose endpoints' sends are part of them; remove it"
    )
    section.add_fault_if_key_is_given("transactional_id", no_transactions)
    section.add_fault_if_key_is_given("transaction_timeout_ms", no_transactions)
    section.add_fault_if_key_is_given("key_serializer", f"a producer has none; {ENCODING}")
    section.add_fault_if_key_is_given("value_serializer", f"a producer has none; {ENCODING}")
    return settings


def _read_acks_and_idempotence(section: Section) -> tuple[Any, bool]:
    """`acks` and `enable_idempotence`; the second needs acks "all"."""
    asked = section.choice("acks", None, ("all", -1, 0, 1))
    acks = "all" if asked in (None, -1) else asked
    idempotent = section.flag("enable_idempotence", None)
    if not section.are_keys_valid("acks", "enable_idempotence"):
        return "all", True
    if acks == "all":
        return acks, idempotent is not False
    if idempotent:
        section.add_fault(
            "enable_idempotence",
            f"True needs acks 'all', but acks is {acks}; remove acks, or set enable_idempotence to False",
        )
    elif idempotent is None:
        warn_once(
            f"acks {acks} turns enable_idempotence off, so a record may be lost or written twice; if that is intended,"
            " set enable_idempotence to False"
        )
    return acks, False


def _read_topic(section: Section) -> str | None:
    topic = section.text("topic", None, none=True)
    if topic is not None and (fault := topic_fault(topic)):
        section.add_fault("topic", fault)
    return topic


def _read_partitioner(section: Section) -> Callable[..., Any] | None:
    return section.callable_value("partitioner", like="(key, all_partitions, available) -> partition")
