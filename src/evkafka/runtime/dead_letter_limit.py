"""Whether a partition may be read, by its `dead_letter_limit`: the rate is restored from the group's commits."""

from __future__ import annotations

from evkafka.records import TopicPartition
from evkafka.runtime.dead_letters.rate import RESET_DEAD_LETTER_LIMIT, DeadLetterRate
from evkafka.runtime.partition import Partition
from evkafka.runtime.settle import StopApp
from evkafka.runtime.supervision.stop_signal import StopSignal


def limit_error(address: str, why: str, cause: BaseException | None) -> StopApp:
    """The error that stops the app because a record may not become a dead letter.

    Args:
        address: of the record.
        why: how the limit is reached.
        cause: why the record failed.
    """
    return StopApp(
        f"{address} stops the app and stays uncommitted: {why} (`dead_letter_limit`); {RESET_DEAD_LETTER_LIMIT}", cause
    )


class DeadLetterLimit:
    """The limits of one consumer.

    Args:
        window: the largest window of any limit, in records; 0 without a limit.
        resets: ignore that a limit was reached before, once for each partition.
    """

    def __init__(self, stop_signal: StopSignal, window: int, *, resets: bool) -> None:
        self._stop_signal = stop_signal
        self._window = window
        self._resets = resets
        self._reset: set[TopicPartition] = set()

    def allows(self, partition: Partition) -> bool:
        """Whether the partition may be read. If it has reached its limit, also before a restart, this stops the app and
        returns False. Call it when the partition has inherited what the last commit says."""
        if not self._window:
            return True
        tp, rate = partition.tp, partition.dead_letters.rate
        if rate is None:
            saved = partition.inherited.rate if partition.inherited is not None else ""
            if self._resets and tp not in self._reset:
                self._reset.add(tp)
                saved = ""
            rate = DeadLetterRate.from_text(saved, self._window)
            partition.dead_letters.rate = rate
        if rate.stopped:
            self._stop_signal.fail(
                StopApp(
                    f"{tp.topic}[{tp.partition}]: the `dead_letter_limit` was reached; {RESET_DEAD_LETTER_LIMIT}",
                )
            )
        return not rate.stopped
