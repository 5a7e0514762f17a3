"""Lists the problems of an app, the worst first, each with the first thing to do. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from urllib.parse import urlencode

from evkafka.observe.health import Health
from evkafka.runtime.status import AppStatus
from evkafka.ui.models import ConsumerRow, OpenDeadLetters, PartitionRow, Problem
from evkafka.ui.status_text import CANNOT_READ, CANNOT_WRITE, PAUSED, RETRYING, RETRYING_S, STUCK, duration_text, plural

LATE_S = 60.0
"""If the oldest record of a partition was written longer ago than this, that is a problem."""

LATE_ENDS_S = 45.0
"""It stays one until the record is younger than this: else it would come and go while the age is about a minute."""


class ProblemList:
    """The problems of one app. It remembers which it listed last, so that none comes and goes each second."""

    def __init__(self) -> None:
        self._listed: frozenset[str] = frozenset()

    def update(
        self,
        status: AppStatus,
        ready: Health,
        live: Health,
        rows: list[ConsumerRow],
        dead_letters: OpenDeadLetters,
    ) -> list[Problem]:
        """The problems now: the bad ones first, and of equal ones the oldest first."""
        found = [
            *_problems_of_health(live, ready, _consumers_in_short_rebalance(status)),
            *(problem for row in rows for problem in self._problems_of_partitions(row)),
            *_problems_of_loop(status),
            *_problems_of_dead_letters(dead_letters["open"]),
        ]
        self._listed = frozenset(problem["key"] for problem in found)
        return sorted(found, key=_severity, reverse=True)

    def _problems_of_partitions(self, row: ConsumerRow) -> Iterator[Problem]:
        for partition in row["partitions"]:
            key = f"{row['name']}/{partition['topic']}/{partition['partition']}"
            if (problem := _partition_problem(row["name"], partition, key, was_late=key in self._listed)) is not None:
                yield problem


def _severity(problem: Problem) -> tuple[bool, float]:
    """A bad problem that lasts for an unknown time is about a whole consumer, or the app."""
    is_bad, for_s = problem["kind"] == "bad", problem["for_s"]
    return is_bad, for_s if for_s is not None else inf if is_bad else 0.0


def _consumers_in_short_rebalance(status: AppStatus) -> frozenset[str]:
    """Consumers that rebalance for some seconds only, as they do at each start of another member."""
    return frozenset(
        consumer.name
        for consumer in status.consumers
        if consumer.membership == "joining" and consumer.joining_s < RETRYING_S
    )


def _problems_of_health(live: Health, ready: Health, ignored: frozenset[str]) -> Iterator[Problem]:
    dead = {(check.kind, check.name, reason) for check in live.checks for reason in check.reasons}
    for health in (live, ready):
        for check in health.checks:
            if check.name in ignored and check.kind == "consumer" and health is ready:
                continue
            for number, reason in enumerate(check.reasons):
                if health is ready and (check.kind, check.name, reason) in dead:
                    continue
                is_consumer = check.kind == "consumer"
                yield Problem(
                    key=f"{check.kind}/{check.name}/{health is ready}/{number}",
                    kind="bad" if check.counts else "warn",
                    where=check.name,
                    what=reason,
                    for_s=None,
                    first=_advice_text(alive=health is ready, is_consumer=is_consumer),
                    screen="check" if is_consumer else "",
                    link="Run self-check" if is_consumer else "",
                )


def _advice_text(*, alive: bool, is_consumer: bool) -> str:
    if not alive:
        return "Only a restart of the process helps. First find out what the endpoint is waiting for."
    if is_consumer:
        return "Run the self-check: it checks the brokers, the topics and the login."
    return "Read the latest log lines of this process."


def _partition_problem(consumer: str, partition: PartitionRow, key: str, *, was_late: bool) -> Problem | None:
    where = f"{partition['topic']}[{partition['partition']}]"
    behind = f"{plural(partition['lag'], 'record')} behind" if partition["lag"] else "no lag"
    address = {"consumer": consumer, "topic": partition["topic"], "partition": partition["partition"]}
    screen, link = f"consumers?{urlencode(address)}", "View partition"
    kind, for_s = partition["kind"], partition["stuck_s"]
    match partition["state"]:
        case state if state == CANNOT_READ[0]:
            what = f"{where}: {partition['why']}"
            first = "The record is corrupt, or its codec is not installed. `on_error` can skip it."
        case state if state == CANNOT_WRITE[0]:
            what = f"{where}: {partition['why']}"
            first = "Check that topic: does it exist, is this login allowed to write to it, are its replicas in sync?"
        case state if state in (STUCK[0], RETRYING[0]):
            verb = "is stuck" if state == STUCK[0] else "is retrying"
            what = f"{where} {verb}: {partition['why']}; {behind}"
            first = "Look at the error. The records behind this one are waiting for it."
            if partition["error"] is not None:
                screen, link = f"errors?{urlencode({'error': partition['error']})}", "View error"
        case state if state == PAUSED[0]:
            what = f"{where} is paused; {behind}"
            first = "Resume it once the reason for the pause is gone."
        case state:
            age_s = partition["oldest_age_s"]
            if age_s is None or state == "Waiting" or age_s <= (LATE_ENDS_S if was_late else LATE_S):
                return None
            kind, for_s = "warn", age_s
            what = f"{where} is late: its oldest record was written {duration_text(age_s)} ago; {behind}"
            first = "If it does not catch up, raise `concurrency` or add members to the group."
    return Problem(key=key, kind=kind, where=consumer, what=what, for_s=for_s, first=first, screen=screen, link=link)


def _problems_of_loop(status: AppStatus) -> Iterator[Problem]:
    if status.loop_lag_s is not None and status.loop_lag_s > 1:
        yield Problem(
            key="loop",
            kind="warn",
            where="",
            what=f"the event loop was blocked for {status.loop_lag_s:.1f} s: no heartbeat was sent during that time",
            for_s=status.loop_lag_s,
            first="The log names the line. Blocking code belongs in a plain `def` endpoint.",
            screen="",
            link="",
        )


def _problems_of_dead_letters(number: int) -> Iterator[Problem]:
    if number:
        yield Problem(
            key="dead letters",
            kind="warn",
            where="",
            what=plural(number, "dead letter"),
            for_s=None,
            first="See why they failed, fix the cause, and replay them.",
            screen="letters",
            link="View dead letters",
        )
