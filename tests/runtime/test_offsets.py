"""The ledger, by table and as a state machine: no loop, no Kafka."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from evkafka.runtime.completed_offsets import OffsetRange
from evkafka.runtime.offsets import OffsetLedger


class TestCommittable:
    def test_is_unknown_before_the_first_position(self) -> None:
        assert OffsetLedger().committable() is None

    def test_is_the_position_of_an_idle_partition(self) -> None:
        ledger = OffsetLedger()
        ledger.set_read_position(7)
        assert ledger.committable() == 7

    def test_is_one_past_the_last_record_finished_in_order(self) -> None:
        ledger = OffsetLedger(5)
        ledger.add_open_offsets([5, 6, 7])
        ledger.finish(5)
        ledger.finish(6)
        assert ledger.committable() == 7

    def test_does_not_pass_an_unfinished_record(self) -> None:
        ledger = OffsetLedger(5)
        ledger.add_open_offsets([5, 6, 7])
        ledger.finish(6)
        ledger.finish(7)
        assert ledger.committable() == 5

    def test_passes_records_finished_early_once_the_oldest_is_finished(self) -> None:
        ledger = OffsetLedger(5)
        ledger.add_open_offsets([5, 6, 7, 8])
        for offset in (6, 7, 5):
            ledger.finish(offset)
        assert ledger.committable() == 8

    def test_does_not_wait_for_offsets_without_a_record(self) -> None:
        ledger = OffsetLedger(0)
        ledger.add_open_offsets([3, 10, 11])
        ledger.finish(3)
        assert ledger.committable() == 4
        ledger.finish(10)
        assert ledger.committable() == 11

    def test_passes_a_transaction_marker_once_nothing_is_open(self) -> None:
        ledger = OffsetLedger(0)
        ledger.add_open_offsets([0, 1])
        ledger.set_read_position(3)  # 2 is a marker
        ledger.finish(0)
        assert ledger.committable() == 1
        ledger.finish(1)
        assert ledger.committable() == 3

    def test_stays_past_a_transaction_marker_when_the_next_record_begins(self) -> None:
        ledger = OffsetLedger(0)
        ledger.add_open_offsets([0])
        ledger.finish(0)
        ledger.set_read_position(2)
        assert ledger.committable() == 2
        ledger.add_open_offsets([3])
        assert ledger.committable() == 2

    def test_ignores_a_position_before_the_records_that_were_begun(self) -> None:
        ledger = OffsetLedger()
        ledger.add_open_offsets([4, 5])
        ledger.set_read_position(4)
        ledger.finish(4)
        ledger.finish(5)
        assert ledger.committable() == 6


class TestBegin:
    def test_refuses_an_offset_that_is_begun_twice(self) -> None:
        ledger = OffsetLedger()
        ledger.add_open_offsets([4, 5])
        with pytest.raises(ValueError, match="offset 5 was added after 5"):
            ledger.add_open_offsets([5, 6])

    def test_counts_the_unfinished_records(self) -> None:
        ledger = OffsetLedger()
        ledger.add_open_offsets([0, 1, 2, 3])
        ledger.finish(2)
        assert (ledger.unfinished_count, ledger.oldest) == (3, 0)
        ledger.finish(0)
        assert (ledger.unfinished_count, ledger.oldest) == (2, 1)


class TestFailedAttempts:
    def test_at_a_record_are_forgotten_when_it_is_finished(self) -> None:
        ledger = OffsetLedger(0)
        ledger.add_open_offsets([0, 1, 2])
        ledger.failed_attempts.update({0: 1, 1: 2, 2: 3})
        ledger.finish(1)
        assert ledger.failed_attempts == {0: 1, 2: 3}
        ledger.finish(0)
        assert ledger.failed_attempts == {2: 3}

    def test_from_an_offset_on_are_forgotten_with_what_is_finished_there(self) -> None:
        ledger = OffsetLedger(0)
        ledger.inherit_finished([OffsetRange(1, 3), OffsetRange(4, 6)])
        ledger.failed_attempts.update({0: 1, 3: 2, 6: 3})
        ledger.forget_inherited_at_or_after(3)
        assert ledger.failed_attempts == {0: 1}
        assert [offset for offset in range(7) if ledger.is_inherited(offset)] == [1, 2]


class TestSeal:
    def test_refuses_records_that_finish_too_late(self) -> None:
        ledger = OffsetLedger()
        ledger.add_open_offsets([0, 1])
        ledger.finish(0)
        ledger.seal()
        assert ledger.finish(1) is False
        assert ledger.committable() is None

    def test_begins_no_more_records(self) -> None:
        ledger = OffsetLedger()
        ledger.seal()
        ledger.add_open_offsets([0])
        ledger.set_read_position(9)
        assert (ledger.unfinished_count, ledger.committable()) == (0, None)


class LedgerMachine(RuleBasedStateMachine):
    """Any order of reading (with gaps), finishing and standing still, held against a model that remembers all."""

    unfinished = Bundle("unfinished")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = OffsetLedger(0)
        self.open: set[int] = set()
        self.read: list[int] = []
        self.position = 0
        self.last_committable = 0

    @rule(target=unfinished, gaps=st.lists(st.integers(0, 4), min_size=1, max_size=8), marker=st.integers(0, 2))
    def read_a_batch(self, gaps: list[int], marker: int) -> object:
        offsets = []
        at = self.position
        for gap in gaps:
            offsets.append(at + gap)
            at += gap + 1
        self.ledger.add_open_offsets(offsets)
        self.position = at + marker
        self.ledger.set_read_position(self.position)
        self.open.update(offsets)
        self.read.extend(offsets)
        return offsets[0]

    @rule(data=st.data())
    @precondition(lambda self: self.open)
    def finish_any(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.open)))
        assert self.ledger.finish(offset)
        self.open.remove(offset)

    @rule(data=st.data())
    @precondition(lambda self: self.open)
    def fail_any(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.open)))
        self.ledger.failed_attempts[offset] = self.ledger.failed_attempts.get(offset, 0) + 1

    @rule(offset=consumes(unfinished))
    def finish_the_first_of_a_batch(self, offset: int) -> None:
        if offset in self.open:
            assert self.ledger.finish(offset)
            self.open.remove(offset)

    @invariant()
    def never_passes_an_unfinished_record(self) -> None:
        committable = self.ledger.committable()
        assert committable is not None
        assert not any(offset < committable for offset in self.open)

    @invariant()
    def has_everything_committable_once_nothing_is_open(self) -> None:
        if not self.open:
            assert self.ledger.committable() == self.position

    @invariant()
    def passes_every_finished_record_before_the_oldest_open_one(self) -> None:
        if self.open:
            oldest = min(self.open)
            finished = [offset for offset in self.read if offset < oldest]
            if finished:
                committable = self.ledger.committable()
                assert committable is not None
                assert committable > max(finished)

    @invariant()
    def never_goes_back(self) -> None:
        committable = self.ledger.committable()
        assert committable is not None
        assert committable >= self.last_committable
        self.last_committable = committable

    @invariant()
    def counts_the_attempts_of_open_records_alone(self) -> None:
        assert self.ledger.failed_attempts.keys() <= self.open

    @invariant()
    def counts_the_open_records(self) -> None:
        assert self.ledger.unfinished_count == len(self.open)

    @invariant()
    def finished_ranges_hold_every_record_finished_early_and_no_open_one(self) -> None:
        base = self.ledger.committable()
        assert base is not None
        ranges = self.ledger.finished_ranges_from(base)
        early = {offset for offset in self.read if offset >= base} - self.open
        inside = {offset for offset in self.read if any(start <= offset < end for start, end in ranges)}
        assert inside == early
        assert all(before.end < after.start for before, after in pairwise(ranges))


TestLedgerMachine = LedgerMachine.TestCase
