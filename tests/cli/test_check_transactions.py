"""`evkafka check` says whether a cluster can do what an exactly-once consumer needs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from evkafka.broker import KafkaBroker
from evkafka.cli.impl.check_transactions import transaction_findings
from evkafka.config.settings import ConnectionSettings, TransactionSettings
from evkafka.kafka.admin.transactions import TransactionSupport, look_up_transaction_support
from evkafka.service.config_checks import ConfigFinding

GOOD = TransactionSupport(is_offered=True, missing_right=None, brokers=3, replicas=3, min_isr=2)


def found(
    support: TransactionSupport, known: Mapping[str, str] | None = None, *, timeout_s: float = 10.0
) -> list[ConfigFinding]:
    return list(transaction_findings(TransactionSettings(timeout_s=timeout_s), support, known))


def test_says_how_transactions_are_stored() -> None:
    [finding] = found(GOOD)
    assert finding == ("ok", "exactly-once is offered; __transaction_state has 3 replicas, min.insync.replicas 2", "")


def test_is_an_error_with_old_brokers() -> None:
    [finding] = found(GOOD._replace(is_offered=False))
    assert finding.level == "error"
    assert "Kafka 2.5" in finding.problem


def test_is_an_error_without_the_right_to_use_the_transactional_id() -> None:
    finding, _ = found(GOOD._replace(missing_right="WRITE of transactional id 'x'"))
    assert finding[:2] == ("error", "an ACL is missing: WRITE of transactional id 'x'")


def test_is_an_error_if_the_brokers_do_not_accept_the_timeout() -> None:
    finding, _ = found(GOOD, {"transaction.max.timeout.ms": "900000"}, timeout_s=901.0)
    assert finding.level == "error"
    assert "transaction_timeout_ms 901000 is more than the brokers accept" in finding.problem
    assert finding.fix == "transaction_timeout_ms 900000 or less"


@pytest.mark.parametrize("weak", [{"replicas": 1, "min_isr": 1}, {"replicas": 2}, {"min_isr": 1}])
def test_is_a_warning_if_a_lost_broker_loses_transactions(weak: Mapping[str, int]) -> None:
    [finding] = found(GOOD._replace(**weak))
    assert finding.level == "warning"
    assert "if a broker is lost" in finding.problem


def test_a_cluster_of_one_broker_has_one_replica() -> None:
    [finding] = found(TransactionSupport(is_offered=True, missing_right=None, brokers=1, replicas=1, min_isr=1))
    assert finding.level == "ok"


def test_says_so_if_the_topic_is_not_seen() -> None:
    [finding] = found(GOOD._replace(replicas=None, min_isr=None))
    assert finding.level == "ok"
    assert "does not exist yet, or is hidden" in finding.problem


async def test_a_real_cluster_says_what_it_offers(kafka_broker: KafkaBroker) -> None:
    connection = ConnectionSettings(bootstrap_servers=(kafka_broker.bootstrap_servers,))

    support = await look_up_transaction_support(connection, "nobody-has-this", "nor-this")

    assert support == TransactionSupport(is_offered=True, missing_right=None, brokers=1, replicas=1, min_isr=1)
