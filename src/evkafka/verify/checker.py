"""Compares what was sent, what the log has, and what the history says. Pure.

The guarantees:

- at least once: every record in the log was handled, and every acknowledged record is in the log;
- order of a key: no record is handled for the first time after a later record of its key;
- one record of a key at a time;
- exactly once, if that is the delivery: every record in the log has one output, and outputs of one key are in order;
- at the end, the committed offset of each partition is its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evkafka.verify.history import Entry
from evkafka.verify.observations import Observations, Sent, Written
from evkafka.verify.outputs import format_partition_and_offset, output_report_fields
from evkafka.verify.repeats import count_repeats_by_cause
from evkafka.verify.report import Report, Stall, describe_problems

GRACE_S = 5.0
"""The time that a group may need to continue, in addition to session and drain time."""

FAULTS = frozenset({"killed", "frozen", "fault"})
DISTURBANCES = FAULTS | {"thawed", "up", "down"}

Address = tuple[int, int]


def check_run(observations: Observations, *, max_duplicates: float | None = None) -> Report:
    """The report of a run. For `max_duplicates` see `describe_problems`."""
    handled = _count_handlings_by_record(observations.entries)
    began_s = min((one.at_s for one in observations.sent), default=observations.finished_s)
    at_once, zombies = _find_concurrent_attempts(observations.entries, observations.promises.session_s)
    in_order = observations.promises.in_order
    counts = Counter(entry.event for entry in observations.entries)
    written = {(one.partition, one.offset): one for one in observations.written}
    report = Report(
        sent=len(observations.sent),
        acknowledged=sum(one.address is not None for one in observations.sent),
        unconfirmed=sum(one.address is None for one in observations.sent),
        written=len(written),
        lost_writes=_find_acknowledged_but_unwritten(observations.sent, observations.written),
        double_writes=tuple(n for n, many in Counter(one.number for one in observations.written).items() if many > 1),
        denied_writes=_find_failed_sends_that_were_written(observations.sent, observations.written),
        misplaced=_find_records_not_at_their_offset(observations, written),
        reordered_writes=_find_reordered_writes(observations.written),
        handled=len(written.keys() & handled.keys()),
        lost=tuple(format_partition_and_offset(address) for address in sorted(written.keys() - handled.keys())),
        repeats=sum(many - 1 for many in handled.values()),
        repeats_by_cause=count_repeats_by_cause(observations.entries),
        **output_report_fields(observations.outputs, set(written)),
        out_of_order=_find_out_of_order(observations.entries) if in_order else None,
        at_once=at_once if in_order else None,
        zombies=zombies,
        passed_over=counts["pass"],
        failed=counts["fail"],
        cut=counts["cut"],
        committed=sum(observations.committed.values()),
        end=sum(observations.end.values()),
        behind=uncommitted_partitions(observations.committed, observations.end),
        stall=_longest_stall(observations, began_s),
        faults=_count_faults(observations.entries),
        unclean=tuple(observations.unclean),
        duration_s=round(observations.finished_s - began_s, 1),
    )
    return replace(report, problems=describe_problems(report, max_duplicates=max_duplicates))


# ---------------------------------------------------------------------------- handling


def _count_handlings_by_record(entries: Iterable[Entry]) -> Counter[Address]:
    return Counter((entry.partition, entry.offset) for entry in entries if entry.event == "end")


def _find_out_of_order(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Records that were handled for the first time after a later record of their key."""
    furthest: dict[tuple[int, str | None], int] = {}
    seen: set[Address] = set()
    late = []
    for entry in entries:
        address = (entry.partition, entry.offset)
        if entry.event != "end" or address in seen:
            continue
        seen.add(address)
        lane = (entry.partition, entry.key)
        if entry.offset < furthest.get(lane, -1):
            late.append(f"{format_partition_and_offset(address)} after {furthest[lane]} (key {entry.key})")
        furthest[lane] = max(entry.offset, furthest.get(lane, -1))
    return tuple(late)


@dataclass(frozen=True, slots=True)
class _Attempt:
    who: str
    offset: int


Lane = tuple[int, str | None]
"""A partition and a key: its records are handled in order."""


def _find_concurrent_attempts(entries: Iterable[Entry], session_s: float) -> tuple[tuple[str, ...], int]:
    """Attempts that began while another one of their key was running, and how many attempts of zombies there were among
    the others."""
    running = _RunningAttempts()
    zombies = _Zombies(session_s)
    concurrent: list[str] = []
    excused: set[tuple[Lane, _Attempt]] = set()
    for entry in entries:
        lane = (entry.partition, entry.key)
        match entry.event:
            case "begin":
                attempt = _Attempt(entry.who, entry.offset)
                for other in running.attempts_in_lane(lane):
                    if zombie := zombies.zombie_of_two_attempts(other, attempt, entry.at_s):
                        excused.add((lane, zombie))
                    else:
                        where = format_partition_and_offset((entry.partition, entry.offset))
                        concurrent.append(
                            f"{where} in {entry.who} beside {other.offset} in {other.who} (key {entry.key})"
                        )
                running.add_attempt(lane, attempt)
            case "end" | "fail" | "cut" | "pass":
                running.remove_attempt(lane, _Attempt(entry.who, entry.offset))
            case "killed" | "down":
                running.remove_process(entry.who)
            case "frozen":
                zombies.note_frozen(entry.who, entry.at_s)
            case "thawed":
                zombies.note_thawed(entry.who, entry.at_s)
            case _:
                pass
    return tuple(concurrent), len(excused)


class _RunningAttempts:
    """The attempts that run at one moment, by lane."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, list[_Attempt]] = {}

    def attempts_in_lane(self, lane: Lane) -> Sequence[_Attempt]:
        return self._lanes.get(lane, ())

    def add_attempt(self, lane: Lane, attempt: _Attempt) -> None:
        self._lanes.setdefault(lane, []).append(attempt)

    def remove_attempt(self, lane: Lane, attempt: _Attempt) -> None:
        if attempt in self.attempts_in_lane(lane):
            self._lanes[lane].remove(attempt)

    def remove_process(self, who: str) -> None:
        for attempts in self._lanes.values():
            attempts[:] = [one for one in attempts if one.who != who]


class _Zombies:
    """Processes that were frozen for as long as their session: their partitions belong to another process, and they
    cannot know that until they have run for a while. Their attempts are excused for one more session."""

    def __init__(self, session_s: float) -> None:
        self._session_s = session_s
        # The session starts at the last heartbeat before the freeze, which may be a third of a session earlier.
        self._expired_s = session_s * 2 / 3
        self._frozen_s: dict[str, float] = {}
        self._until_s: dict[str, float] = {}

    def note_frozen(self, who: str, at_s: float) -> None:
        self._frozen_s[who] = at_s

    def note_thawed(self, who: str, at_s: float) -> None:
        if at_s - self._frozen_s.pop(who, at_s) > self._expired_s:
            self._until_s[who] = at_s + self._session_s

    def zombie_of_two_attempts(self, first: _Attempt, second: _Attempt, at_s: float) -> _Attempt | None:
        """The attempt whose process is a zombie now; None if neither is, or if both run in one process."""
        if first.who == second.who:
            return None
        return next((one for one in (first, second) if self._is_zombie(one.who, at_s)), None)

    def _is_zombie(self, who: str, at_s: float) -> bool:
        asleep_s = at_s - self._frozen_s.get(who, at_s)
        return asleep_s > self._expired_s or at_s <= self._until_s.get(who, 0.0)


# ---------------------------------------------------------------------------- producing


def _find_acknowledged_but_unwritten(sent: Iterable[Sent], written: Iterable[Written]) -> tuple[int, ...]:
    there = {one.number for one in written}
    return tuple(one.number for one in sent if one.address is not None and one.number not in there)


def _find_failed_sends_that_were_written(sent: Iterable[Sent], written: Iterable[Written]) -> tuple[int, ...]:
    there = {one.number for one in written}
    return tuple(one.number for one in sent if one.never_written and one.number in there)


def _find_records_not_at_their_offset(observations: Observations, written: dict[Address, Written]) -> tuple[str, ...]:
    wrong = []
    for one in observations.sent:
        found = written.get(one.address) if one.address is not None else None
        if found is not None and one.address is not None and found.number != one.number:
            wrong.append(
                f"{format_partition_and_offset(one.address)}: {one.number} was acknowledged, {found.number} is there"
            )
    for entry in observations.entries:
        if entry.event == "begin":
            there = written.get((entry.partition, entry.offset))
            if there is None or there.key != entry.key:
                key = "nothing" if there is None else there.key
                where = format_partition_and_offset((entry.partition, entry.offset))
                wrong.append(f"{where}: {entry.who} got key {entry.key}, the log has {key}")
    return tuple(wrong)


def _find_reordered_writes(written: Iterable[Written]) -> tuple[str, ...]:
    last: dict[str | None, int] = {}
    wrong = []
    for one in sorted(written, key=lambda one: (one.partition, one.offset)):
        if one.number < last.get(one.key, -1):
            where = format_partition_and_offset((one.partition, one.offset))
            wrong.append(f"{where}: {one.number} after {last[one.key]} (key {one.key})")
        last[one.key] = max(one.number, last.get(one.key, -1))
    return tuple(wrong)


# ---------------------------------------------------------------------------- commits and stalls


def uncommitted_partitions(committed: Mapping[int, int], end: Mapping[int, int]) -> tuple[str, ...]:
    """Describe the partitions whose committed offset is not their end."""
    return tuple(
        f"{partition}: {committed.get(partition, 0)} of {offset}"
        for partition, offset in sorted(end.items())
        if committed.get(partition, 0) != offset
    )


def _longest_stall(observations: Observations, began_s: float) -> Stall:
    """The longest stall that is too long, or else the longest one."""
    allowed_s = observations.promises.session_s + observations.promises.drain_s + GRACE_S
    excused = [*observations.outages, *_unstable_periods(observations.entries, observations.promises.session_s)]
    stalls = [
        Stall(
            lasted_s=round(to_s - from_s, 3),
            allowed_s=round(allowed_s + _overlap_with_periods_s(from_s, to_s, excused), 3),
            partition=partition,
            from_s=round(from_s - began_s, 3),
        )
        for partition, from_s, to_s in _find_waits_for_next_handled_record(observations)
    ]
    over = [stall for stall in stalls if stall.too_long]
    return max(over or stalls, key=lambda stall: stall.lasted_s, default=Stall(allowed_s=allowed_s))


def _find_waits_for_next_handled_record(observations: Observations) -> Iterable[tuple[int, float, float]]:
    """Per partition, the periods with at least one record to handle, from one first handling to the next."""
    first_end_s: dict[Address, float] = {}
    for entry in observations.entries:
        if entry.event == "end":
            first_end_s.setdefault((entry.partition, entry.offset), entry.at_s)
    sent_s = {one.address: one.acknowledged_s for one in observations.sent if one.address is not None}
    moves: dict[int, list[tuple[float, int]]] = {}
    for one in observations.written:
        address = (one.partition, one.offset)
        end_s = first_end_s.get(address)
        begin_s = sent_s.get(address) or end_s
        if begin_s is None:
            continue  # neither acknowledged nor handled: it is lost, and it is unknown since when
        # A record may be handled before its sender has received the acknowledgement.
        moves.setdefault(one.partition, []).append((min(begin_s, end_s or begin_s), 0))
        if end_s is not None:
            moves[one.partition].append((end_s, 1))
    for partition, steps in moves.items():
        waiting, since_s = 0, 0.0
        for at_s, is_end in sorted(steps):
            if is_end:
                yield partition, since_s, at_s
                waiting, since_s = waiting - 1, at_s
            else:
                since_s = since_s if waiting else at_s
                waiting += 1
        if waiting:
            yield partition, since_s, observations.finished_s


def _unstable_periods(entries: Sequence[Entry], session_s: float) -> list[tuple[float, float]]:
    """Periods in which a disturbance followed another before the group could recover."""
    times = sorted(entry.at_s for entry in entries if entry.event in DISTURBANCES)
    spans: list[tuple[float, float]] = []
    for at_s in times:
        if spans and at_s - spans[-1][1] <= session_s:
            spans[-1] = (spans[-1][0], at_s)
        else:
            spans.append((at_s, at_s))
    return spans


def _overlap_with_periods_s(from_s: float, to_s: float, spans: Iterable[tuple[float, float]]) -> float:
    """How much of a period is in these spans; overlaps count once."""
    covered_s, at_s = 0.0, from_s
    for begin_s, end_s in sorted(spans):
        begin_s, end_s = max(begin_s, at_s), min(end_s, to_s)
        if end_s > begin_s:
            covered_s += end_s - begin_s
            at_s = end_s
    return covered_s


def _count_faults(entries: Iterable[Entry]) -> dict[str, int]:
    return dict(Counter(str((entry.more or {}).get("kind", entry.event)) for entry in entries if entry.event in FAULTS))
