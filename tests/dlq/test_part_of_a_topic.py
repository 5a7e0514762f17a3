"""Reading only a part of a dead-letter topic."""

from __future__ import annotations

from evkafka.dlq import DeadLetterFilter, DeadLetterPosition, Target, drop_dead_letters, replay_dead_letters
from evkafka.dlq.dead_letter import ranges_covering
from tests.support.dead_letters import Given


class TestAPart:
    async def test_is_read_as_far_as_it_exists(self, given: Given) -> None:
        for offset in range(6):
            await given.write(offset)
        assert await given.open(DeadLetterFilter(within={0: range(2, 4)})) == [2, 3]
        assert await given.open(DeadLetterFilter(within={0: range(4, 99), 7: range(9)})) == [4, 5]
        assert await given.open(DeadLetterFilter(within={})) == []
        assert await given.open(DeadLetterFilter(positions=[DeadLetterPosition(0, 1), DeadLetterPosition(0, 3)])) == [
            1,
            3,
        ]

    async def test_is_replayed_and_dropped_alone(self, given: Given) -> None:
        for offset in range(6):
            await given.write(offset)
        replayed = await replay_dead_letters(given.dead_letters, Target(), DeadLetterFilter(within={0: range(2)}))
        dropped = await drop_dead_letters(given.dead_letters, DeadLetterFilter(within={0: range(3, 5)}))
        assert (replayed.done, dropped.done, await given.open()) == (2, 2, [2, 5])

    async def test_that_is_the_newest_has_its_share_of_each_partition(self, given: Given) -> None:
        for offset in range(6):
            await given.write(offset)
        assert await given.dead_letters.newest_ranges(10) == ({0: range(6)}, 0)
        assert await given.dead_letters.newest_ranges(4) == ({0: range(2, 6)}, 2)

    def test_around_positions_is_the_smallest_range_of_each_partition(self) -> None:
        assert ranges_covering([DeadLetterPosition(0, 5), DeadLetterPosition(1, 2), DeadLetterPosition(0, 3)]) == {
            0: range(3, 6),
            1: range(2, 3),
        }
