"""The judgement: what was sent, what the log holds, what the journal says, held against each other. Pure.

The guarantees:

- at least once: every record in the log was handled, and every acknowledged record is in the log;
- order of a key: no record is handled for the first time after a later record of its key;
- one record of a key at a time;
- in the end, what is committed is the end of the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evkafka.verify.history import Entry
from evkafka.verify.observations import Observations, Sent, Written
from evkafka.verify.report import Report, Stall, problems

GRACE_S = 5.0
"""What a group may need on top of its session and its drain time until it goes on."""

FAULTS = frozenset({"killed", "frozen", "fault"})
DISTURBANCES = FAULTS | {"thawed", "up", "down"}

Place = tuple[int, int]


def judge(evidence: Observations, *, max_duplicates: float | None = None) -> Report:
    """The run's report; see `problems` for the argument."""
    handled = _handled(evidence.entries)
    began_s = min((one.at_s for one in evidence.sent), default=evidence.finished_s)
    at_once, zombies = _at_once(evidence.entries, evidence.promises.session_s)
    in_order = evidence.promises.in_order
    counts = Counter(entry.what for entry in evidence.entries)
    written = {(one.partition, one.offset): one for one in evidence.written}
    report = Report(
        sent=len(evidence.sent),
        acknowledged=sum(one.place is not None for one in evidence.sent),
        unconfirmed=sum(one.place is None for one in evidence.sent),
        written=len(written),
        lost_writes=_lost_writes(evidence.sent, evidence.written),
        double_writes=tuple(n for n, many in Counter(one.number for one in evidence.written).items() if many > 1),
        denied_writes=_denied_writes(evidence.sent, evidence.written),
        misplaced=_misplaced(evidence, written),
        reordered_writes=_reordered(evidence.written),
        handled=len(written.keys() & handled.keys()),
        lost=tuple(address(place) for place in sorted(written.keys() - handled.keys())),
        repeats=sum(many - 1 for many in handled.values()),
        out_of_order=_out_of_order(evidence.entries) if in_order else None,
        at_once=at_once if in_order else None,
        zombies=zombies,
        passed_over=counts["pass"],
        failed=counts["fail"],
        cut=counts["cut"],
        committed=sum(evidence.committed.values()),
        end=sum(evidence.end.values()),
        behind=behind(evidence.committed, evidence.end),
        stall=_longest_stall(evidence, began_s),
        faults=_faults(evidence.entries),
        unclean=tuple(evidence.unclean),
        duration_s=round(evidence.finished_s - began_s, 1),
    )
    return replace(report, problems=problems(report, max_duplicates=max_duplicates))


def address(place: Place) -> str:
    return f"{place[0]}@{place[1]}"


# ---------------------------------------------------------------------------- handling


def _handled(entries: Iterable[Entry]) -> Counter[Place]:
    return Counter((entry.partition, entry.offset) for entry in entries if entry.what == "end")


def _out_of_order(entries: Iterable[Entry]) -> tuple[str, ...]:
    """First ends that came after a later record's, by key."""
    furthest: dict[tuple[int, str | None], int] = {}
    seen: set[Place] = set()
    late = []
    for entry in entries:
        place = (entry.partition, entry.offset)
        if entry.what != "end" or place in seen:
            continue
        seen.add(place)
        lane = (entry.partition, entry.key)
        if entry.offset < furthest.get(lane, -1):
            late.append(f"{address(place)} after {furthest[lane]} (key {entry.key})")
        furthest[lane] = max(entry.offset, furthest.get(lane, -1))
    return tuple(late)


@dataclass(frozen=True, slots=True)
class _Attempt:
    who: str
    offset: int


def _at_once(entries: Iterable[Entry], session_s: float) -> tuple[tuple[str, ...], int]:
    """Attempts that began beside another one of their key, and how many attempts of frozen processes were run into.

    A process that was frozen for as long as its session is a zombie: its partitions are another's, and it cannot know
    that before it has run again for a while. For one more session its attempts are excused.
    """
    # The session is counted from the last heartbeat before the freeze, and that may be a third of it ago.
    expired_s = session_s * 2 / 3
    running: dict[tuple[int, str | None], list[_Attempt]] = {}
    frozen_s: dict[str, float] = {}
    zombie_until_s: dict[str, float] = {}
    beside: list[str] = []
    zombies: set[tuple[tuple[int, str | None], _Attempt]] = set()

    def is_zombie(who: str, at_s: float) -> bool:
        asleep_s = at_s - frozen_s.get(who, at_s)
        return asleep_s > expired_s or at_s <= zombie_until_s.get(who, 0.0)

    for entry in entries:
        lane = (entry.partition, entry.key)
        match entry.what:
            case "begin":
                here = _Attempt(entry.who, entry.offset)
                for other in running.setdefault(lane, []):
                    asleep = [one for one in (other, here) if other.who != here.who and is_zombie(one.who, entry.at_s)]
                    if asleep:
                        zombies.add((lane, asleep[0]))
                    else:
                        where = address((entry.partition, entry.offset))
                        beside.append(f"{where} in {entry.who} beside {other.offset} in {other.who} (key {entry.key})")
                running[lane].append(here)
            case "end" | "fail" | "cut" | "pass":
                attempts = running.get(lane, [])
                for one in attempts:
                    if one.who == entry.who and one.offset == entry.offset:
                        attempts.remove(one)
                        break
            case "killed" | "down":
                for attempts in running.values():
                    attempts[:] = [one for one in attempts if one.who != entry.who]
            case "frozen":
                frozen_s[entry.who] = entry.at_s
            case "thawed":
                if entry.at_s - frozen_s.pop(entry.who, entry.at_s) > expired_s:
                    zombie_until_s[entry.who] = entry.at_s + session_s
            case _:
                pass
    return tuple(beside), len(zombies)


# ---------------------------------------------------------------------------- producing


def _lost_writes(sent: Iterable[Sent], written: Iterable[Written]) -> tuple[int, ...]:
    there = {one.number for one in written}
    return tuple(one.number for one in sent if one.place is not None and one.number not in there)


def _denied_writes(sent: Iterable[Sent], written: Iterable[Written]) -> tuple[int, ...]:
    there = {one.number for one in written}
    return tuple(one.number for one in sent if one.never_written and one.number in there)


def _misplaced(evidence: Observations, written: dict[Place, Written]) -> tuple[str, ...]:
    wrong = []
    for one in evidence.sent:
        found = written.get(one.place) if one.place is not None else None
        if found is not None and one.place is not None and found.number != one.number:
            wrong.append(f"{address(one.place)}: {one.number} was acknowledged, {found.number} is there")
    for entry in evidence.entries:
        if entry.what == "begin":
            there = written.get((entry.partition, entry.offset))
            if there is None or there.key != entry.key:
                key = "nothing" if there is None else there.key
                where = address((entry.partition, entry.offset))
                wrong.append(f"{where}: {entry.who} got key {entry.key}, the log has {key}")
    return tuple(wrong)


def _reordered(written: Iterable[Written]) -> tuple[str, ...]:
    last: dict[str | None, int] = {}
    wrong = []
    for one in sorted(written, key=lambda one: (one.partition, one.offset)):
        if one.number < last.get(one.key, -1):
            wrong.append(f"{address((one.partition, one.offset))}: {one.number} after {last[one.key]} (key {one.key})")
        last[one.key] = max(one.number, last.get(one.key, -1))
    return tuple(wrong)


# ---------------------------------------------------------------------------- committing and standing still


def behind(committed: Mapping[int, int], end: Mapping[int, int]) -> tuple[str, ...]:
    """The partitions whose committed offset is not their end, in words."""
    return tuple(
        f"{partition}: {committed.get(partition, 0)} of {offset}"
        for partition, offset in sorted(end.items())
        if committed.get(partition, 0) != offset
    )


def _longest_stall(evidence: Observations, began_s: float) -> Stall:
    """The stall that is furthest over what is allowed to it, or else the longest one."""
    allowed_s = evidence.promises.session_s + evidence.promises.drain_s + GRACE_S
    away = [*evidence.outages, *_restless(evidence.entries, evidence.promises.session_s)]
    stalls = [
        Stall(
            lasted_s=round(to_s - from_s, 3),
            allowed_s=round(allowed_s + _covered(from_s, to_s, away), 3),
            partition=partition,
            from_s=round(from_s - began_s, 3),
        )
        for partition, from_s, to_s in _stalls(evidence)
    ]
    over = [stall for stall in stalls if stall.too_long]
    return max(over or stalls, key=lambda stall: stall.lasted_s, default=Stall(allowed_s=allowed_s))


def _stalls(evidence: Observations) -> Iterable[tuple[int, float, float]]:
    """By partition: times with at least one record to handle, between one first handling and the next."""
    first_end_s: dict[Place, float] = {}
    for entry in evidence.entries:
        if entry.what == "end":
            first_end_s.setdefault((entry.partition, entry.offset), entry.at_s)
    came_s = {one.place: one.acknowledged_s for one in evidence.sent if one.place is not None}
    moves: dict[int, list[tuple[float, int]]] = {}
    for one in evidence.written:
        place = (one.partition, one.offset)
        end_s = first_end_s.get(place)
        begin_s = came_s.get(place) or end_s
        if begin_s is None:
            continue  # neither acknowledged nor handled: it is lost, and nobody knows since when
        # A record may be handled before its sender has heard of the acknowledgement.
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
            yield partition, since_s, evidence.finished_s


def _restless(entries: Sequence[Entry], session_s: float) -> list[tuple[float, float]]:
    """Times in which one disturbance followed another before the group could have recovered."""
    times = sorted(entry.at_s for entry in entries if entry.what in DISTURBANCES)
    spans: list[tuple[float, float]] = []
    for at_s in times:
        if spans and at_s - spans[-1][1] <= session_s:
            spans[-1] = (spans[-1][0], at_s)
        else:
            spans.append((at_s, at_s))
    return spans


def _covered(from_s: float, to_s: float, spans: Iterable[tuple[float, float]]) -> float:
    """How much of a time lies in these spans, overlaps counted once."""
    covered_s, at_s = 0.0, from_s
    for begin_s, end_s in sorted(spans):
        begin_s, end_s = max(begin_s, at_s), min(end_s, to_s)
        if end_s > begin_s:
            covered_s += end_s - begin_s
            at_s = end_s
    return covered_s


def _faults(entries: Iterable[Entry]) -> dict[str, int]:
    return dict(Counter(str((entry.more or {}).get("kind", entry.what)) for entry in entries if entry.what in FAULTS))
