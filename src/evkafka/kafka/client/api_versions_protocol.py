"""Which requests the brokers have, and the features of their cluster."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, NamedTuple

from aiokafka import errors as kafka
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import RequestStruct, ResponseHeader_v0
from aiokafka.protocol.types import Int16, Int32, Schema

from evkafka.kafka.client.codec import Fields, FlexibleResponse, Items, TaggedFields, Text
from evkafka.kafka.client.group_protocol import OfferedRequest

_FINALIZED_FEATURES = Items(("name", Text()), ("max_version_level", Int16), ("min_version_level", Int16))


class _FeatureLevels(AbstractType[dict[str, int]]):
    """The finalized features of an answer's tagged fields: name -> level."""

    TAG = 2

    @classmethod
    def encode(cls, value: dict[str, int]) -> bytes:
        rows = [(name, level, level) for name, level in value.items()]
        return TaggedFields.encode({cls.TAG: _FINALIZED_FEATURES.encode(rows)} if rows else {})

    @classmethod
    def decode(cls, data: BytesIO) -> dict[str, int]:
        content = TaggedFields.decode(data).get(cls.TAG)
        rows = _FINALIZED_FEATURES.decode(BytesIO(content)) if content is not None else None
        return {name: level for name, level, _ in rows or ()}


class ApiVersionsResponse_v3(FlexibleResponse):
    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        ("api_keys", Items(("api_key", Int16), ("min_version", Int16), ("max_version", Int16))),
        ("throttle_time_ms", Int32),
        ("feature_levels", _FeatureLevels),
    )


class ApiVersionsRequest_v3(RequestStruct):
    API_KEY = 18
    API_VERSION = 3
    RESPONSE_TYPE = ApiVersionsResponse_v3
    FLEXIBLE_VERSION = True
    SCHEMA = Fields(("client_software_name", Text()), ("client_software_version", Text()))

    def parse_response_header(self, read_buffer: BytesIO | bytes) -> ResponseHeader_v0:
        """The header of this answer has no tagged fields, in any version: an older broker must be understood too."""
        return ResponseHeader_v0.decode(read_buffer)


class FeaturesRequest(OfferedRequest[ApiVersionsRequest_v3]):
    """Versions of all requests that a broker offers, and the levels of its cluster's features."""

    API_KEY = 18
    NEEDS = "it needs Kafka 2.4 or newer"

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class("evkafka", "1")


class BrokerFeatures(NamedTuple):
    """What a broker offers.

    Attributes:
        newest_versions: API key of a request -> the newest version of it.
        levels: the cluster's features -> their levels; those that are off are missing.
    """

    newest_versions: Mapping[int, int]
    levels: Mapping[str, int]


async def request_broker_features(client: Any) -> BrokerFeatures | None:
    """What the brokers offer; None if they are too old to say so.

    Raises:
        KafkaError: there was no answer.
    """
    try:
        answer = await client.send_to_any_node(FeaturesRequest())
    except kafka.IncompatibleBrokerVersion:
        return None
    return BrokerFeatures({key: newest for key, _, newest in answer.api_keys}, answer.feature_levels)
