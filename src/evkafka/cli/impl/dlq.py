"""What `evkafka dlq` does, and how it says it: tables and progress for people, JSON for programs."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from evkafka.cli.connection import DeadLetters
from evkafka.cli.output import as_text, block, plain, print_json, shown
from evkafka.dlq import (
    DeadLetterFilter,
    DeadLetterRecord,
    DeadLetterTopic,
    ReplayReport,
    Target,
    drop_dead_letters,
    dry_run_replay,
    replay_dead_letters,
)
from evkafka.dlq.dry_run import dry_run_check
from evkafka.dlq.replay import DryRunCheck, LocalHandler
from evkafka.dlq.replay import Progress as Watch
from evkafka.dlq.state_topic import Status
from evkafka.exceptions import ConfigError

SHOWN = 20
"""Of so many failures the reasons are printed."""


# ---------------------------------------------------------------------------- reading


def list_letters(
    where: DeadLetters, wanted: DeadLetterFilter, *, closed: bool, limit: int | None, as_json: bool
) -> None:
    """One line for each letter, in the order of the topic."""
    letters, total = asyncio.run(_listed(where, wanted, closed=closed, limit=limit, whole=False))
    if as_json:
        print_json([_brief(letter, status) for letter, status in letters])
        return
    table = Table("partition", "offset", "failed at", "event type", "attempts", "error", "from", box=None)
    if closed:
        table.add_column("status")
    for letter, status in letters:
        attempts = "" if letter.attempts is None else str(letter.attempts)
        cells = [
            *map(str, letter.position),
            f"{letter.failed_at:%Y-%m-%d %H:%M:%S}",
            letter.event_type or "",
            attempts,
        ]
        cells += [_error(letter), _origin(letter), *([status] if closed else [])]
        table.add_row(*(Text(plain(cell)) for cell in cells))
    # Into a file or a pipe goes one line for each.
    screen = Console(highlight=False, width=None if sys.stdout.isatty() else 300)
    if letters:
        screen.print(table)
    screen.print(_of_all(len(letters), total, "dead letter"), style="dim")


async def _listed(
    where: DeadLetters, wanted: DeadLetterFilter, *, closed: bool, limit: int | None, whole: bool
) -> tuple[list[tuple[DeadLetterRecord, Status]], int]:
    """The first letters that are wanted, and how many there are."""
    found: list[tuple[DeadLetterRecord, Status]] = []
    total = 0
    async with aclosing(_dead_letter_topic(where).read(wanted, closed=closed)) as letters:
        async for letter, status in letters:
            total += 1
            if limit is None or len(found) < limit:
                found.append((letter if whole else letter.without_content(), status))
    return found, total


def show_letter(where: DeadLetters, wanted: DeadLetterFilter, *, as_json: bool) -> None:
    """All of one letter: the last one, where there are several of one id."""
    found, _ = asyncio.run(_listed(where, wanted, closed=True, limit=None, whole=True))
    if not found:
        topic = where.topic
        raise ConfigError(f"there is no such dead letter in {topic!r}; `evkafka dlq list {topic} --all` tells them")
    letter, status = found[-1]
    record = letter.record
    told = _brief(letter, status) | {
        "traceback": letter.traceback,
        "key": as_text(record.key),
        "headers": [[name, as_text(value)] for name, value in record.headers],
        "value": as_text(record.value),
    }
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        if name == "headers":
            print("headers:")
            for header, text in value:
                if "traceback" not in header and "stacktrace" not in header:
                    print(f"  {plain(header)}: {plain(shown(text))}")
        elif name == "traceback":
            print(f"traceback:\n{block(value.rstrip())}" if value else "traceback: none")
        else:
            print(f"{name}: {block(shown(value))}")


# ---------------------------------------------------------------------------- doing


def replay(
    where: DeadLetters,
    wanted: DeadLetterFilter,
    *,
    to_topic: str | None,
    own_topic: bool,
    limit: int | None,
    rate: float | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Returns where every letter that was chosen is done.

    Raises:
        SystemExit: with 1, where some could not be handled.
    """
    target = Target(None if own_topic else to_topic, where.sources) if to_topic is not None else None
    if dry_run:
        _rehearse(where, wanted, target, limit=limit, force=force, as_json=as_json)
        return

    async def work(watch: Watch, report: ReplayReport) -> None:
        async with AsyncExitStack() as stack:
            to: Target | LocalHandler
            if target is not None:
                to = target
            else:
                from evkafka.cli.impl.dlq_handler import handling

                assert where.found.app is not None
                assert where.found.consumer is not None
                to = await stack.enter_async_context(handling(where.found.app, where.found.consumer))
            topic = _dead_letter_topic(where)
            await replay_dead_letters(
                topic, to, wanted, limit=limit, rate=rate, force=force, progress=watch, report=report
            )

    _do(work, "replaying", "replayed", as_json=as_json)


def drop(where: DeadLetters, wanted: DeadLetterFilter, *, limit: int | None, dry_run: bool, as_json: bool) -> None:
    """Mark them as dropped."""
    if dry_run:
        choice = asyncio.run(_dead_letter_topic(where).select(wanted, limit=limit))
        _say_would([(letter, None) for letter in choice.dead_letters.values()], choice.open, "dropped", as_json=as_json)
        return

    async def work(watch: Watch, report: ReplayReport) -> None:
        await drop_dead_letters(_dead_letter_topic(where), wanted, limit=limit, progress=watch, report=report)

    _do(work, "dropping", "dropped", as_json=as_json)


def _do(
    work: Callable[[Watch, ReplayReport], Coroutine[Any, Any, None]], doing: str, done: str, *, as_json: bool
) -> None:
    """What was done is said also where it ended by an error."""
    report = ReplayReport()
    try:
        with _watched(doing) as watch:
            _run(work(watch, report))
    except BaseException:
        if report.chosen:
            print(f"ended early: {report.done} of {report.chosen} {done}, and marked", file=sys.stderr)
        raise
    _say(report, done, as_json=as_json)


def _run(work: Coroutine[Any, Any, None]) -> None:
    # SIGTERM ends it the way Ctrl-C does; shells start background jobs with Ctrl-C ignored.
    signal.signal(signal.SIGTERM, lambda signum, frame: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.run(work)


@contextmanager
def _watched(doing: str) -> Iterator[Watch]:
    """A bar on stderr, where somebody looks at it."""
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _rehearse(
    where: DeadLetters,
    wanted: DeadLetterFilter,
    target: Target | None,
    *,
    limit: int | None,
    force: bool,
    as_json: bool,
) -> None:
    to: Target | DryRunCheck
    if target is not None:
        to, what = target, "sent"
    else:
        assert where.found.consumer is not None
        to, what = dry_run_check(where.found.consumer), "tried"
    result = asyncio.run(dry_run_replay(_dead_letter_topic(where), to, wanted, limit=limit, force=force))
    _say_would(result.results, result.open, what, as_json=as_json)


def _say_would(would: Sequence[tuple[DeadLetterRecord, str | None]], total: int, what: str, *, as_json: bool) -> None:
    """Args:
    would: each letter, and why it would not be.
    total: how many are open and wanted.
    """
    failing = sum(why is not None for _, why in would)
    if as_json:
        letters = [_brief(one, "open") | {"would": what if why is None else "fail", "why": why} for one, why in would]
        print_json({"dry_run": True, "chosen": len(would), "open": total, "letters": letters})
        return
    for letter, why in would:
        partition, offset = letter.position
        says = f"would be {what}" if why is None else f"would not be {what}: {why}"
        told = f"{letter.event_type or ''}  {_origin(letter)}  failed by {_error(letter) or 'an unknown error'}"
        print(f"{letter.record.topic}[{partition}]@{offset}  {plain(says)}  ({plain(told.strip())})")
    print(f"{_of_all(len(would) - failing, total, 'dead letter')} would be {what}; nothing was done")
    if failing:
        print(f"{failing} would not be {what}, and stay open")


def _of_all(shown: int, total: int, what: str) -> str:
    """`3 of 412 dead letters`; `1 dead letter` where that is all."""
    whose = f"{total} {what}{'' if total == 1 else 's'}"
    return whose if shown == total else f"{shown} of {whose}"


def _say(report: ReplayReport, what: str, *, as_json: bool) -> None:
    if as_json:
        failed = [_brief(one.dead_letter, "open") | {"why": one.reason} for one in report.failed]
        print_json({"chosen": report.chosen, what: report.done, "failed": failed})
    else:
        for one in report.failed[:SHOWN]:
            partition, offset = one.dead_letter.position
            print(f"failed  {one.dead_letter.record.topic}[{partition}]@{offset}: {plain(one.reason)}", file=sys.stderr)
        if len(report.failed) > SHOWN:
            print(f"failed  and {len(report.failed) - SHOWN} more", file=sys.stderr)
        still = f", {len(report.failed)} failed and stay open" if report.failed else ""
        print(f"{report.done} of {report.chosen} {what}{still}")
    if report.failed:
        raise SystemExit(1)


# ---------------------------------------------------------------------------- words


def _dead_letter_topic(where: DeadLetters) -> DeadLetterTopic:
    return DeadLetterTopic(where.found.connection, where.topic, type_header=where.found.type_header)


def _brief(letter: DeadLetterRecord, status: Status) -> dict[str, Any]:
    partition, offset = letter.position
    return {
        "id": letter.id,
        "status": status,
        "partition": partition,
        "offset": offset,
        "failed_at": letter.failed_at.isoformat(),
        "event_type": letter.event_type,
        "attempts": letter.attempts,
        "replays": letter.replays,
        "error_type": letter.error_type,
        "error_message": letter.error_message,
        "origin": {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "timestamp_ms": letter.timestamp_ms,
            "group": letter.group,
        },
    }


def _error(letter: DeadLetterRecord) -> str:
    name = letter.error_type.rpartition(".")[2]
    said = " ".join(letter.error_message.split())[:80]
    return f"{name}: {said}" if name else said


def _origin(letter: DeadLetterRecord) -> str:
    return f"{letter.topic}[{letter.partition}]@{letter.offset}" if letter.topic is not None else ""
