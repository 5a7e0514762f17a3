"""What `evkafka dlq` does, and how it says it: tables and progress for people, JSON for programs."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from evkafka.cli.dlq_given import Given
from evkafka.cli.words import as_text, plain, print_json, shown
from evkafka.dlq import Desk, Letter, Report, Target, Wanted
from evkafka.dlq.desk import Progress as Watch
from evkafka.dlq.desk import without_record
from evkafka.dlq.marks import Status
from evkafka.exceptions import ConfigError

SHOWN = 20
"""Of so many failures the reasons are printed."""


# ---------------------------------------------------------------------------- reading


def list_letters(where: Given, topic: str, wanted: Wanted, *, closed: bool, limit: int | None, as_json: bool) -> None:
    """One line for each letter, in the order of the topic."""
    letters = asyncio.run(_listed(where, topic, wanted, closed=closed, limit=limit, whole=False))
    if as_json:
        print_json([_brief(letter, status) for letter, status in letters])
        return
    table = Table("partition", "offset", "failed at", "event type", "attempts", "error", "from", box=None)
    if closed:
        table.add_column("status")
    for letter, status in letters:
        attempts = "" if letter.attempts is None else str(letter.attempts)
        cells = [
            *map(str, _address(letter)),
            f"{letter.failed_at:%Y-%m-%d %H:%M:%S}",
            letter.event_type or "",
            attempts,
        ]
        cells += [_error(letter), _origin(letter), *([status] if closed else [])]
        table.add_row(*(escape(plain(cell)) for cell in cells))
    # Into a file or a pipe goes one line for each.
    screen = Console(highlight=False, width=None if sys.stdout.isatty() else 300)
    if letters:
        screen.print(table)
    screen.print(f"{len(letters)} dead letters" if len(letters) != 1 else "1 dead letter", style="dim")


async def _listed(
    where: Given, topic: str, wanted: Wanted, *, closed: bool, limit: int | None, whole: bool
) -> list[tuple[Letter, Status]]:
    found: list[tuple[Letter, Status]] = []
    async for letter, status in _desk(where, topic).letters(wanted, closed=closed):
        found.append((letter if whole else without_record(letter), status))
        if len(found) == limit:
            break
    return found


def show_letter(where: Given, topic: str, wanted: Wanted, *, as_json: bool) -> None:
    """All of one letter: the last one, where there are several of one id."""
    found = asyncio.run(_listed(where, topic, wanted, closed=True, limit=None, whole=True))
    if not found:
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
            print(f"traceback:\n{plain(value.rstrip())}" if value else "traceback: none")
        else:
            print(f"{name}: {plain(shown(value))}")


# ---------------------------------------------------------------------------- doing


def replay(
    where: Given,
    topic: str,
    wanted: Wanted,
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
    if dry_run:
        _would(where, topic, wanted, limit, "replayed", as_json=as_json)
        return

    async def work(watch: Watch) -> Report:
        async with AsyncExitStack() as stack:
            if to_topic is not None:
                target = Target(None if own_topic else to_topic)
                return await _desk(where, topic).replay(
                    target, wanted, limit=limit, rate=rate, force=force, progress=watch
                )
            from evkafka.cli.dlq_handler import handling

            assert where.app is not None
            assert where.consumer is not None
            handle = await stack.enter_async_context(handling(where.app, where.consumer))
            return await _desk(where, topic).replay(handle, wanted, limit=limit, rate=rate, force=force, progress=watch)

    with _watched("replaying") as watch:
        report = _run(work(watch))
    _say(report, "replayed", as_json=as_json)


def drop(where: Given, topic: str, wanted: Wanted, *, limit: int | None, dry_run: bool, as_json: bool) -> None:
    """Mark them as dropped."""
    if dry_run:
        _would(where, topic, wanted, limit, "dropped", as_json=as_json)
        return
    with _watched("dropping") as watch:
        report = _run(_desk(where, topic).drop(wanted, limit=limit, progress=watch))
    _say(report, "dropped", as_json=as_json)


def _run(work: Any) -> Report:
    # SIGTERM ends it the way Ctrl-C does; shells start background jobs with Ctrl-C ignored.
    signal.signal(signal.SIGTERM, lambda signum, frame: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    report: Report = asyncio.run(work)
    return report


@contextmanager
def _watched(doing: str) -> Iterator[Watch]:
    """A bar on stderr, where somebody looks at it."""
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _would(where: Given, topic: str, wanted: Wanted, limit: int | None, what: str, *, as_json: bool) -> None:
    chosen = asyncio.run(_desk(where, topic).choose(wanted, limit=limit)).values()
    if as_json:
        print_json({"dry_run": True, "chosen": len(chosen), "letters": [_brief(one, "open") for one in chosen]})
        return
    for letter in chosen:
        partition, offset = _address(letter)
        told = f"{letter.event_type or ''}  {_error(letter)}  {_origin(letter)}"
        print(f"{topic}[{partition}]@{offset}  {plain(told)}")
    print(f"{len(chosen)} would be {what}")


def _say(report: Report, what: str, *, as_json: bool) -> None:
    if as_json:
        failed = [_brief(one.letter, "open") | {"why": one.why} for one in report.failed]
        print_json({"chosen": report.chosen, what: report.done, "failed": failed})
    else:
        for one in report.failed[:SHOWN]:
            partition, offset = _address(one.letter)
            print(f"failed  {one.letter.record.topic}[{partition}]@{offset}: {plain(one.why)}", file=sys.stderr)
        if len(report.failed) > SHOWN:
            print(f"failed  and {len(report.failed) - SHOWN} more", file=sys.stderr)
        still = f", {len(report.failed)} failed and stay open" if report.failed else ""
        print(f"{report.done} of {report.chosen} {what}{still}")
    if report.failed:
        raise SystemExit(1)


# ---------------------------------------------------------------------------- words


def _desk(where: Given, topic: str) -> Desk:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it says there, our errors say
    return Desk(where.connection, topic, type_header=where.type_header)


def _address(letter: Letter) -> tuple[int, int]:
    return letter.record.partition, letter.record.offset


def _brief(letter: Letter, status: Status) -> dict[str, Any]:
    partition, offset = _address(letter)
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


def _error(letter: Letter) -> str:
    name = letter.error_type.rpartition(".")[2]
    said = " ".join(letter.error_message.split())[:80]
    return f"{name}: {said}" if name else said


def _origin(letter: Letter) -> str:
    return f"{letter.topic}[{letter.partition}]@{letter.offset}" if letter.topic is not None else ""
