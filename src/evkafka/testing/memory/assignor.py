"""The brokers' "uniform" assignor: equal shares, and as few partitions as possible move."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

from evkafka.records import TopicPartition

M = TypeVar("M")


def assign_uniformly(
    subscribed: Mapping[M, Collection[TopicPartition]], current: Mapping[M, Collection[TopicPartition]]
) -> dict[M, set[TopicPartition]]:
    """The new assignment.

    Args:
        subscribed: member -> the partitions of the topics that it subscribes to. Among equals, the first member comes
            first.
        current: member -> what it has, or was to have.
    """
    target: dict[M, set[TopicPartition]] = {
        member: set(current.get(member, ())) & set(wanted) for member, wanted in subscribed.items()
    }
    taken = {tp for share in target.values() for tp in share}
    for tp in sorted({tp for wanted in subscribed.values() for tp in wanted} - taken):
        takers = [member for member, wanted in subscribed.items() if tp in wanted]
        target[min(takers, key=lambda member: len(target[member]))].add(tp)
    while (move := _next_move(subscribed, target)) is not None:
        giver, taker, tp = move
        target[giver].remove(tp)
        target[taker].add(tp)
    return target


def _next_move(
    subscribed: Mapping[M, Collection[TopicPartition]], target: Mapping[M, set[TopicPartition]]
) -> tuple[M, M, TopicPartition] | None:
    """A partition whose move makes the shares more equal: of the fullest member that has one, to the emptiest."""
    for giver in sorted(target, key=lambda member: -len(target[member])):
        for taker in sorted(target, key=lambda member: len(target[member])):
            movable = target[giver] & set(subscribed[taker])
            if movable and len(target[giver]) - len(target[taker]) > 1:
                return giver, taker, max(movable)
    return None
