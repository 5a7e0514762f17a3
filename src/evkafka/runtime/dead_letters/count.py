"""Counts how many of one partition's records become dead letters, without counting each record that does not."""

from __future__ import annotations

from evkafka.config.settings import DeadLetterLimitSettings
from evkafka.runtime.dead_letters.rate import DeadLetterRate
from evkafka.runtime.offsets import OffsetLedger


class DeadLetterCount:
    """The dead letters of one partition during one assignment.

    Attributes:
        rate: None until the partition's position, and the rate that was saved with its commit, are known.
        pending: how many dead letters are being written.
    """

    __slots__ = ("_counted", "_ledger", "_read", "pending", "rate")

    def __init__(self, ledger: OffsetLedger) -> None:
        self.rate: DeadLetterRate | None = None
        self.pending = 0
        self._ledger = ledger
        self._read = 0  # records read
        self._counted = 0  # of those that have ended, how many `rate` has counted

    def count_records_read(self, records: int) -> None:
        """So many records were just read."""
        self._read += records

    def refusal_reason(self, limit: DeadLetterLimitSettings | None) -> str | None:
        """Why no record may become a dead letter now; None if it may."""
        rate = self.update_rate()
        if rate is None or limit is None:
            return None
        why = rate.refusal_reason(limit, under_way=self.pending)
        if why is not None:
            rate.mark_limit_reached()
        return why

    def count_dead_letter(self) -> None:
        """A record has just become a dead letter, and ends without an `await` in between."""
        rate = self.update_rate()
        if rate is not None:
            rate.count_dead_letter()
            self._counted += 1

    def count_unreadable(self) -> None:
        """The same for a record that the client could not read, and that is not in the ledger."""
        self.count_dead_letter()
        self._read += 1

    def update_rate(self) -> DeadLetterRate | None:
        """Count the records that have ended since the last update; returns the rate."""
        if self.rate is not None and not self._ledger.sealed:
            ended = self._read - self._ledger.unfinished_count
            if ended > self._counted:
                self.rate.count_records_not_dead_lettered(ended - self._counted)
                self._counted = ended
        return self.rate
