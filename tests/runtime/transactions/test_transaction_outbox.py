"""What a commit covers, and which sends it writes with it."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from evkafka.runtime.completed_offsets import OffsetRange
from evkafka.runtime.ports import OutgoingRecord
from evkafka.runtime.transaction_outbox import Coverage, Outbox


def sent(*names: str) -> list[OutgoingRecord]:
    return [OutgoingRecord("out", name.encode(), partition=0) for name in names]


def ranges(*pairs: tuple[int, int]) -> list[OffsetRange]:
    return [OffsetRange(*pair) for pair in pairs]


def at_most(count: int) -> Callable[[Coverage], bool]:
    """A text has room for so many ranges."""
    return lambda coverage: len(coverage.ranges) <= count


def names(outbox: Outbox, coverage: Coverage) -> list[str]:
    return [(one.value or b"").decode() for some in outbox.covered_by(coverage) for one in some.records]


class TestCoveredBy:
    def test_has_what_lies_before_the_base_or_is_listed_in_the_order_of_the_ends(self) -> None:
        outbox = Outbox()
        outbox.add((7,), sent("7a", "7b"))
        outbox.add((1,), sent("1"))
        outbox.add((9,), sent("9"))
        assert names(outbox, Coverage(2, ranges((7, 8)))) == ["7a", "7b", "1"]

    def test_a_batch_is_covered_with_all_of_its_records(self) -> None:
        outbox = Outbox()
        outbox.add((1, 5), sent("batch"))
        assert names(outbox, Coverage(2)) == []
        assert names(outbox, Coverage(2, ranges((5, 6)))) == ["batch"]

    def test_what_was_written_is_not_written_again(self) -> None:
        outbox = Outbox()
        outbox.add((1,), sent("1"))
        coverage = Coverage(2)
        outbox.set_coverage_and_remove_written(coverage, outbox.covered_by(coverage))
        assert names(outbox, Coverage(9)) == []
        assert (len(outbox), outbox.size) == (0, 0)

    def test_a_partition_that_begins_again_does_not_write_what_was_written_meanwhile(self) -> None:
        before, after = Outbox(), Outbox()
        before.add((1,), sent("1"))
        before.add((8,), sent("8"))
        in_flight = before.covered_by(Coverage(2))
        after.inherit_sends_of_earlier_outbox(before.unwritten())
        before.set_coverage_and_remove_written(Coverage(2), in_flight)
        assert names(after, Coverage(0)) == ["8"]


class TestFitting:
    def test_all_is_covered_if_there_is_room(self) -> None:
        finished = Coverage(3, ranges((5, 6), (8, 9)))
        assert Outbox().largest_fitting_coverage(finished, at_most(2)) == finished

    def test_what_was_covered_stays_so_even_if_it_lies_behind_what_does_not_fit(self) -> None:
        outbox = Outbox()
        outbox.covered = Coverage(0, ranges((50, 60)))
        coverage = outbox.largest_fitting_coverage(Coverage(2, ranges((5, 6), (8, 9), (50, 60))), at_most(1))
        assert coverage == Coverage(2, ranges((50, 60)))

    def test_nothing_is_committed_if_what_was_covered_would_not_fit(self) -> None:
        outbox = Outbox()
        outbox.covered = Coverage(0, ranges((5, 6), (50, 60)))
        assert outbox.largest_fitting_coverage(Coverage(0, ranges((5, 6), (8, 9), (50, 60))), at_most(1)) is None

    def test_a_batch_that_does_not_fit_holds_the_base_back(self) -> None:
        outbox = Outbox()
        outbox.covered = Coverage(0)
        outbox.add((3, 7), sent("batch"))
        assert outbox.largest_fitting_coverage(Coverage(5, ranges((7, 8))), at_most(0)) == Coverage(3, [])

    @given(st.data())
    def test_in_any_order_of_ends_nothing_is_written_twice_or_by_half(self, data: st.DataObject) -> None:
        """After each commit: it covers what the one before covered; its sends are those of the records that it covers
        and the ones before did not; a batch is covered as a whole."""
        count, room = 12, data.draw(st.integers(0, 3))
        offsets = data.draw(st.permutations(range(count)))
        outbox, finished, written, before = Outbox(), set[int](), list[tuple[int, ...]](), set[int]()
        groups: dict[str, tuple[int, ...]] = {}
        while offsets:
            size = data.draw(st.integers(1, 3))
            group, offsets = tuple(sorted(offsets[:size])), offsets[size:]
            finished |= set(group)
            groups[str(group)] = group
            outbox.add(group, sent(str(group)))
            coverage = outbox.largest_fitting_coverage(_coverage(finished), at_most(room))
            if coverage is None:
                continue
            some = outbox.covered_by(coverage)
            covered = {offset for offset in range(count) if coverage.covers(offset)}
            assert before <= covered <= finished
            assert all(covered.issuperset(one) or covered.isdisjoint(one) for one in groups.values())
            now = [groups[(one.value or b"").decode()] for each in some for one in each.records]
            assert {offset for one in now for offset in one} == covered - before
            written += now
            outbox.set_coverage_and_remove_written(coverage, some)
            before = covered
        assert len(written) == len(set(written))
        assert outbox.largest_fitting_coverage(_coverage(finished), at_most(0)) is not None


def _coverage(finished: set[int]) -> Coverage:
    base = next(offset for offset in range(100) if offset not in finished)
    found: list[OffsetRange] = []
    for offset in sorted(one for one in finished if one > base):
        if found and found[-1].end == offset:
            found[-1] = OffsetRange(found[-1].start, offset + 1)
        else:
            found.append(OffsetRange(offset, offset + 1))
    return Coverage(base, found)
