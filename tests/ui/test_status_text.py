"""The text of states and of their reasons."""

from __future__ import annotations

from evkafka.runtime.status import PartitionStatus
from evkafka.ui.status_text import partition_state


class TestAPartition:
    def test_reports_an_open_transaction_and_both_ends(self) -> None:
        status = PartitionStatus(
            topic="orders",
            partition=0,
            position=7,
            committed=7,
            end=7,
            pending=0,
            oldest=None,
            oldest_timestamp_ms=None,
            retrying=0,
            held=False,
            paused=False,
            full=False,
            high_watermark=12,
        )
        state, _, why = partition_state(status)
        assert state == "Reading"
        assert "a transaction is open at offset 7" in why
        assert "up to offset 12" in why
        assert (status.lag, status.undecided) == (0, 5)
