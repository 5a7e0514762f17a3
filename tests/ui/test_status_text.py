"""The text of states and of their reasons."""

from __future__ import annotations

import pytest

from evkafka.runtime.status import SuspectRecordStatus, TransactionStatus
from evkafka.ui.status_text import (
    consumer_state,
    duration_text,
    oldest_record_failures_by_partition,
    partition_state_and_reasons,
    transactions_text,
)
from tests.ui.statuses import attempt, consumer, partition, retrying


class TestAPartition:
    def test_reports_an_open_transaction_and_both_ends(self) -> None:
        status = partition(0, 7, 7, high_watermark=12)
        state, _, why = partition_state_and_reasons(status, 0)
        assert state == "Reading"
        assert "a transaction is open at offset 7" in why
        assert "up to offset 12" in why
        assert (status.lag, status.offset_count_after_open_transaction) == (0, 5)

    @pytest.mark.parametrize(
        ("for_s", "label"), [(0.4, "Reading"), (9.9, "Reading"), (10, "Retrying"), (299, "Retrying"), (300, "Stuck")]
    )
    def test_retries_only_if_its_oldest_record_fails_for_ten_seconds_and_is_stuck_after_five_minutes(
        self, for_s: float, label: str
    ) -> None:
        assert partition_state_and_reasons(retrying(for_s=for_s), 1)[0] == label

    def test_without_a_failed_attempt_does_not_retry(self) -> None:
        assert partition_state_and_reasons(partition(0, 8, 20, oldest=7, oldest_age_s=400), 0)[0] == "Reading"

    def test_says_since_when_and_how_often_its_record_has_failed(self) -> None:
        assert partition_state_and_reasons(retrying(for_s=303, failed=6), 6)[2] == (
            "offset 7 has been unfinished for 5 min 3 s, after 6 failed attempts"
        )

    @pytest.mark.parametrize(("for_s", "label"), [(1, "Reading"), (10, "Waiting for a schema")])
    def test_that_waits_for_a_schema_names_the_record(self, for_s: float, label: str) -> None:
        status = partition(0, 8, 20, oldest=7, oldest_age_s=for_s, blocked_by=("schema",))
        state, _, why = partition_state_and_reasons(status, 0)
        assert (state, why) == (label, "offset 7 waits for the schema of its value")

    def test_that_is_full_of_metadata_names_the_record_that_holds_it_up(self) -> None:
        state, kind, why = partition_state_and_reasons(
            partition(oldest=7, done_ahead=2_800, unread_because=("metadata",)), 0
        )
        assert (state, kind) == ("Full", "warn")
        assert why.startswith("the 2,800 offsets finished after offset 7 do not fit into the metadata")

    def test_is_handled_one_at_a_time_after_a_crash(self) -> None:
        state, kind, why = partition_state_and_reasons(
            partition(one_at_a_time=SuspectRecordStatus(deaths=1, suspect=None)), 0
        )
        assert (state, kind) == ("One at a time", "warn")
        assert (
            why
            == "records are handled one at a time, because 1 process died, or lost its session, at an unknown record"
        )
        known = partition_state_and_reasons(partition(one_at_a_time=SuspectRecordStatus(deaths=3, suspect=812)), 0)
        assert (
            known[2]
            == "records are handled one at a time, because 3 processes died, or lost their sessions, at offset 812"
        )


class TestTransactions:
    def test_says_what_is_kept_and_what_is_open(self) -> None:
        assert transactions_text(TransactionStatus(1, 512)) == "exactly once: 1 kept record (0 KiB)"
        assert transactions_text(TransactionStatus(1_200, 3_000_000, open_records=900, open_s=3.25)) == (
            "exactly once: 1,200 kept records (2,930 KiB), a transaction of 900 open for 3.2 s"
        )


class TestAConsumer:
    def test_has_the_worst_state_of_its_partitions(self) -> None:
        states = [partition(0), partition(1, paused=True), retrying(2, for_s=20), retrying(3, for_s=400)]
        labels = [consumer_state(consumer(*states[:number]), ended=False)[0] for number in range(1, 5)]
        assert labels == ["Up to date", "Paused", "Retrying", "Stuck"]

    def test_still_retries_while_the_next_attempt_runs(self) -> None:
        runs = partition(0, 8, 20, oldest=7, oldest_age_s=20)
        status = consumer(runs, attempts=(attempt(offset=7, attempt=4),))
        assert oldest_record_failures_by_partition(status) == {("orders", 0): 3}
        assert consumer_state(status, ended=False) == ("Retrying", "warn")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s"), (59, "59 s"), (60, "1 min"), (303, "5 min 3 s"), (7800, "2 h 10 min"), (90_000, "1 d 1 h")],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
