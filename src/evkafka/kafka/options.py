"""Our settings, as the client's own options."""

from __future__ import annotations

from typing import Any

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from evkafka.config.settings import ConnectionSettings, ConsumerSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.client.log_redaction import hide_logins

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
"""What AIOKafkaClient takes, of all that a consumer or producer takes."""

NEVER_MS = 10**15
"""The client's own clock for idle members is off: ours decides (it expels members that merely have nothing to do)."""


def connection_options(connection: ConnectionSettings) -> dict[str, Any]:
    """What reaches and logs in to the cluster, for a consumer, a producer or an admin client."""
    hide_logins()
    return {
        **connection.options,
        "bootstrap_servers": list(connection.bootstrap_servers),
        "client_id": connection.client_id,
        "request_timeout_ms": milliseconds(connection.request_timeout_s),
        "metadata_max_age_ms": milliseconds(connection.metadata_max_age_s),
    }


def consumer_options(settings: ConsumerSettings) -> dict[str, Any]:
    """The arguments of AIOKafkaConsumer.

    Raises:
        ConfigError: more than one assignor, or none.
    """
    options = {**connection_options(settings.connection), **settings.options}
    options["partition_assignment_strategy"] = (one_assignor(options.get("partition_assignment_strategy")),)
    return options | {
        "group_id": settings.group_id,
        "group_instance_id": settings.group_instance_id,
        # A join is answered when the whole group has joined; a client that gives up before loops for ever.
        "request_timeout_ms": max(options["request_timeout_ms"], milliseconds(settings.rebalance_timeout_s + 5.0)),
        "rebalance_timeout_ms": milliseconds(settings.rebalance_timeout_s),
        "session_timeout_ms": milliseconds(settings.session_timeout_s),
        "heartbeat_interval_ms": milliseconds(settings.heartbeat_interval_s),
        "max_poll_interval_ms": NEVER_MS,
        "isolation_level": settings.isolation_level,
        # We decide where to begin: the client takes a failed look-up for "no commit" and skips records.
        "auto_offset_reset": "none",
        "enable_auto_commit": commits_by_itself(settings),
        "auto_commit_interval_ms": milliseconds(settings.auto_commit_interval_s),
    }


def commits_by_itself(settings: ConsumerSettings) -> bool:
    """The client's own auto commit runs in one case only: at most once, on an interval."""
    return (
        settings.group_id is not None
        and settings.auto_commit_mode == "pre-commit"
        and settings.auto_commit_interval_s > 0
    )


def one_assignor(given: Any) -> Any:
    """Exactly one: the client sends one JoinGroup for each, and the group rebalances as often."""
    if given is None:
        return RoundRobinPartitionAssignor
    strategies = list(given) if isinstance(given, list | tuple) else [given]
    if len(strategies) != 1:
        raise ConfigError(
            f"partition_assignment_strategy names {len(strategies)} strategies; give exactly one,"
            " and stop the whole group to change it"
        )
    return strategies[0]


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
