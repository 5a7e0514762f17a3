"""What is tried in one attempt: a record; or records that a batch endpoint takes, together, as the runtime would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from evkafka.outcomes import BatchError, Failed, FailureOutcome, PartialFailure
from evkafka.records import Record
from evkafka.runtime.ports import Dispatch, Route, Slot


class RecordAttempt:
    """The work of one record."""

    def __init__(self, dispatch: Dispatch, record: Record, slot: Slot) -> None:
        self.records: Sequence[Record] = (record,)
        self._dispatch = dispatch
        self.slot = slot

    async def __call__(self) -> object:
        [record] = self.records
        attempt = self._dispatch(record, self.slot)
        return await attempt if attempt is not None else self._dispatch.unmatched(record)

    def results(self, result: object) -> list[object]:
        """The attempt's result, record by record."""
        return [result]

    def fault(self, result: object) -> BaseException | None:
        """What a test is told that the attempt failed with."""
        return result.error if isinstance(result, Failed) else None


class BatchAttempt:
    """The work of a batch: one call of its endpoint."""

    def __init__(self, dispatch: Dispatch, records: Sequence[Record], slot: Slot, route: Route) -> None:
        self.records = records
        self._dispatch = dispatch
        self.slot = slot
        slot.route = route
        self._settled: dict[int, FailureOutcome | None] = {}

    async def __call__(self) -> object:
        batch = self._dispatch.open_batch(self.records, self.slot)
        try:
            self._settled.update(await batch.prepare())
            wanted = [index for index in range(len(self.records)) if index not in self._settled]
            return await batch.run(wanted) if wanted else None
        finally:
            await batch.close()

    def results(self, result: object) -> list[object]:
        """The attempt's result, record by record: what was settled before the call, then what the call said."""
        ends = result.ends if isinstance(result, PartialFailure) else None
        return [
            self._settled[index] if index in self._settled else result if ends is None else ends.get(index)
            for index in range(len(self.records))
        ]

    def fault(self, result: object) -> BaseException | None:
        """What failed the batch as a whole; else what its BatchError said; else the first value not decoded."""
        match result:
            case Failed(error=error):
                return error
            case PartialFailure(ends=ends) if errors := [end.error for end in ends.values() if isinstance(end, Failed)]:
                said = {index: _befell(end) for index, end in ends.items()}
                fault = BatchError({index: befell for index, befell in said.items() if befell is not None})
                fault.__cause__ = errors[0]
                return fault
            case _:
                return next((end.error for end in self._settled.values() if isinstance(end, Failed)), None)


def _befell(end: FailureOutcome) -> BaseException | None:
    match end:
        case Failed(error=error):
            return error
        case BaseException():
            return end
        case _:
            return None


def works(
    dispatch: Dispatch, records: Sequence[Record], slot: Callable[[], Slot]
) -> Iterator[RecordAttempt | BatchAttempt]:
    """The records' works, in order: neighbours of one batch endpoint and partition together, up to its limit.

    Args:
        slot: makes one for each work.
    """
    left = list(records)
    while left:
        route = dispatch.gated(left[0]) if dispatch.gated is not None else None
        if route is None or route.batch is None:
            yield RecordAttempt(dispatch, left.pop(0), slot())
            continue
        size = 1
        while size < min(len(left), route.batch.max_records) and _together(dispatch, left[0], left[size]):
            size += 1
        yield BatchAttempt(dispatch, left[:size], slot(), route)
        del left[:size]


def _together(dispatch: Dispatch, first: Record, other: Record) -> bool:
    assert dispatch.gated is not None
    return (first.topic, first.partition) == (other.topic, other.partition) and (
        dispatch.gated(first) is dispatch.gated(other)
    )
