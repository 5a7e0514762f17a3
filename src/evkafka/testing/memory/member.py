"""A group member, as its group uses it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from evkafka.records import TopicPartition


class Member(Protocol):
    """A group member; see `MemorySource`.

    Attributes:
        name: its name in the trace and in errors.
        order: partitions are assigned to members in this order.
        incremental: whether it speaks the consumer protocol.
        instance_id: of a static member that speaks it.
        alive: False once its process has crashed or it has left.
        awaits_session_expiry: True from a crash until the session has expired: the group still counts it as a member.
        left: True if it has left.
        generation: of its assignment, or its member epoch; -1 without one.
    """

    name: str
    order: int
    incremental: bool
    instance_id: str | None
    alive: bool
    awaits_session_expiry: bool
    left: bool
    generation: int

    def subscribed_topics(self) -> Collection[str]: ...
    async def revoke(self, partitions: Collection[TopicPartition] | None = None) -> None: ...
    async def assign(self, partitions: Collection[TopicPartition], generation: int) -> None: ...


def format_partitions(partitions: Collection[TopicPartition]) -> str:
    return ", ".join(f"{tp.topic}[{tp.partition}]" for tp in partitions) or "nothing"
