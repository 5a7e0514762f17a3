"""Asks whether a cluster has the requests that exactly-once needs."""

from __future__ import annotations

from typing import Any

from aiokafka import errors as kafka

from evkafka.kafka.client.api_versions_protocol import request_broker_features
from evkafka.kafka.client.transaction_protocol import (
    NEEDS,
    InitProducerIdRequest_v3,
    OffsetFetchRequest_v7,
    TxnOffsetCommitRequest_v3,
)

NEEDED_REQUESTS = (InitProducerIdRequest_v3, TxnOffsetCommitRequest_v3, OffsetFetchRequest_v7)
"""The oldest versions that can be used."""


async def offers_transactions(client: Any) -> bool:
    """Whether the brokers have these requests (Kafka 2.5).

    Raises:
        KafkaError: there was no answer.
    """
    features = await request_broker_features(client)
    return features is not None and all(
        features.newest_versions.get(one.API_KEY, -1) >= one.API_VERSION for one in NEEDED_REQUESTS
    )


async def require_transactions(client: Any) -> None:
    """Refuse brokers that are too old at the start: otherwise the group would be joined, and the first commit fail.

    Raises:
        IncompatibleBrokerVersion: they do not have the requests.
        KafkaError: there was no answer.
    """
    if not await offers_transactions(client):
        raise kafka.IncompatibleBrokerVersion(f"the brokers are too old: {NEEDS}")
