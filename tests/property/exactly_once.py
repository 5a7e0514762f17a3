"""Random schedules of exactly-once consumers: each record has exactly one output, or exactly one dead letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from tests.property.promises import DEAD, WORKS, Broken
from tests.property.schedule import OUT, TOPIC, Schedule


class ExactlyOnceSchedule(Schedule):
    """A schedule in which nobody asks to read a record again, and none is deleted before it was read."""

    def _steps(self) -> list[tuple[int, Callable[[], Awaitable[None]]]]:
        left_out = (self._seek_back, self._delete_records, self._compact, self._fail_sends)
        more = [(3, self._fail_commits), (2, self._crash), (1, self._expire)]
        return [(weight, step) for weight, step in super()._steps() if step not in left_out] + more

    def _random_work(self) -> dict[str, object]:
        return {**super()._random_work(), "sends": True}

    async def _recover(self) -> None:
        await super()._recover()
        # Readers wait for the transactions of killed members until these time out.
        await self.kafka.advance(ms=self.config.get("transaction_timeout_ms", 10_000) + 1_000)
        self._check_outputs()

    def _check_outputs(self) -> None:
        """Each record has one output or one dead letter. The records of a retry topic are no outputs."""
        dones = [record.json() for record in self.kafka.records(OUT)]
        outputs = Counter((done["partition"], done["offset"]) for done in dones)
        outputs.update(
            (int(letter.header("evkafka-dlq-partition") or b"-1"), int(letter.header("evkafka-dlq-offset") or b"-1"))
            for letter in self.kafka.records(DEAD)
        )
        works = {(one.partition, one.offset) for one in self.kafka.records(TOPIC) if one.event_type in WORKS}
        if twice := sorted(address for address, count in outputs.items() if count > 1):
            raise Broken(f"{twice} have more than one output")
        if lost := sorted(works - outputs.keys()):
            raise Broken(f"{lost} have no output")
