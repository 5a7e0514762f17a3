"""Checks whether a cluster can do what an exactly-once consumer needs, for `evkafka check`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evkafka.cli.output import counted
from evkafka.config.settings import TransactionSettings
from evkafka.kafka.admin.transactions import STATE_TOPIC, TransactionSupport
from evkafka.service.config_checks import ConfigFinding

MAX_TIMEOUT = "transaction.max.timeout.ms"

ENOUGH_REPLICAS = 3


def transaction_findings(
    settings: TransactionSettings, support: TransactionSupport, broker_settings: Mapping[str, str] | None
) -> Iterator[ConfigFinding]:
    """The findings about one exactly-once consumer.

    Args:
        broker_settings: None if this client may not see them.
    """
    if not support.is_offered:
        yield ConfigFinding(
            "error", "exactly-once needs brokers of Kafka 2.5 or newer", "auto_commit_mode 'post-commit'"
        )
        return
    if support.missing_right is not None:
        yield ConfigFinding(
            "error", f"an ACL is missing: {support.missing_right}", "kafka-acls.sh --add --allow-principal ..."
        )
    timeout_ms, most_ms = round(settings.timeout_s * 1000), (broker_settings or {}).get(MAX_TIMEOUT)
    if most_ms is not None and timeout_ms > int(most_ms):
        yield ConfigFinding(
            "error",
            f"transaction_timeout_ms {timeout_ms} is more than the brokers accept ({MAX_TIMEOUT} {most_ms})",
            f"transaction_timeout_ms {most_ms} or less",
        )
    yield from _check_transaction_log_replication(support)


def _check_transaction_log_replication(support: TransactionSupport) -> Iterator[ConfigFinding]:
    """A committed transaction that its coordinator forgets is aborted later, with all that it wrote."""
    replicas, min_isr = support.replicas, support.min_isr
    if replicas is None:
        yield ConfigFinding(
            "ok", f"exactly-once is offered; {STATE_TOPIC} does not exist yet, or is hidden from this user"
        )
        return
    stored = f"{STATE_TOPIC} has {counted(replicas, 'replica')}"
    if min_isr is not None:
        stored += f", min.insync.replicas {min_isr}"
    if support.brokers >= ENOUGH_REPLICAS and (replicas < ENOUGH_REPLICAS or (min_isr or ENOUGH_REPLICAS) < 2):
        yield ConfigFinding(
            "warning",
            f"{stored}: if a broker is lost, transactions are lost with it",
            "three replicas and min.insync.replicas 2 (transaction.state.log.replication.factor,"
            " transaction.state.log.min.isr)",
        )
    else:
        yield ConfigFinding("ok", f"exactly-once is offered; {stored}")
