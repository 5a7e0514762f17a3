"""Requests of the consumer group protocol (KIP-848), which aiokafka does not have."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

from aiokafka import errors as kafka
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.types import Boolean, Int8, Int16, Int32

from evkafka.kafka.client.codec import Fields, FlexibleResponse, Items, NullableFields, Text, Uuid

TEXT, TEXT_OR_NULL = Text(), Text(nullable=True)

JOIN, LEAVE, LEAVE_AND_RETURN = 0, -1, -2
"""Member epochs with a meaning of their own: join the group, leave it, leave it as a static member that comes back."""

R = TypeVar("R", bound=RequestStruct)


class OfferedRequest(Request[R]):
    """A request that old brokers do not have: an error says what it needs (aiokafka-defects.md#missing-requests)."""

    API_KEY = -1
    NEEDS: ClassVar[str]

    def prepare(self, versions: dict[int, tuple[int, int]]) -> R:
        """The newest version that both sides have.

        Raises:
            IncompatibleBrokerVersion: there is none.
        """
        least, most = versions.get(self.API_KEY, (0, -1))
        if not any(least <= one.API_VERSION <= most for one in self._CLASSES):
            name = type(self).__name__.removesuffix("Request")
            raise kafka.IncompatibleBrokerVersion(f"the broker does not offer {name}: {self.NEEDS}")
        prepared: R = super().prepare(versions)
        return prepared


# ---------------------------------------------------------------------------- heartbeats


@dataclass(frozen=True, slots=True)
class MemberChanges:
    """What a heartbeat tells the coordinator about the member. None: as in the heartbeat before.

    Attributes:
        topics: names of the topics that the member subscribes to.
        topic_regex: a regular expression of RE2 syntax, matched by the brokers.
        assignor: the brokers' assignor, `uniform` or `range`.
        owned: topic id -> partitions that the member has at this moment.
    """

    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int | None = None
    topics: Collection[str] | None = None
    topic_regex: str | None = None
    assignor: str | None = None
    owned: Mapping[uuid.UUID, Collection[int]] | None = None


UNCHANGED = MemberChanges()


def _topic_partitions_field(*, nullable: bool) -> tuple[str, Items]:
    partitions = ("topic_id", Uuid), ("partitions", Items(Int32))
    return "topic_partitions", Items(*partitions, nullable=nullable)


def _heartbeat_fields(version: int) -> Fields:
    return Fields(
        ("group_id", TEXT),
        ("member_id", TEXT),
        ("member_epoch", Int32),
        ("instance_id", TEXT_OR_NULL),
        ("rack_id", TEXT_OR_NULL),
        ("rebalance_timeout_ms", Int32),
        ("subscribed_topic_names", Items(TEXT, nullable=True)),
        *([("subscribed_topic_regex", TEXT_OR_NULL)] if version >= 1 else []),
        ("server_assignor", TEXT_OR_NULL),
        _topic_partitions_field(nullable=True),
    )


class ConsumerGroupHeartbeatResponse_v0(FlexibleResponse):
    """The coordinator's answer.

    Attributes:
        error_code, error_message: 0 and None without an error.
        member_id, member_epoch: the member's; the epoch goes into its next requests.
        heartbeat_interval_ms: when to send the next heartbeat.
    """

    API_KEY = 68
    API_VERSION = 0
    SCHEMA = Fields(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", TEXT_OR_NULL),
        ("member_id", TEXT_OR_NULL),
        ("member_epoch", Int32),
        ("heartbeat_interval_ms", Int32),
        ("assignment", NullableFields(_topic_partitions_field(nullable=False))),
    )
    assignment: Any

    @property
    def assigned(self) -> Mapping[uuid.UUID, frozenset[int]] | None:
        """All partitions that the member may have now, by topic id; None: as in the answer before."""
        if self.assignment is None:
            return None
        [topics] = self.assignment
        return {topic_id: frozenset(partitions) for topic_id, partitions in topics}


class ConsumerGroupHeartbeatResponse_v1(ConsumerGroupHeartbeatResponse_v0):
    API_VERSION = 1


class ConsumerGroupHeartbeatRequest_v0(RequestStruct):
    API_KEY = 68
    API_VERSION = 0
    RESPONSE_TYPE = ConsumerGroupHeartbeatResponse_v0
    FLEXIBLE_VERSION = True
    SCHEMA = _heartbeat_fields(version=0)


class ConsumerGroupHeartbeatRequest_v1(RequestStruct):
    API_KEY = 68
    API_VERSION = 1
    RESPONSE_TYPE = ConsumerGroupHeartbeatResponse_v1
    FLEXIBLE_VERSION = True
    SCHEMA = _heartbeat_fields(version=1)


class ConsumerGroupHeartbeatRequest(
    OfferedRequest[ConsumerGroupHeartbeatRequest_v0 | ConsumerGroupHeartbeatRequest_v1]
):
    """Joins a group, stays in it, reports what the member has, and leaves.

    Args:
        member_id: chosen by the member itself, and kept for as long as its process lives.
        member_epoch: of the last answer, or `JOIN`, `LEAVE`, `LEAVE_AND_RETURN`.
    """

    API_KEY = 68
    NEEDS = "the consumer group protocol needs Kafka 4.0 or newer; set group_protocol to 'classic' or 'auto'"

    def __init__(self, group_id: str, member_id: str, member_epoch: int, changes: MemberChanges = UNCHANGED) -> None:
        self._member = (group_id, member_id, member_epoch)
        self._changes = changes

    def build(self, request_struct_class: Any) -> Any:
        changes = self._changes
        regex = (changes.topic_regex,) if request_struct_class.API_VERSION >= 1 else ()
        if changes.topic_regex is not None and not regex:
            raise kafka.IncompatibleBrokerVersion("the broker does not offer subscriptions by regular expression")
        timeout_ms, topics, owned = changes.rebalance_timeout_ms, changes.topics, changes.owned
        return request_struct_class(
            *self._member,
            changes.instance_id,
            changes.rack_id,
            -1 if timeout_ms is None else timeout_ms,
            None if topics is None else sorted(topics),
            *regex,
            changes.assignor,
            None if owned is None else [(topic_id, sorted(partitions)) for topic_id, partitions in owned.items()],
        )


# ---------------------------------------------------------------------------- descriptions


class DescribedMember(NamedTuple):
    """One member of a described group.

    Attributes:
        epoch: the assignment that the member has confirmed.
        assigned, target: topic -> partitions: those it has, and those it will have.
        is_classic: whether it joined with the classic protocol; None if the broker does not say (before 4.0).
    """

    member_id: str
    instance_id: str | None
    epoch: int
    client_id: str
    host: str
    assigned: Mapping[str, frozenset[int]]
    target: Mapping[str, frozenset[int]]
    is_classic: bool | None


class DescribedGroup(NamedTuple):
    """A described group. Only the first three fields are set if there is an error.

    Attributes:
        state: `Empty`, `Assigning`, `Reconciling`, `Stable` or `Dead`.
        epoch: increases with every change of members or subscriptions.
        assignment_epoch: the group epoch that the current target assignment was computed for.
    """

    error_code: int
    error_message: str | None
    group_id: str
    state: str
    epoch: int
    assignment_epoch: int
    assignor: str
    members: tuple[DescribedMember, ...]


def _response_fields(version: int) -> Fields:
    partitions = ("topic_id", Uuid), ("topic_name", TEXT), ("partitions", Items(Int32))
    assignment = Fields(("topic_partitions", Items(*partitions)))
    member = [
        ("member_id", TEXT),
        ("instance_id", TEXT_OR_NULL),
        ("rack_id", TEXT_OR_NULL),
        ("member_epoch", Int32),
        ("client_id", TEXT),
        ("client_host", TEXT),
        ("subscribed_topic_names", Items(TEXT)),
        ("subscribed_topic_regex", TEXT_OR_NULL),
        ("assignment", assignment),
        ("target_assignment", assignment),
        *([("member_type", Int8)] if version >= 1 else []),
    ]
    group = [
        ("error_code", Int16),
        ("error_message", TEXT_OR_NULL),
        ("group_id", TEXT),
        ("group_state", TEXT),
        ("group_epoch", Int32),
        ("assignment_epoch", Int32),
        ("assignor_name", TEXT),
        ("members", Items(*member)),
        ("authorized_operations", Int32),
    ]
    return Fields(("throttle_time_ms", Int32), ("groups", Items(*group)))


class ConsumerGroupDescribeResponse_v0(FlexibleResponse):
    API_KEY = 69
    API_VERSION = 0
    SCHEMA = _response_fields(version=0)
    groups: list[Any]

    @property
    def described(self) -> Iterator[DescribedGroup]:
        for code, message, group_id, state, epoch, assignment_epoch, assignor, members, _ in self.groups:
            described = tuple(map(_read_member, members))
            yield DescribedGroup(code, message, group_id, state, epoch, assignment_epoch, assignor, described)


def _read_member(row: tuple[Any, ...]) -> DescribedMember:
    member_id, instance_id, _, epoch, client_id, host, _, _, assigned, target, *kind = row
    is_classic = kind[0] == 0 if kind and kind[0] >= 0 else None
    return DescribedMember(
        member_id,
        instance_id,
        epoch,
        client_id,
        host,
        _partitions_by_topic_of_assignment(assigned),
        _partitions_by_topic_of_assignment(target),
        is_classic,
    )


def _partitions_by_topic_of_assignment(assignment: tuple[Any, ...]) -> Mapping[str, frozenset[int]]:
    [topics] = assignment
    return {topic: frozenset(partitions) for _, topic, partitions in topics}


class ConsumerGroupDescribeResponse_v1(ConsumerGroupDescribeResponse_v0):
    API_VERSION = 1
    SCHEMA = _response_fields(version=1)


class ConsumerGroupDescribeRequest_v0(RequestStruct):
    API_KEY = 69
    API_VERSION = 0
    RESPONSE_TYPE = ConsumerGroupDescribeResponse_v0
    FLEXIBLE_VERSION = True
    SCHEMA = Fields(("group_ids", Items(TEXT)), ("include_authorized_operations", Boolean))


class ConsumerGroupDescribeRequest_v1(RequestStruct):
    API_KEY = 69
    API_VERSION = 1
    RESPONSE_TYPE = ConsumerGroupDescribeResponse_v1
    FLEXIBLE_VERSION = True
    SCHEMA = ConsumerGroupDescribeRequest_v0.SCHEMA


class ConsumerGroupDescribeRequest(OfferedRequest[ConsumerGroupDescribeRequest_v0 | ConsumerGroupDescribeRequest_v1]):
    """Describes groups of the consumer protocol. A group of another kind, or none, is GROUP_ID_NOT_FOUND."""

    API_KEY = 69
    NEEDS = ConsumerGroupHeartbeatRequest.NEEDS

    def __init__(self, group_ids: Collection[str]) -> None:
        self._group_ids = group_ids

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(list(self._group_ids), False)
