"""Checks a consumer's settings against each other, for `evkafka check` and the dashboard. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from evkafka.config.settings import ConsumerSettings
from evkafka.service.plan import DeclaredConsumer

KUBERNETES_GRACE_S = 30.0
"""The default `terminationGracePeriodSeconds`."""

LAST_STEPS_S = 5.0
"""For the commit, leaving the group and flushing, after the drain."""

DEFAULT_TIMES_S = (20.0, 10.0)
"""`max_endpoint_exec_time_ms` and `revoke_drain_timeout_ms` of a consumer that sets neither: the docs explain them."""

OFFSET_METADATA_MAX_BYTES = 4096
"""The brokers' default `offset.metadata.max.bytes`."""


class ConfigFinding(NamedTuple):
    level: Literal["ok", "note", "warning", "error"]
    problem: str
    fix: str = ""


def config_findings(declared: DeclaredConsumer) -> list[ConfigFinding]:
    """The notes, warnings and errors about one consumer."""
    return [
        *_check_times(declared.settings),
        *_check_time_limits(declared.settings, _longest_time_limit_s(declared)),
        *_check_static_member_and_concurrency(declared.settings),
    ]


def _longest_time_limit_s(declared: DeclaredConsumer) -> float:
    """The longest time limit of the endpoints; the consumer's own counts for those that have none."""
    base_s = declared.settings.max_endpoint_exec_time_s
    return max((base_s if one.timeout_s is None else one.timeout_s for one in declared.endpoints or ()), default=base_s)


def _check_times(settings: ConsumerSettings) -> Iterator[ConfigFinding]:
    drain_s, rebalance_s, session_s = settings.drain_timeout_s, settings.rebalance_timeout_s, settings.session_timeout_s
    if settings.heartbeat_interval_s * 3 > session_s:
        yield ConfigFinding(
            "warning",
            f"heartbeat_interval_ms {_to_ms(settings.heartbeat_interval_s)} allows fewer than three heartbeats in"
            f" session_timeout_ms {_to_ms(session_s)}",
            f"heartbeat_interval_ms {_to_ms(session_s / 3)} or less",
        )
    if drain_s + LAST_STEPS_S > KUBERNETES_GRACE_S:
        yield ConfigFinding(
            "warning",
            f"drain_timeout_ms {_to_ms(drain_s)} is longer than the default grace period of Kubernetes (30 s)",
            f"terminationGracePeriodSeconds: {round(drain_s + 10)}, or a shorter drain_timeout_ms",
        )
    if settings.revoke_drain_timeout_s >= rebalance_s:
        yield ConfigFinding(
            "error",
            f"revoke_drain_timeout_ms {_to_ms(settings.revoke_drain_timeout_s)} is not less than rebalance_timeout_ms"
            f" {_to_ms(rebalance_s)}: the group would continue without this member",
            "a shorter revoke_drain_timeout_ms",
        )


def _check_time_limits(settings: ConsumerSettings, attempt_s: float) -> Iterator[ConfigFinding]:
    drain_s, revoke_s = settings.drain_timeout_s, settings.revoke_drain_timeout_s
    attempt = f"an attempt may take {_to_ms(attempt_s)} ms"
    consequence = "it is lost" if settings.at_most_once else "it runs again"
    shorter = "a shorter max_endpoint_exec_time_ms, or timeout_ms of the endpoint"
    if attempt_s > drain_s:
        yield ConfigFinding(
            "warning",
            f"{attempt}, and drain_timeout_ms is {_to_ms(drain_s)}: a stop may cancel it, and {consequence}",
            f"a longer drain_timeout_ms, or {shorter}",
        )
    if attempt_s > revoke_s and (attempt_s, revoke_s) != DEFAULT_TIMES_S:
        yield ConfigFinding(
            "note",
            f"{attempt}, and revoke_drain_timeout_ms is {_to_ms(revoke_s)}:"
            f" a rebalance may cancel it, and {consequence}",
            f"a longer revoke_drain_timeout_ms, or {shorter}",
        )
    if attempt_s > settings.rebalance_timeout_s:
        yield ConfigFinding(
            "warning",
            f"{attempt}, longer than rebalance_timeout_ms {_to_ms(settings.rebalance_timeout_s)}",
            "a longer rebalance_timeout_ms",
        )


def _check_static_member_and_concurrency(settings: ConsumerSettings) -> Iterator[ConfigFinding]:
    is_classic = settings.group_protocol == "classic"
    if settings.group_instance_id is not None and is_classic and settings.session_timeout_s < KUBERNETES_GRACE_S:
        yield ConfigFinding(
            "warning",
            "group_instance_id avoids a rebalance only if a restart takes less than session_timeout_ms"
            f" {_to_ms(settings.session_timeout_s)}",
            "session_timeout_ms of about 60000 for static members",
        )
    if settings.concurrency > settings.max_pending_records:
        yield ConfigFinding(
            "warning",
            f"concurrency {settings.concurrency} is more than max_pending_records {settings.max_pending_records}",
            "a higher max_pending_records",
        )


def metadata_findings(settings: ConsumerSettings, broker_limit: int | None) -> Iterator[ConfigFinding]:
    """The finding about the metadata of commits, if it may be larger than the brokers take.

    Args:
        broker_limit: the brokers' offset.metadata.max.bytes; None if it is not known.
    """
    limit = broker_limit if broker_limit is not None else OFFSET_METADATA_MAX_BYTES
    if settings.commit_metadata_max_bytes > limit and not settings.at_most_once:
        default = " by default" if broker_limit is None else ""
        yield ConfigFinding(
            "warning",
            f"commit_metadata_max_bytes {settings.commit_metadata_max_bytes} is more than the brokers accept{default}"
            f" (offset.metadata.max.bytes {limit})",
            f"commit_metadata_max_bytes {limit} or less, or raise offset.metadata.max.bytes of the brokers",
        )


def _to_ms(seconds: float) -> int:
    return round(seconds * 1000)
