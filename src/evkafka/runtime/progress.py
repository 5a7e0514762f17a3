"""What follows when executors have made progress: partitions are read again, reports go out, and soon a commit."""

from __future__ import annotations

import asyncio

from evkafka.runtime.assignment import Assignment
from evkafka.runtime.reporting import TelemetryReporter


class Progress:
    """The progress of one consumer's executors."""

    def __init__(self, assignment: Assignment, report: TelemetryReporter) -> None:
        self._assignment = assignment
        self._report = report
        self._noted = False

    def resume_reading_and_flush_reports_soon(self) -> None:
        """An executor has made progress. It is handled once for all executors, in the event loop's next round."""
        if not self._noted:
            self._noted = True
            self._assignment.commit_timer.note_activity()
            asyncio.get_running_loop().call_soon(self.resume_reading_and_flush_reports)

    def resume_reading_and_flush_reports(self) -> None:
        """Read again the partitions that have room now, and send out the reports that were collected."""
        assignment = self._assignment
        self._noted = False
        assignment.flow.reopen_partitions_with_room()
        self._report.flush()
        waits_for_room = assignment.at_most_once and not assignment.flow.room.is_set()
        if waits_for_room and assignment.unfinished_record_count <= assignment.settings.max_poll_records // 2:
            assignment.flow.room.set()
