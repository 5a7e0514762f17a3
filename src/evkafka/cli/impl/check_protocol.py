"""Checks a consumer's `group_protocol` against the brokers and the group, for `evkafka check`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evkafka.cli.output import counted
from evkafka.config.settings import ConsumerSettings
from evkafka.kafka.admin.groups import Group
from evkafka.kafka.client.consumer_protocol_offer import ConsumerProtocolOffer
from evkafka.service.config_checks import ConfigFinding

MIGRATION_POLICY = "group.consumer.migration.policy"

UPGRADING = ("bidirectional", "upgrade")
"""The values of the setting with which the brokers convert a group that has members."""

USUAL_ASSIGNORS = ("range", "roundrobin", "sticky", "cooperative-sticky")
"""Assignors of the classic protocol that add nothing of their own to an assignment."""


def protocol_findings(
    settings: ConsumerSettings, offer: ConsumerProtocolOffer, group: Group, broker_settings: Mapping[str, str] | None
) -> Iterator[ConfigFinding]:
    """The findings about one consumer with a group.

    Args:
        broker_settings: None if this client may not see them.
    """
    chosen = settings.group_protocol
    match offer.obstacle:
        case None if chosen == "classic":
            offered = "classic protocol; the brokers offer the consumer protocol too (group_protocol 'consumer')"
            yield ConfigFinding("ok", offered)
        case None:
            yield ConfigFinding("ok", f"consumer protocol, ConsumerGroupHeartbeat version {offer.heartbeat_version}")
            yield from _check_protocol_migration(settings.group_id, group, broker_settings)
        case obstacle if chosen == "consumer":
            fix = "group_protocol 'auto' or 'classic' until the brokers offer it"
            yield ConfigFinding("error", f"the consumer protocol cannot be used: {obstacle}", fix)
        case obstacle:
            yield ConfigFinding("ok", f"classic protocol; the consumer protocol cannot be used: {obstacle}")


def _check_protocol_migration(
    group_id: str | None, group: Group, broker_settings: Mapping[str, str] | None
) -> Iterator[ConfigFinding]:
    """Check whether a group whose members have the classic protocol can move while they run."""
    if group.protocol != "classic" or not group.active:
        return
    policy = (broker_settings or {}).get(MIGRATION_POLICY, UPGRADING[0])
    members = f"group {group_id!r} has {counted(len(group.members), 'member')} of the classic protocol"
    if policy.lower() not in UPGRADING:
        yield ConfigFinding(
            "error",
            f"{members}, and the brokers do not convert it while they run ({MIGRATION_POLICY} {policy})",
            f"stop them all before the first member of the consumer protocol starts, or set {MIGRATION_POLICY} to"
            " bidirectional",
        )
    elif group.assignor_adds_data:
        yield ConfigFinding(
            "error",
            f"{members}, and the brokers do not convert it while they run: its assignor {group.assignor!r} adds data of"
            " its own to each assignment, as librdkafka's cooperative-sticky does",
            "stop them all before the first member of the consumer protocol starts",
        )
    elif group.assignor not in ("", *USUAL_ASSIGNORS):
        yield ConfigFinding(
            "warning",
            f"{members} with the assignor {group.assignor!r}: the brokers do not convert a group whose assignor adds"
            " data of its own",
            "change partition_assignment_strategy first, with all members stopped",
        )
    else:
        yield ConfigFinding(
            "ok", f"{members}: the brokers convert it when the first member of the consumer protocol joins"
        )
