"""Converts our settings to aiokafka's options."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from evkafka.config.settings import ConnectionSettings, ConsumerSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.log_redaction import hide_logins

CLIENT_OPTIONS = frozenset(
    {
        "bootstrap_servers",
        "client_id",
        "metadata_max_age_ms",
        "request_timeout_ms",
        "retry_backoff_ms",
        "security_protocol",
        "ssl_context",
        "connections_max_idle_ms",
        "sasl_mechanism",
        "sasl_plain_username",
        "sasl_plain_password",
        "sasl_kerberos_service_name",
        "sasl_kerberos_domain_name",
        "sasl_oauth_token_provider",
    }
)
"""The options of a consumer or producer that AIOKafkaClient takes too."""

CLIENT_ONLY_OPTIONS = frozenset(
    {"bootstrap_servers", "metadata_max_age_ms", "retry_backoff_ms", "connections_max_idle_ms"}
)
"""Those of `CLIENT_OPTIONS` that a single connection does not take."""

_FETCHER_OPTIONS = (
    *("fetch_min_bytes", "fetch_max_bytes", "fetch_max_wait_ms", "max_partition_fetch_bytes"),
    *("check_crcs", "retry_backoff_ms", "isolation_level", "client_rack"),
)
_COORDINATOR_OPTIONS = (
    *("group_id", "group_instance_id", "session_timeout_ms", "heartbeat_interval_ms", "rebalance_timeout_ms"),
    *("max_poll_interval_ms", "retry_backoff_ms", "enable_auto_commit", "auto_commit_interval_ms"),
    "exclude_internal_topics",
)

NEVER_MS = 10**15
"""Turns aiokafka's own check of the polls off: it expels members that have nothing to read. The runtime has its own
(aiokafka-defects.md#poll-clock)."""


def connection_options(connection: ConnectionSettings) -> dict[str, Any]:
    """The options for reaching and logging in to the cluster, of a consumer, a producer or an admin client."""
    hide_logins()
    return {
        **connection.options,
        "bootstrap_servers": list(connection.bootstrap_servers),
        "client_id": connection.client_id,
        "request_timeout_ms": to_ms(connection.request_timeout_s),
        "metadata_max_age_ms": to_ms(connection.metadata_max_age_s),
    }


def consumer_options(settings: ConsumerSettings) -> dict[str, Any]:
    """The arguments of AIOKafkaConsumer.

    Raises:
        ConfigError: not exactly one assignor.
    """
    options = {**connection_options(settings.connection), **settings.options}
    options["partition_assignment_strategy"] = (single_assignor(options.get("partition_assignment_strategy")),)
    return options | {
        "group_id": settings.group_id,
        "group_instance_id": settings.group_instance_id,
        "rebalance_timeout_ms": to_ms(settings.rebalance_timeout_s),
        "session_timeout_ms": to_ms(settings.session_timeout_s),
        "heartbeat_interval_ms": to_ms(settings.heartbeat_interval_s),
        "max_poll_interval_ms": NEVER_MS,
        "isolation_level": settings.isolation_level,
        # `consumer/fetcher.py` finds positions: aiokafka takes a failed lookup for "no commit" and skips records.
        "auto_offset_reset": "none",
        "enable_auto_commit": uses_auto_commit(settings),
        "auto_commit_interval_ms": to_ms(settings.auto_commit_interval_s),
    }


def fetcher_options_from_consumer(consumer: AIOKafkaConsumer) -> dict[str, Any]:
    """The arguments of a Fetcher, as AIOKafkaConsumer has read them from its own."""
    options = {name: getattr(consumer, f"_{name}") for name in _FETCHER_OPTIONS}
    return options | {"fetcher_timeout": consumer._consumer_timeout}


def coordinator_options_from_consumer(consumer: AIOKafkaConsumer) -> dict[str, Any]:
    """The arguments of a GroupCoordinator, as AIOKafkaConsumer has read them from its own."""
    options = {name: getattr(consumer, f"_{name}") for name in _COORDINATOR_OPTIONS}
    return options | {"assignors": consumer._partition_assignment_strategy}


def uses_auto_commit(settings: ConsumerSettings) -> bool:
    """Whether aiokafka's auto commit runs: only for at most once, on an interval."""
    return settings.group_id is not None and settings.at_most_once and settings.auto_commit_interval_s > 0


def single_assignor(given: Any) -> Any:
    """The only assignor. aiokafka sends one JoinGroup for each, and the group rebalances each time
    (aiokafka-defects.md#assignors)."""
    if given is None:
        return RoundRobinPartitionAssignor
    strategies = list(given) if isinstance(given, list | tuple) else [given]
    if len(strategies) != 1:
        raise ConfigError(
            f"partition_assignment_strategy names {len(strategies)} strategies; give exactly one (to change it, stop"
            " the whole group)"
        )
    return strategies[0]


def to_ms(seconds: float) -> int:
    return round(seconds * 1000)
