"""Whether a partition's `dead_letter_limit` lets it be read: the tally, as it was kept beside the group's commits."""

from __future__ import annotations

from evkafka.records import TopicPartition
from evkafka.runtime.dead_letters.rate import RESET_DEAD_LETTER_LIMIT, DeadLetterRate
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import RecordSource
from evkafka.runtime.settle import StopApp
from evkafka.runtime.supervision.stop_signal import StopSignal


class DeadLetterLimit:
    """One consumer's.

    Args:
        window: the largest one that a limit looks at; 0 where there is no limit.
        resets: forget that a limit was reached before, once for each partition.
    """

    def __init__(self, ending: StopSignal, window: int, *, resets: bool) -> None:
        self._ending = ending
        self._window = window
        self._resets = resets
        self._reset: set[TopicPartition] = set()

    def allows(self, source: RecordSource, partition: Partition) -> bool:
        """False where its dead-letter limit was reached, in an earlier life too: nothing of it is read, and the app
        stops. To be asked once the position is known: what was kept beside the commit is known with it."""
        if not self._window:
            return True
        tp = partition.tp
        if partition.tally is None:
            partition.tally = DeadLetterRate.from_text(source.metadata(tp), self._window)
            if self._resets and tp not in self._reset:
                self._reset.add(tp)
                if partition.tally.as_text():
                    partition.tally = DeadLetterRate(self._window)
                    partition.tally.unsaved = True
        if partition.tally.stopped:
            self._ending.fail(
                StopApp(
                    f"{tp.topic}[{tp.partition}]: its `dead_letter_limit` was reached; {RESET_DEAD_LETTER_LIMIT}",
                )
            )
        return not partition.tally.stopped
