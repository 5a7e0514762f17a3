"""Whether a partition may be read, by its `dead_letter_limit`: the rate is restored from the group's commits."""

from __future__ import annotations

from dataclasses import dataclass

from evkafka.exceptions import StopApp
from evkafka.records import TopicPartition
from evkafka.runtime.dead_letters.rate import DeadLetterRate
from evkafka.runtime.partition import Partition
from evkafka.runtime.supervision.stop_signal import StopSignal


@dataclass(frozen=True, slots=True)
class LimitReset:
    """How the app continues after a limit was reached.

    Attributes:
        requested: ignore that a limit was reached before, once for each partition.
        target: what names the app in the command that requests it, for errors.
    """

    requested: bool = False
    target: str = "MODULE:APP"


class DeadLetterLimit:
    """The limits of one consumer.

    Args:
        window: the largest window of any limit, in records; 0 without a limit.
    """

    def __init__(self, stop_signal: StopSignal, window: int, reset: LimitReset) -> None:
        self._stop_signal = stop_signal
        self._window = window
        self._resets = reset.requested
        self._reset: set[TopicPartition] = set()
        self._remedy = f"fix the cause, then run `evkafka run {reset.target} --reset-dead-letter-limit`"

    def may_read_partition_else_stop_app(self, partition: Partition) -> bool:
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
            rate = DeadLetterRate.from_metadata_text(saved, self._window)
            partition.dead_letters.rate = rate
        if rate.stopped:
            self._stop_signal.fail(
                StopApp(f"{tp.topic}[{tp.partition}]: the `dead_letter_limit` was reached; {self._remedy}")
            )
        return not rate.stopped

    def limit_error(self, address: str, why: str, cause: BaseException | None) -> StopApp:
        """The error that stops the app because a record may not become a dead letter.

        Args:
            address: of the record.
            why: how the limit is reached.
            cause: why the record failed.
        """
        return StopApp(
            f"{address} stops the app and stays uncommitted: {why} (`dead_letter_limit`); {self._remedy}", cause
        )
