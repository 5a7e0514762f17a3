"""The result of a run: numbers, and sentences that describe broken guarantees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from evkafka.verify.repeats import Cause

Delivery = Literal["at-least-once", "exactly-once"]

ADDRESSES_SHOWN = 5
"""How many addresses a sentence has."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A period in which a partition had records to handle and none was handled, in seconds.

    Attributes:
        allowed_s: session, drain time and five seconds, plus outages and periods of faults in quick succession.
        from_s: its beginning, in seconds since the beginning of the run.
    """

    lasted_s: float = 0.0
    allowed_s: float = 0.0
    partition: int | None = None
    from_s: float = 0.0

    @property
    def too_long(self) -> bool:
        return self.lasted_s > self.allowed_s


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a run. Sequences have addresses such as `2@1041` (partition 2, offset 1041).

    Attributes:
        seed: repeats the schedule.
        group_protocol: of the app's consumer.
        delivery: "at-least-once" or "exactly-once".
        sent: records given to the producer.
        acknowledged: records that the broker confirmed.
        unconfirmed: records whose send failed.
        written: records in the log.
        lost_writes: acknowledged records that are not in the log.
        double_writes: numbers that are in the log twice.
        denied_writes: records in the log of which the producer said that they cannot be there.
        misplaced: records acknowledged at the address of another record, or handled with a key that differs from the
            log's.
        reordered_writes: records of one key that are in the log in another order than they were sent.
        handled: records in the log that were handled at least once.
        lost: records in the log that were never handled.
        repeats: how many times records were handled again.
        repeats_by_cause: these, by what had happened to the process that had handled the record before.
        outputs: records in the output topic, for readers of committed records; None with at least once.
        lost_outputs: records in the log without an output.
        double_outputs: records in the log with several outputs.
        reordered_outputs: outputs that come after the output of a later record of their key.
        out_of_order: records that were handled for the first time after a later record of their key; None if no order
            is promised.
        at_once: attempts that began while another attempt at a record of their key was running.
        zombies: attempts of a process that had been frozen for longer than its session, during which others began. No
            consumer can prevent that, and it is no fault.
        passed_over: records that no endpoint takes.
        failed: attempts that raised.
        cut: attempts that were cancelled.
        behind: partitions whose committed offset is not their end: `0: 10 of 12`.
        faults: the number of faults by kind.
        unclean: processes that did not end as requested.
        coordinator_faults: how often the log of the run's own broker has a fault of its group coordinator; after one,
            problems may be the broker's.
        problems: sentences that describe broken guarantees; empty for a clean run.
        duration_s: of the whole run.
    """

    seed: int = 0
    group_protocol: str = "classic"
    delivery: Delivery = "at-least-once"
    sent: int = 0
    acknowledged: int = 0
    unconfirmed: int = 0
    written: int = 0
    lost_writes: tuple[int, ...] = ()
    double_writes: tuple[int, ...] = ()
    denied_writes: tuple[int, ...] = ()
    misplaced: tuple[str, ...] = ()
    reordered_writes: tuple[str, ...] = ()
    handled: int = 0
    lost: tuple[str, ...] = ()
    repeats: int = 0
    repeats_by_cause: Mapping[Cause, int] = field(default_factory=dict)
    outputs: int | None = None
    lost_outputs: tuple[str, ...] = ()
    double_outputs: tuple[str, ...] = ()
    reordered_outputs: tuple[str, ...] = ()
    out_of_order: tuple[str, ...] | None = ()
    at_once: tuple[str, ...] | None = ()
    zombies: int = 0
    passed_over: int = 0
    failed: int = 0
    cut: int = 0
    committed: int = 0
    end: int = 0
    behind: tuple[str, ...] = ()
    stall: Stall = field(default_factory=Stall)
    faults: Mapping[str, int] = field(default_factory=dict)
    unclean: tuple[str, ...] = ()
    coordinator_faults: int = 0
    problems: tuple[str, ...] = ()
    duration_s: float = 0.0

    @property
    def clean(self) -> bool:
        """True if no guarantee was broken."""
        return not self.problems

    @property
    def repeats_percent(self) -> float:
        return round(100 * self.repeats / self.handled, 3) if self.handled else 0.0

    def as_json(self) -> dict[str, Any]:
        """All values, for `--json`."""
        return {**asdict(self), "repeats_percent": self.repeats_percent, "clean": self.clean}


def describe_problems(report: Report, *, max_duplicates: float | None = None) -> tuple[str, ...]:
    """Describe the broken guarantees.

    Args:
        max_duplicates: how many records may be handled twice, in percent; None for any number.
    """
    sentences = []
    for name, found in (
        ("lost: in the log, but never handled", report.lost),
        ("out of order: first handled after a later record of the same key", report.out_of_order or ()),
        ("at once: started while another record of the same key was in flight", report.at_once or ()),
        ("lost writes: acknowledged, but not in the log", report.lost_writes),
        ("written twice", report.double_writes),
        ("in the log, although the producer reported that they were not written", report.denied_writes),
        (
            "inconsistent offsets: another record is at the offset where this one was acknowledged or handled",
            report.misplaced,
        ),
        ("written in a different order than sent", report.reordered_writes),
        ("partitions not committed up to their end", report.behind),
        ("lost in the output", report.lost_outputs),
        ("twice in the output", report.double_outputs),
        ("in the output after a later record of the same key", report.reordered_outputs),
    ):
        if found:
            sentences.append(f"{len(found)} {name} ({_list_some(found)})")
    if report.passed_over:
        sentences.append(f"{report.passed_over} records skipped: no endpoint handles their event type")
    if report.stall.too_long:
        sentences.append(
            f"partition {report.stall.partition} made no progress for {report.stall.lasted_s:.1f} s with records to"
            f" handle (at most {report.stall.allowed_s:.1f} s are allowed)"
        )
    if max_duplicates is not None and report.repeats_percent > max_duplicates:
        sentences.append(
            f"{report.repeats_percent:g} % handled again, more than the {max_duplicates:g} % that are allowed"
        )
    if not report.handled:
        sentences.append("nothing was handled at all")
    return (*sentences, *report.unclean)


def _list_some(found: tuple[Any, ...]) -> str:
    return ", ".join(map(str, found[:ADDRESSES_SHOWN])) + (", ..." if len(found) > ADDRESSES_SHOWN else "")
