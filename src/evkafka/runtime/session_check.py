"""Lets no record begin while the group may have given the consumer's partitions to others."""

from __future__ import annotations

import logging

from evkafka.runtime.assignment import Assignment
from evkafka.runtime.ports import RecordSource

logger = logging.getLogger("evkafka.runtime")

SAFE_SHARE = 0.9
"""The share of a session after which a coordinator that has not answered may soon give the partitions to others. A look
at it is up to a quarter of a second late."""


class SessionCheck:
    """Holds the lanes of one consumer while its group has not confirmed its membership for nearly a session.

    The watchdog calls `hold_lanes_if_not_in_session`. So does each time slice of the executors when it begins: after a
    process was frozen, the executors may run before the watchdog's timer.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._name = assignment.name
        self._partitions = assignment.partitions
        self._scheduler = assignment.scheduler
        self._at_most_once = assignment.at_most_once
        self._source: RecordSource | None = None

    def set_watched_source(self, source: RecordSource | None) -> None:
        """Check this source from now on; None while there is none."""
        self._source = source
        self._scheduler.continue_all_lanes()

    def hold_lanes_if_not_in_session(self) -> None:
        """Let no record begin while the group may have given the partitions to others: two members would handle
        records of one key at the same time. The present attempts continue, and if the group has kept the partitions,
        everything goes on as it was.

        Not in at-most-once mode: what was read is committed, so that no other member gets it.
        """
        source = self._source
        if source is None or self._at_most_once:
            return
        if source.is_session_alive():
            self._scheduler.continue_all_lanes()
        elif self._partitions and not self._scheduler.is_held:
            self._scheduler.hold_all_lanes(self._partitions.values())
            if source.state() != "joining":  # a join is answered when all members have joined
                logger.warning(
                    "consumer %s: its group's coordinator has not answered for nearly a session, and may give the"
                    " partitions to others: no further record begins until it answers",
                    self._name,
                )
