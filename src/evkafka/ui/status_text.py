"""Describes states in words, and lists problems, the worst first, each with the first thing to do. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from evkafka.observe.health import Health
from evkafka.runtime.status import AppStatus, ConsumerStatus, PartitionStatus
from evkafka.ui.models import ConsumerRow, Kind, PartitionRow, Problem

LATE_S = 60.0
"""If the oldest record of a partition waits longer than this, that is a problem."""

Label = tuple[str, Kind]
"""The name of a state, and how it is shown."""


def consumer_state(consumer: ConsumerStatus, *, ended: bool) -> Label:
    if ended:
        return "Ended", "bad"
    if consumer.stopping:
        return "Stopping", ""
    match consumer.membership:
        case "none":
            return "No connection", "bad"
        case "lost":
            return "The brokers do not answer", "bad"
        case "connecting":
            return "Connecting", "warn"
        case "joining":
            return "Rebalancing", "warn"
        case _:
            return _running_state(consumer.partitions)


def _running_state(partitions: tuple[PartitionStatus, ...]) -> Label:
    if not partitions:
        return "Standing by", ""
    if any(partition.held for partition in partitions):
        return "Cannot read on", "bad"
    if any(partition.unwritten for partition in partitions):
        return "Cannot write", "bad"
    if any(partition.retrying for partition in partitions):
        return "Retrying", "warn"
    if any(partition.paused for partition in partitions):
        return "Paused", "warn"
    return ("Reading", "good") if any(partition.lag for partition in partitions) else ("Up to date", "good")


def partition_state(partition: PartitionStatus) -> tuple[str, Kind, str]:
    """The state, how it is shown, and all reasons for it."""
    why = []
    if partition.held:
        why.append(f"the client cannot read offset {partition.position}")
    if partition.paused:
        why.append("paused by a person; nothing begins until it is resumed")
    if partition.retrying:
        why.append(f"{partition.retrying} waiting for the next attempt, the oldest at offset {partition.oldest}")
    if partition.unwritten:
        first = partition.unwritten[0]
        why.append(f"offset {first.offset} cannot be written to {first.topic}, for {first.age_s:.0f} s: {first.error}")
    if partition.full:
        why.append("as much is in hand as may be; it is read on when some of it is done")
    if partition.undecided:
        why.append(
            f"a transaction is open at offset {partition.end}: what is written from there on, up to offset"
            f" {partition.high_watermark}, is read when it is decided"
        )
    if partition.due_in_s is not None:
        why.append(f"its next record is due in {partition.due_in_s:.0f} s")
    label: Label = ("Reading", "good")
    if partition.held:
        label = ("Cannot read on", "bad")
    elif partition.paused:
        label = ("Paused", "warn")
    elif partition.unwritten:
        label = ("Cannot write", "bad")
    elif partition.retrying:
        label = ("Retrying", "warn")
    elif partition.full:
        label = ("Full", "warn")
    elif partition.due_in_s is not None:
        label = ("Waiting", "")
    return *label, "; ".join(why)


def problems(
    status: AppStatus, ready: Health, live: Health, rows: list[ConsumerRow], *, open_dead_letters: int
) -> list[Problem]:
    found = [
        *_problems_of_health(live, ready),
        *_problems_of_consumers(rows),
        *_problems_of_loop(status),
        *_problems_of_dead_letters(open_dead_letters),
    ]
    return sorted(found, key=lambda problem: problem["kind"] != "bad")


def _problems_of_health(live: Health, ready: Health) -> Iterator[Problem]:
    dead = {(check.kind, check.name, reason) for check in live.checks for reason in check.reasons}
    for health in (live, ready):
        for check in health.checks:
            for reason in check.reasons:
                if health is ready and (check.kind, check.name, reason) in dead:
                    continue
                yield Problem(
                    kind="bad" if check.counts else "warn",
                    where=check.name,
                    what=reason,
                    first=_advice(alive=health is ready, kind=check.kind),
                    screen="check" if check.kind == "consumer" else "",
                )


def _advice(*, alive: bool, kind: str) -> str:
    if not alive:
        return "Only a new process helps: see what the endpoint waits for, then restart this one."
    if kind == "consumer":
        return "See whether the brokers, the topic and the login are in order: the self-check tells."
    return "Read the log of this process from here back."


def _problems_of_consumers(rows: list[ConsumerRow]) -> Iterator[Problem]:
    for row in rows:
        screen = f"consumers?consumer={row['name']}"
        for partition in row["partitions"]:
            if (problem := _partition_problem(row["name"], partition, screen)) is not None:
                yield problem


def _partition_problem(consumer: str, partition: PartitionRow, screen: str) -> Problem | None:
    where = f"{partition['topic']}[{partition['partition']}]"
    behind = f"{partition['lag']:,} records behind" if partition["lag"] else "not behind"
    kind: Kind = "warn"
    match partition["state"]:
        case "Cannot read on":
            kind = "bad"
            what = f"{where}: {partition['why']}"
            first = "The record is damaged, or of a codec that is missing here: on_error can pass it over."
        case "Cannot write":
            kind = "bad"
            what = f"{where}: {partition['why']}"
            first = "Look at that topic: is it there, may this login write to it, are its replicas in sync?"
        case "Retrying":
            what = f"{where} is tried again from offset {partition['oldest']}, and {behind}"
            first = "Look at the error: what is behind the record waits for it."
            screen = "errors"
        case "Paused":
            what = f"{where} is paused, and {behind}"
            first = "Resume it when what it was paused for is done."
        case state:
            age_s = partition["oldest_age_s"]
            if age_s is None or age_s <= LATE_S or state == "Waiting":
                return None
            what = f"{where} is {age_s:.0f} s late, and {behind}"
            first = "If it does not catch up: more concurrency, or more members."
    return Problem(kind=kind, where=consumer, what=what, first=first, screen=screen)


def _problems_of_loop(status: AppStatus) -> Iterator[Problem]:
    if status.loop_lag_s is not None and status.loop_lag_s > 1:
        yield Problem(
            kind="warn",
            where="",
            what=f"the event loop was held for {status.loop_lag_s:.1f} s: no heartbeat could run meanwhile",
            first="The log names the line; what blocks belongs into a plain `def` endpoint.",
            screen="",
        )


def _problems_of_dead_letters(number: int) -> Iterator[Problem]:
    if number:
        yield Problem(
            kind="warn",
            where="",
            what=f"{number:,} record{'' if number == 1 else 's'} stand among the dead letters, still open",
            first="See why they failed, correct it, and replay them.",
            screen="letters",
        )
