"""The checker finds inserted faults, and none in a clean run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evkafka.verify.checker import check_run
from evkafka.verify.history import Entry
from evkafka.verify.observations import Output, Promises
from evkafka.verify.repeats import count_repeats_by_cause
from tests.verify import runs
from tests.verify.runs import (
    KEYS,
    PARTITIONS,
    address_of,
    attempt,
    handled,
    key_of,
    line,
    observations,
    sent,
    written,
)


class TestCleanRun:
    def test_has_no_problems(self) -> None:
        report = check_run(observations())
        assert report.problems == ()
        assert report.clean
        assert (report.sent, report.acknowledged, report.handled, report.repeats) == (40, 40, 40, 0)

    def test_may_handle_records_again(self) -> None:
        entries = handled(sent())
        report = check_run(observations(entries=[*entries, *entries[20:40]]))
        assert report.clean
        assert (report.repeats, report.repeats_percent) == (10, 25.0)

    def test_counts_what_was_handled_again_by_what_happened_to_the_process_before(self) -> None:
        def end(who: str, offset: int) -> Entry:
            return Entry("end", 0.0, who, 0, offset)

        killed = [end("0.0", 0), Entry("killed", 0.0, "0.0"), Entry("down", 0.0, "0.0"), end("0.1", 0)]
        frozen = [end("1.0", 1), Entry("frozen", 0.0, "1.0"), end("2.0", 1), Entry("thawed", 0.0, "1.0")]
        stopped = [end("3.0", 2), Entry("down", 0.0, "3.0"), end("3.1", 2)]
        moved = [end("4.0", 3), end("5.0", 3), end("5.0", 3), end("5.0", 4)]
        assert count_repeats_by_cause([*killed, *frozen, *stopped, *moved]) == {
            "after a kill": 1, "after a freeze": 1, "after a stop": 1, "otherwise": 2,
        }  # fmt: skip

    def test_is_not_one_in_which_nothing_was_handled(self) -> None:
        assert not check_run(observations(records=[], entries=[])).clean

    @given(st.permutations(range(runs.KEYS)), st.data())
    def test_may_handle_keys_in_any_order(self, keys: list[int], data: st.DataObject) -> None:
        # Each key's records in order; which key comes next is anybody's choice.
        waiting = {key: [one.number for one in sent() if one.number % runs.KEYS == key] for key in keys}
        entries: list[Entry] = []
        while any(waiting.values()):
            key = data.draw(st.sampled_from([key for key in keys if waiting[key]]))
            entries += attempt(waiting[key].pop(0), 5.0 + len(entries) / 100)
        assert check_run(observations(entries=entries)).problems == ()


class TestLoss:
    @given(st.sets(st.integers(0, 39), min_size=1, max_size=39))
    def test_each_record_that_was_never_handled_is_named(self, missing: set[int]) -> None:
        entries = [e for one in sent() if one.number not in missing for e in attempt(one.number, one.at_s + 0.02)]
        report = check_run(observations(entries=entries))
        assert report.lost == tuple(f"{p}@{o}" for p, o in sorted(map(address_of, missing)))
        assert not report.clean

    def test_a_killed_or_cancelled_attempt_has_not_handled_its_record(self) -> None:
        entries = [e for e in handled(sent()) if e.event == "begin" or (e.partition, e.offset) != address_of(7)]
        assert check_run(observations(entries=[*entries, line("cut", 7, 99.0)])).lost == ("1@3",)

    def test_an_unacknowledged_record_in_the_log_counts_too(self) -> None:
        records = sent()
        records[-1] = replace(records[-1], address=None, acknowledged_s=None, error="unknown")
        entries = handled(records)[:-2]
        assert check_run(observations(records=records, log=written(sent()), entries=entries)).lost == ("1@19",)

    def test_an_acknowledged_record_that_is_not_in_the_log_is_a_lost_write(self) -> None:
        log = written(sent())
        assert check_run(observations(log=log[:-1], entries=handled(sent()[:-1]))).lost_writes == (39,)

    def test_an_offset_short_of_the_end_is_named(self) -> None:
        report = check_run(observations(committed={0: 20, 1: 18}))
        assert report.behind == ("1: 18 of 20",)
        assert not report.clean

    def test_an_offset_past_what_is_there_is_named(self) -> None:
        assert check_run(observations(committed={0: 20, 1: 21})).behind == ("1: 21 of 20",)


class TestOrder:
    @given(st.integers(0, 39 - runs.KEYS))
    def test_a_record_handled_for_the_first_time_after_a_later_one_of_its_key(self, number: int) -> None:
        others = [e for one in sent() if one.number != number for e in attempt(one.number, one.at_s + 0.02)]
        report = check_run(observations(entries=[*others, *attempt(number, 10.0)]))
        assert report.out_of_order is not None
        assert len(report.out_of_order) == 1
        assert report.out_of_order[0].startswith("{}@{} after".format(*address_of(number)))
        assert not report.clean

    def test_a_repeat_after_later_records_is_in_order(self) -> None:
        assert check_run(observations(entries=[*handled(sent()), *attempt(0, 50.0)])).out_of_order == ()

    def test_is_not_checked_for_an_app_that_does_not_promise_it(self) -> None:
        entries = [e for one in reversed(sent()) for e in attempt(one.number, 50.0 - one.at_s)]
        report = check_run(observations(entries=entries, promises=Promises(False, 60.0, 60.0)))
        assert report.out_of_order is None
        assert report.clean


class TestConcurrentAttempts:
    def test_a_record_begun_while_another_of_its_key_runs(self) -> None:
        first, second = attempt(0, 10.0), attempt(runs.KEYS, 10.001)
        report = check_run(observations(entries=[*handled(sent()), first[0], second[0], first[1], second[1]]))
        assert report.at_once == ("0@3 in 1.1 beside 0 in 1.1 (key k0)",)
        assert not report.clean

    def test_the_same_record_twice_at_once(self) -> None:
        again = [line("begin", 0, 10.0, "1.1"), line("begin", 0, 10.001, "2.1")]
        assert len(check_run(observations(entries=[*handled(sent()), *again])).at_once or ()) == 1

    def test_records_of_other_keys_may_run(self) -> None:
        first, second = attempt(0, 10.0), attempt(2, 10.001)
        assert (
            check_run(observations(entries=[*handled(sent()), first[0], second[0], first[1], second[1]])).at_once == ()
        )

    def test_attempts_of_a_killed_process_have_ended(self) -> None:
        entries = [line("begin", 0, 9.0), Entry("killed", 9.1, "1.1"), *attempt(0, 10.0, "2.1")]
        assert check_run(observations(entries=[*handled(sent()), *entries])).at_once == ()

    @pytest.mark.parametrize(("frozen_s", "expected"), [(5.0, (0, 1)), (1.0, (1, 0))])
    def test_a_process_frozen_past_its_session_is_excused_and_counted(
        self, frozen_s: float, expected: tuple[int, int]
    ) -> None:
        entries = [
            line("begin", 0, 9.0),
            Entry("frozen", 9.001, "1.1"),
            *attempt(0, 9.0 + frozen_s, "2.1"),
            Entry("thawed", 20.0, "1.1"),
            line("end", 0, 20.1),
        ]
        report = check_run(observations(entries=[*handled(sent()), *entries]))
        assert (len(report.at_once or ()), report.zombies) == expected


class TestProducing:
    def test_a_number_that_is_in_the_log_twice(self) -> None:
        log = written(sent())
        log.append(replace(log[-1], offset=20))
        entries = [*handled(sent()), Entry("begin", 9.0, "1.1", 1, 20, "k3"), Entry("end", 9.1, "1.1", 1, 20, "k3")]
        assert check_run(observations(log=log, entries=entries)).double_writes == (39,)

    def test_a_record_in_the_log_that_the_producer_denied(self) -> None:
        records = sent()
        records[5] = replace(records[5], address=None, acknowledged_s=None, error="refused", never_written=True)
        report = check_run(observations(records=records, log=written(sent()), entries=handled(records)))
        assert report.denied_writes == (5,)
        assert not report.clean

    def test_another_record_at_an_acknowledged_address(self) -> None:
        log = written(sent())
        log[0], log[12] = replace(log[0], number=12), replace(log[12], number=0)
        report = check_run(observations(log=log))
        assert report.misplaced == ("0@0: 0 was acknowledged, 12 is there", "0@6: 12 was acknowledged, 0 is there")
        assert report.reordered_writes == ("0@3: 6 after 12 (key k0)", "0@6: 0 after 12 (key k0)")

    def test_a_handled_record_that_is_not_in_the_log(self) -> None:
        entries = [*handled(sent()), Entry("begin", 9.0, "1.1", 0, 3, "k5")]
        assert check_run(observations(entries=entries)).misplaced == ("0@3: 1.1 got key k5, the log has k0",)


class TestStall:
    def late(self, by_s: float) -> list[Entry]:
        """Partition 0 stalls from 1 s on; the other one continues."""
        return sorted(
            (
                e
                for one in sent()
                for e in attempt(one.number, one.at_s + 0.02 + (by_s if one.number % 2 == 0 and one.at_s >= 1 else 0))
            ),
            key=lambda entry: entry.at_s,
        )

    def test_of_one_partition_is_found_although_another_continues(self) -> None:
        report = check_run(observations(entries=self.late(30.0)))
        assert report.stall.partition == 0
        assert report.stall.lasted_s == pytest.approx(30.0, abs=0.1)
        assert report.stall.allowed_s == 21.0
        assert report.stall.too_long
        assert not report.clean

    def test_session_drain_and_five_seconds_are_allowed(self) -> None:
        report = check_run(observations(entries=self.late(20.0)))
        assert report.stall.lasted_s == pytest.approx(20.0, abs=0.1)
        assert report.clean

    def test_time_without_records_does_not_count(self) -> None:
        records = sent(every_s=30.0)
        assert check_run(observations(records=records)).stall.lasted_s < 0.1

    def test_an_outage_is_added_to_the_allowed_time(self) -> None:
        report = check_run(observations(entries=self.late(30.0), outages=[(0.0, 11.0)]))
        assert report.stall.allowed_s == pytest.approx(31.0, abs=0.1)
        assert report.clean

    def test_periods_of_faults_faster_than_the_session_are_added(self) -> None:
        kills = [Entry("killed", 1.0 + 4 * n, "1.1") for n in range(6)]
        report = check_run(observations(entries=sorted([*self.late(30.0), *kills], key=lambda entry: entry.at_s)))
        assert report.stall.allowed_s == pytest.approx(41.0, abs=0.1)
        assert report.clean

    def test_single_faults_are_not_added(self) -> None:
        kills = [Entry("killed", 1.0 + 10 * n, "1.1") for n in range(3)]
        report = check_run(observations(entries=sorted([*self.late(30.0), *kills], key=lambda entry: entry.at_s)))
        assert report.stall.allowed_s == 21.0


class TestVerdict:
    def test_repeats_are_a_problem_only_above_a_given_limit(self) -> None:
        run = observations(entries=[*handled(sent()), *attempt(0, 50.0)])
        assert check_run(run).clean
        assert check_run(run, max_duplicates=2.5).clean
        assert check_run(run, max_duplicates=1).problems == ("2.5 % handled again, more than the 1 % that are allowed",)

    def test_a_process_that_ended_badly_is_a_problem(self) -> None:
        assert check_run(observations(unclean=["process 1.1 exited unexpectedly with code 1"])).problems == (
            "process 1.1 exited unexpectedly with code 1",
        )

    def test_unmatched_records_are_a_problem(self) -> None:
        entries = [*handled(sent()), line("pass", 3, 50.0)]
        assert "no endpoint handles" in check_run(observations(entries=entries)).problems[0]

    def test_the_sentences_have_a_few_addresses_and_the_json_has_all(self) -> None:
        report = check_run(observations(entries=handled(sent())[:40]))
        assert report.problems[0].startswith("20 lost: in the log, but never handled (0@10, 0@11,")
        assert report.problems[0].endswith("...)")
        assert len(report.as_json()["lost"]) == 20
        assert report.as_json()["clean"] is False


class TestOutputs:
    @staticmethod
    def outputs(numbers: Sequence[int]) -> list[Output]:
        """One output for each number, in this order, in the partition of its record."""
        return [
            Output(number % PARTITIONS, at, address_of(number), key_of(number)) for at, number in enumerate(numbers)
        ]

    def test_one_for_each_record_in_the_order_of_its_key_is_exactly_once(self) -> None:
        report = check_run(observations(outputs=self.outputs(range(40))))

        assert report.problems == ()
        assert (report.delivery, report.outputs) == ("exactly-once", 40)

    def test_keys_may_overtake_each_other(self) -> None:
        by_key = sorted(range(40), key=lambda number: number % KEYS)

        assert check_run(observations(outputs=self.outputs(by_key))).problems == ()

    @given(st.sets(st.integers(0, 39), min_size=1))
    def test_each_that_is_missing_is_named(self, missing: set[int]) -> None:
        report = check_run(observations(outputs=self.outputs([one for one in range(40) if one not in missing])))

        assert report.lost_outputs == tuple(f"{p}@{o}" for p, o in sorted(map(address_of, missing)))
        assert not report.clean

    @given(st.sets(st.integers(0, 39), min_size=1))
    def test_each_that_is_there_twice_is_named(self, twice: set[int]) -> None:
        report = check_run(observations(outputs=self.outputs([*range(40), *sorted(twice)])))

        assert report.double_outputs == tuple(f"{p}@{o}" for p, o in sorted(map(address_of, twice)))
        assert not report.clean

    def test_one_behind_a_later_record_of_its_key_is_named(self) -> None:
        swapped = [KEYS, 0, *(number for number in range(40) if number not in (0, KEYS))]

        report = check_run(observations(outputs=self.outputs(swapped)))

        assert report.reordered_outputs == ("0@0 after 3 (key k0)",)
        assert not report.clean

    def test_are_not_looked_at_with_at_least_once(self) -> None:
        report = check_run(observations())

        assert (report.delivery, report.outputs) == ("at-least-once", None)
