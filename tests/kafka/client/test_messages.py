"""Our requests and answers have the fields that Kafka's own files give them, and decode nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from aiokafka import errors as kafka
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Int64, Schema, String
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evkafka.kafka.client import (
    api_versions_protocol,
    group_protocol,
    offset_protocol,
    protocol,
    transaction_protocol,
)
from evkafka.kafka.client.codec import FlexibleResponse, Items, NullableFields, Text, Uuid
from tests.support.kafka_messages import Field, Message, decode, encode, message, values, varint

pytestmark = pytest.mark.kafka  # it downloads the jar that has the files

KINDS = {Int8: "int8", Int16: "int16", Int32: "int32", Int64: "int64", Boolean: "bool", Uuid: "uuid"}

NAMES = {
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    12: "Heartbeat",
    18: "ApiVersions",
    19: "CreateTopics",
    22: "InitProducerId",
    23: "OffsetForLeaderEpoch",
    28: "TxnOffsetCommit",
    68: "ConsumerGroupHeartbeat",
    69: "ConsumerGroupDescribe",
}

FEW = settings(max_examples=15, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def structs() -> Iterator[type[RequestStruct]]:
    """The requests that the package defines, one class for each version."""
    for module in (protocol, group_protocol, offset_protocol, api_versions_protocol, transaction_protocol):
        for one in vars(module).values():
            if isinstance(one, type) and issubclass(one, RequestStruct) and one.__module__ == module.__name__:
                yield one


OF_THE_GROUP_PROTOCOL = (group_protocol.__name__, offset_protocol.__name__)
REQUESTS = [pytest.param(one, id=one.__name__) for one in structs()]
FLEXIBLE = [pytest.param(one, id=one.__name__) for one in structs() if one.FLEXIBLE_VERSION]


def described_request(struct: type[RequestStruct]) -> Message:
    return message(f"{NAMES[struct.API_KEY]}Request", struct.API_VERSION)


def described_answer(struct: type[RequestStruct]) -> Message:
    return message(f"{NAMES[struct.API_KEY]}Response", struct.API_VERSION)


def shape(schema: Schema, *, flexible: bool) -> tuple[Any, ...]:
    """The fields of our schema, as `described_shape` gives Kafka's. Old encodings do not say what may be null."""
    fields = [one for one in schema.fields if one is not api_versions_protocol._FeatureLevels]
    return tuple(shape_of(one, flexible=flexible) for one in fields)


def shape_of(kind: Any, *, flexible: bool) -> Any:
    match kind:
        case Items() | Text() if flexible:
            nullable = kind.nullable
        case NullableFields():
            nullable = True
        case _:
            nullable = None if isinstance(kind, Array | String) else False
    match kind:
        case Array():
            return "array", shape_of(kind.array_of, flexible=flexible), nullable
        case String():
            return "string", nullable
        case Schema():
            return shape(kind, flexible=flexible), nullable
        case _:
            return KINDS[kind], nullable


def described_shape(fields: tuple[Field, ...], *, flexible: bool) -> tuple[Any, ...]:
    return tuple(described_shape_of(one, flexible=flexible) for one in fields)


def described_shape_of(field: Field, *, flexible: bool) -> Any:
    nullable = field.nullable if flexible else None
    if field.is_array:
        element = described_shape_of(Field("", field.kind, is_array=False, nullable=False), flexible=flexible)
        return "array", element, nullable
    if field.kind == "string":
        return "string", nullable
    if not flexible and len(field.kind) == 1:  # a struct of one field: the same bytes
        return described_shape_of(field.kind[0], flexible=flexible)
    kind = field.kind if isinstance(field.kind, str) else described_shape(field.kind, flexible=flexible)
    return kind, field.nullable


class TestEveryRequest:
    @pytest.mark.parametrize("struct", REQUESTS)
    def test_has_the_fields_of_kafkas_own_file(self, struct: type[RequestStruct]) -> None:
        described, flexible = described_request(struct), struct.FLEXIBLE_VERSION

        assert flexible == described.is_flexible
        assert shape(struct.SCHEMA, flexible=flexible) == described_shape(described.fields, flexible=flexible)

    @pytest.mark.parametrize("struct", REQUESTS)
    def test_has_an_answer_with_the_fields_of_kafkas_own_file(self, struct: type[RequestStruct]) -> None:
        described, flexible = described_answer(struct), struct.FLEXIBLE_VERSION

        ours = shape(struct.RESPONSE_TYPE.SCHEMA, flexible=flexible)

        assert (struct.RESPONSE_TYPE.API_KEY, struct.RESPONSE_TYPE.API_VERSION) == (struct.API_KEY, struct.API_VERSION)
        assert ours == described_shape(described.fields, flexible=flexible)

    @pytest.mark.parametrize("struct", [one for one in FLEXIBLE if one.values[0].__module__ in OF_THE_GROUP_PROTOCOL])
    def test_of_the_group_protocol_names_its_fields_as_kafka_does(self, struct: Any) -> None:
        assert struct.SCHEMA.names == tuple(one.name for one in described_request(struct).fields)
        assert struct.RESPONSE_TYPE.SCHEMA.names == tuple(one.name for one in described_answer(struct).fields)


@pytest.mark.parametrize("struct", FLEXIBLE)
class TestFlexibleEncoding:
    @FEW
    @given(data=st.data())
    def test_of_a_request_is_read_back_by_another_decoder(
        self, struct: type[RequestStruct], data: st.DataObject
    ) -> None:
        fields = described_request(struct).fields
        given_values = data.draw(values(fields))

        assert decode(fields, struct(*given_values).encode()) == given_values

    @FEW
    @given(data=st.data(), tags=st.dictionaries(st.integers(100, 300), st.binary(max_size=5), max_size=3))
    def test_of_an_answer_is_decoded_whatever_tagged_fields_it_has(
        self, struct: type[RequestStruct], data: st.DataObject, tags: dict[int, bytes]
    ) -> None:
        fields = described_answer(struct).fields
        given_values = data.draw(answers(struct))

        answer: Any = struct.RESPONSE_TYPE.decode(encode(fields, given_values, tags))

        names = struct.RESPONSE_TYPE.SCHEMA.names[: len(fields)]
        assert tuple(getattr(answer, name) for name in names) == given_values

    @FEW
    @given(data=st.data())
    def test_of_a_truncated_answer_is_one_kind_of_error(self, struct: type[RequestStruct], data: st.DataObject) -> None:
        whole = encode(described_answer(struct).fields, data.draw(answers(struct)), {200: b"abc"})
        end = data.draw(st.integers(0, len(whole) - 1))

        with pytest.raises(kafka.KafkaProtocolError, match="is malformed"):
            struct.RESPONSE_TYPE.decode(whole[:end])

    @FEW
    @given(data=st.data(), noise=st.binary(min_size=1, max_size=40))
    def test_of_a_damaged_answer_is_one_kind_of_error_or_other_values(
        self, struct: type[RequestStruct], data: st.DataObject, noise: bytes
    ) -> None:
        whole = encode(described_answer(struct).fields, data.draw(answers(struct)), {})
        at = data.draw(st.integers(0, len(whole) - 1))
        with suppress(kafka.KafkaProtocolError):  # any other error fails the test
            struct.RESPONSE_TYPE.decode(whole[:at] + noise + whole[at + len(noise) :])


def answers(struct: type[RequestStruct]) -> st.SearchStrategy[Any]:
    """Values of this request's answer, as a broker may send it."""
    fields = described_answer(struct).fields
    if struct is not offset_protocol.OffsetFetchRequest_v9:
        return values(fields)
    [throttle, groups] = fields
    return st.tuples(values([throttle]), values(groups.kind)).map(lambda drawn: (*drawn[0], [drawn[1]]))


class TestTheCodec:
    @pytest.mark.parametrize("length", [100, 2**31, 2**32 - 1])
    def test_believes_no_length_that_the_answer_is_too_short_for(self, length: int) -> None:
        with pytest.raises(kafka.KafkaProtocolError, match="elements in 1 bytes"):
            group_protocol.ConsumerGroupDescribeResponse_v1.decode(bytes(4) + varint(length) + b"\x00")

    def test_refuses_null_in_a_field_that_has_none(self) -> None:
        request = group_protocol.ConsumerGroupHeartbeatRequest_v1(None, "m", 0, None, None, 0, None, None, None, None)

        with pytest.raises(ValueError, match="null"):
            request.encode()

    def test_refuses_an_answer_for_several_groups_to_a_request_for_one(self) -> None:
        with pytest.raises(kafka.KafkaProtocolError, match="2 groups"):
            offset_protocol.OffsetFetchResponse_v9.decode(bytes(4) + varint(3) + b"\x02g\x01\x00\x00\x00" * 2 + b"\x00")

    def test_writes_tagged_fields_with_their_sizes_in_order(self) -> None:
        encoded = api_versions_protocol.TaggedFields.encode({2: b"ab", 0: b""})

        assert encoded == b"\x02\x00\x00\x02\x02ab"
        assert issubclass(api_versions_protocol.ApiVersionsResponse_v3, FlexibleResponse)


class TestVersions:
    HEARTBEAT = group_protocol.ConsumerGroupHeartbeatRequest("g", "m", group_protocol.JOIN)
    ROWS = ("orders", [(0, 5, -1, "")])

    def commit(self, **topic_ids: uuid.UUID) -> offset_protocol.MemberCommitRequest:
        member = offset_protocol.MemberIdentity("g", 1, "m")
        return offset_protocol.MemberCommitRequest(member, [self.ROWS], topic_ids)

    @pytest.mark.parametrize(("offered", "version"), [((0, 0), 0), ((0, 1), 1), ((0, 9), 1), ((1, 2), 1)])
    def test_the_newest_of_both_sides_is_sent(self, offered: tuple[int, int], version: int) -> None:
        assert version == self.HEARTBEAT.prepare({68: offered}).API_VERSION

    @pytest.mark.parametrize("versions", [{}, {68: (2, 3)}])
    def test_a_broker_without_the_protocol_is_an_error_that_names_its_age(
        self, versions: dict[int, tuple[int, int]]
    ) -> None:
        with pytest.raises(kafka.IncompatibleBrokerVersion, match=r"needs Kafka 4\.0.*group_protocol to 'classic'"):
            self.HEARTBEAT.prepare(versions)

    def test_a_regular_expression_needs_the_second_version(self) -> None:
        changes = group_protocol.MemberChanges(topic_regex="a.*")
        request = group_protocol.ConsumerGroupHeartbeatRequest("g", "m", group_protocol.JOIN, changes)

        assert request.prepare({68: (0, 1)}).subscribed_topic_regex == "a.*"
        with pytest.raises(kafka.IncompatibleBrokerVersion, match="regular expression"):
            request.prepare({68: (0, 0)})

    def test_a_commit_names_topics_by_id_where_both_sides_can(self) -> None:
        orders = uuid.uuid4()

        assert self.commit(orders=orders).prepare({8: (2, 10)}).topics == [(orders, [(0, 5, -1, "")])]
        assert self.commit(orders=orders).prepare({8: (2, 9)}).topics == [self.ROWS]
        assert self.commit().prepare({8: (2, 10)}).API_VERSION == 9
