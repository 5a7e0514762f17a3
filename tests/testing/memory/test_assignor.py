"""The uniform assignor: equal shares, and as few moves as possible."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evkafka.records import TopicPartition
from evkafka.testing.memory.assignor import assign_uniformly


def partitions(topic: str, count: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(count)]


def sizes(assignment: Mapping[str, Collection[TopicPartition]]) -> list[int]:
    return sorted(len(share) for share in assignment.values())


class TestShares:
    @pytest.mark.parametrize(("count", "shares"), [(0, [0, 0, 0]), (2, [0, 1, 1]), (6, [2, 2, 2]), (7, [2, 2, 3])])
    def test_differ_by_one_at_most(self, count: int, shares: list[int]) -> None:
        assert sizes(assign_uniformly(dict.fromkeys("abc", partitions("t", count)), {})) == shares

    def test_contain_only_topics_that_the_member_subscribes_to(self) -> None:
        both, one = [*partitions("t", 2), *partitions("u", 2)], partitions("u", 2)
        assigned = assign_uniformly({"a": both, "b": one}, {})
        assert assigned == {"a": set(partitions("t", 2)), "b": set(one)}

    @given(
        count=st.integers(0, 12),
        before=st.sets(st.sampled_from("abcde"), min_size=1),
        after=st.sets(st.sampled_from("abcde"), min_size=1),
    )
    def test_move_no_more_partitions_than_they_must(self, count: int, before: set[str], after: set[str]) -> None:
        tps = partitions("t", count)
        current = assign_uniformly(dict.fromkeys(sorted(before), tps), {})
        target = assign_uniformly(dict.fromkeys(sorted(after), tps), current)
        assert sorted(tp for share in target.values() for tp in share) == tps
        assert not sizes(target) or sizes(target)[-1] - sizes(target)[0] <= 1
        most, with_most = divmod(count, len(after))
        # As many members as possible keep one partition more: those that had the most.
        kept = [len(current.get(member, ())) for member in after]
        may_stay = sum(min(had, most) for had in kept) + min(with_most, sum(had > most for had in kept))
        assert sum(len(target[member] & current.get(member, set())) for member in after) == may_stay
