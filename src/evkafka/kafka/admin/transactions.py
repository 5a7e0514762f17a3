"""Asks whether a cluster can be used for transactions: what the brokers offer, how they store them, what is allowed.

The requests change nothing: none of them gets as far as a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from aiokafka import errors as kafka
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import CoordinationType
from aiokafka.protocol.transaction import AddOffsetsToTxnRequest

from evkafka.config.settings import ConnectionSettings
from evkafka.kafka.admin.session import admin_session, retry_until_coordinator_known
from evkafka.kafka.client.transaction_offer import offers_transactions
from evkafka.kafka.client.transaction_protocol import NO_PRODUCER
from evkafka.kafka.errors import ErrorCode

STATE_TOPIC = "__transaction_state"


class TransactionSupport(NamedTuple):
    """What a cluster offers.

    Attributes:
        is_offered: whether the brokers have the requests of exactly-once (Kafka 2.5).
        missing_right: the right that this client lacks; None if it lacks none.
        brokers: how many brokers the cluster has.
        replicas, min_isr: of the topic that transactions are stored in; None if it does not exist yet, or is hidden.
    """

    is_offered: bool
    missing_right: str | None
    brokers: int
    replicas: int | None
    min_isr: int | None


async def look_up_transaction_support(
    connection: ConnectionSettings, transactional_id: str, group_id: str
) -> TransactionSupport:
    """What the cluster offers to a member of this group with this transactional id.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    async with admin_session(connection, "asking about transactions") as admin:
        brokers = len(admin.client.cluster.brokers())
        if not await offers_transactions(admin.client):
            return TransactionSupport(False, None, brokers, None, None)
        missing = await _find_missing_right(admin, transactional_id, group_id)
        replicas, min_isr = await _transaction_log_replication(admin)
        return TransactionSupport(True, missing, brokers, replicas, min_isr)


async def _find_missing_right(admin: Any, transactional_id: str, group_id: str) -> str | None:
    """Add a group to a transaction as no producer: a broker checks the rights first, and then does not know it."""
    missing = f"DESCRIBE and WRITE of transactional id {transactional_id!r}"
    look_up = partial(admin.client.coordinator_lookup, CoordinationType.TRANSACTION, transactional_id)
    try:
        node = await retry_until_coordinator_known(look_up)
    except kafka.TransactionalIdAuthorizationFailed:
        return missing
    answer = await admin.client.send(node, AddOffsetsToTxnRequest(transactional_id, *NO_PRODUCER, group_id))
    match answer.error_code:
        case ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return missing
        case ErrorCode.GROUP_AUTHORIZATION_FAILED:
            return f"READ of group {group_id!r}"
        case _:
            return None


async def _transaction_log_replication(admin: Any) -> tuple[int | None, int | None]:
    """The replicas of the topic that transactions are stored in, and how many of them have to be in sync."""
    topics = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics(None)}
    partitions = topics.get(STATE_TOPIC)
    if not partitions:
        return None, None
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, STATE_TOPIC)])
    [(code, _, *_, entries)] = [resource for answer in answers for resource in answer.resources]
    settings: Mapping[str, str] = {key: value for key, value, *_ in entries if value is not None} if not code else {}
    min_isr = settings.get("min.insync.replicas")
    return len(partitions[0]["replicas"]), int(min_isr) if min_isr is not None else None
