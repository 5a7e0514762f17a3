"""What a consumer's settings say when they are held against each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from evkafka.config.settings import ConsumerSettings
from evkafka.service.plan import DeclaredConsumer

Said = tuple[Literal["ok", "warning", "error"], str, str]

KUBERNETES_S = 30.0
LAST_STEPS_S = 5.0
"""Commit, leaving the group and flushing, behind the drain."""


def config_findings(declared: DeclaredConsumer) -> list[Said]:
    """Level, what is so, and what to do about it; one `ok` where there is nothing to say."""
    settings = declared.settings
    found = [*_times(declared), *_places(settings)]
    return found or [("ok", "the times fit each other", "")]


def _times(declared: DeclaredConsumer) -> Iterator[Said]:
    settings = declared.settings
    longest_s = _longest_attempt_s(declared)
    if settings.heartbeat_interval_s * 3 > settings.session_timeout_s:
        yield (
            "warning",
            (
                f"heartbeat_interval_ms {_ms(settings.heartbeat_interval_s)} leaves less than three tries in"
                f" session_timeout_ms {_ms(settings.session_timeout_s)}"
            ),
            f"heartbeat_interval_ms {_ms(settings.session_timeout_s / 3)} or less",
        )
    if settings.drain_timeout_s + LAST_STEPS_S > KUBERNETES_S:
        yield (
            "warning",
            f"drain_timeout_ms {_ms(settings.drain_timeout_s)} is longer than Kubernetes waits by default (30 s)",
            f"terminationGracePeriodSeconds: {round(settings.drain_timeout_s + 10)}, or a shorter drain",
        )
    if longest_s > settings.drain_timeout_s:
        yield (
            "warning",
            (
                f"an attempt may take {_ms(longest_s)} ms, and drain_timeout_ms is {_ms(settings.drain_timeout_s)}:"
                " a stop may cut it, and it is run again"
            ),
            "a longer drain_timeout_ms, or a shorter max_endpoint_exec_time_ms",
        )
    if longest_s > settings.rebalance_timeout_s:
        yield (
            "warning",
            (
                f"an attempt may take {_ms(longest_s)} ms, longer than rebalance_timeout_ms"
                f" {_ms(settings.rebalance_timeout_s)}"
            ),
            "a longer rebalance_timeout_ms",
        )
    if settings.revoke_drain_timeout_s >= settings.rebalance_timeout_s:
        yield (
            "error",
            (
                f"revoke_drain_timeout_ms {_ms(settings.revoke_drain_timeout_s)} is not less than rebalance_timeout_ms"
                f" {_ms(settings.rebalance_timeout_s)}: the group would go on without this member"
            ),
            "a shorter revoke_drain_timeout_ms",
        )


def _longest_attempt_s(declared: DeclaredConsumer) -> float:
    """The time limits that endpoints have: those of their own, and the consumer's for the rest."""
    base_s = declared.settings.max_endpoint_exec_time_s
    return max((base_s if one.timeout_s is None else one.timeout_s for one in declared.endpoints or ()), default=base_s)


def _places(settings: ConsumerSettings) -> Iterator[Said]:
    if settings.group_instance_id is not None and settings.session_timeout_s < KUBERNETES_S:
        yield (
            "warning",
            (
                f"group_instance_id saves a restart from a rebalance only within session_timeout_ms"
                f" {_ms(settings.session_timeout_s)}, and a restart takes longer"
            ),
            "session_timeout_ms 60000 or so, with static members",
        )
    if settings.concurrency > settings.max_pending_records:
        yield (
            "warning",
            f"concurrency {settings.concurrency} is more than max_pending_records {settings.max_pending_records}",
            "a greater max_pending_records",
        )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
