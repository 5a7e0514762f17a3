"""What keeps a group from using the consumer protocol: old brokers, a feature or a setting that is off."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import errors as kafka

from evkafka.kafka.client.api_versions_protocol import ApiVersionsResponse_v3, FeaturesRequest
from evkafka.kafka.client.consumer_protocol_offer import (
    FEATURE_OFF,
    GROUP_VERSION,
    SWITCHED_OFF,
    TOO_OLD,
    ConsumerProtocolOffer,
    request_consumer_protocol_offer,
)
from evkafka.kafka.client.group_protocol import ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse_v1
from evkafka.kafka.errors import ErrorCode

VERSIONS = {18: (0, 4), 68: (0, 1), 69: (0, 1)}


class Cluster:
    """A cluster of one node, with these versions of requests, this level of `group.version` and this coordinator."""

    def __init__(self, versions: dict[int, tuple[int, int]], level: int = 1, code: int = 0) -> None:
        self._versions = versions
        self._level = level
        self._code = code

    async def send_to_any_node(self, request: FeaturesRequest) -> Any:
        request.prepare(self._versions)
        rows = [(key, least, most) for key, (least, most) in self._versions.items()]
        features = {GROUP_VERSION: self._level} if self._level else {}
        return ApiVersionsResponse_v3.decode(ApiVersionsResponse_v3(0, rows, 0, features).encode())

    async def coordinator_lookup(self, kind: object, group_id: str) -> int:
        return 1

    async def send(self, node: int, request: ConsumerGroupDescribeRequest) -> Any:
        request.prepare(self._versions)
        return ConsumerGroupDescribeResponse_v1(0, [(self._code, None, "g", "", 0, 0, "", [], 0)])


class TestTheOffer:
    @pytest.mark.parametrize(
        ("cluster", "offer"),
        [
            (Cluster(VERSIONS), ConsumerProtocolOffer(1, 1, None)),
            (Cluster(VERSIONS, code=ErrorCode.GROUP_ID_NOT_FOUND), ConsumerProtocolOffer(1, 1, None)),
            (Cluster(VERSIONS, code=ErrorCode.UNSUPPORTED_VERSION), ConsumerProtocolOffer(1, 1, SWITCHED_OFF)),
            (Cluster(VERSIONS, level=0), ConsumerProtocolOffer(1, 0, FEATURE_OFF)),
            (Cluster({18: (0, 3)}, level=0), ConsumerProtocolOffer(None, 0, TOO_OLD)),
            (Cluster({18: (0, 2)}), ConsumerProtocolOffer(None, 0, TOO_OLD)),
        ],
        ids=["offered", "no group yet", "switched off", "feature off", "before 4.0", "before 2.4"],
    )
    async def test_names_the_obstacle(self, cluster: Cluster, offer: ConsumerProtocolOffer) -> None:
        assert await request_consumer_protocol_offer(cluster, "g") == offer

    @pytest.mark.parametrize(
        ("code", "error"),
        [
            (ErrorCode.GROUP_AUTHORIZATION_FAILED, kafka.GroupAuthorizationFailedError),
            (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, kafka.GroupLoadInProgressError),
        ],
    )
    async def test_is_not_known_if_the_coordinator_does_not_answer_the_question(
        self, code: int, error: type[kafka.KafkaError]
    ) -> None:
        with pytest.raises(error):
            await request_consumer_protocol_offer(Cluster(VERSIONS, code=code), "g")
