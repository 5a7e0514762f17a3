"""`evkafka dlq`: lists, shows, replays and discards dead letters."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from typing import Any

from evkafka.cli.connection import FoundDeadLetterTopic
from evkafka.cli.impl.dlq_table import error_text_of, origin_text_of, print_letters
from evkafka.cli.impl.local_consumer import start_lifespan_and_producers
from evkafka.cli.output import (
    bytes_to_text_or_base64,
    counted,
    escape_indented,
    escape_indented_after_first,
    format_decoded_value,
    print_json,
    show_progress_bar,
    stdout_console,
)
from evkafka.cli.signals import interrupt_on_sigterm
from evkafka.dlq import (
    DeadLetterFilter,
    DeadLetterPosition,
    DeadLetterRecord,
    DeadLetterTopic,
    ReplayReport,
    Target,
    drop_dead_letters,
    dry_run_replay,
    replay_dead_letters,
)
from evkafka.dlq.dry_run import create_reaches_endpoint_check
from evkafka.dlq.local_handler import create_local_handler
from evkafka.dlq.replay import DryRunCheck, LocalHandler, Progress
from evkafka.dlq.state_topic import Status
from evkafka.exceptions import ConfigError
from evkafka.serde.safe_text import escape_line

MAX_FAILURES = 20
"""The reasons of so many failures are printed."""

LIST_LIMIT = 20
"""So many letters are listed by default."""

NO_MATCH = "no open dead letter matches"

STATUS_WORDS: Mapping[Status, str] = {"open": "open", "replayed": "replayed", "dropped": "discarded"}


# ---------------------------------------------------------------------------- list and show


def list_letters(
    dead_letters: FoundDeadLetterTopic, wanted: DeadLetterFilter, *, closed: bool, limit: int | None, as_json: bool
) -> None:
    """Print a line for each letter, the newest first.

    Args:
        limit: of the printed letters; None for `LIST_LIMIT`, or for all as JSON.
    """
    most = sys.maxsize if as_json and limit is None else limit or LIST_LIMIT
    letters = asyncio.run(_find_newest_letters(dead_letters, wanted, closed=closed, limit=most))
    if as_json:
        print_json([letter_json(letter, status) for letter, status in letters.newest])
        return
    if not letters.matching:
        print(_no_match_text(dead_letters.topic, letters.total))
        return
    print_letters(
        [(letter, STATUS_WORDS[status]) for letter, status in letters.newest],
        with_status=closed,
        width=stdout_console().width,
    )
    more = f", newest first; --limit {letters.matching} lists all" if letters.matching > most else ""
    stdout_console().print(_count_of_total_text(len(letters.newest), letters.matching) + more, style="dim")


@dataclass(frozen=True, slots=True)
class _Listed:
    """Letters of a topic, and how many there are.

    Attributes:
        newest: the newest wanted letters, without their content.
        matching: the number of wanted letters.
        total: the number of letters, wanted or not.
    """

    newest: list[tuple[DeadLetterRecord, Status]]
    matching: int
    total: int


async def _find_newest_letters(
    dead_letters: FoundDeadLetterTopic, wanted: DeadLetterFilter, *, closed: bool, limit: int
) -> _Listed:
    kept: list[tuple[datetime, DeadLetterPosition, DeadLetterRecord, Status]] = []  # a heap, the oldest first
    matching = total = 0
    async with aclosing(_dead_letter_topic_reader(dead_letters).read(DeadLetterFilter(), closed=closed)) as letters:
        async for letter, status in letters:
            total += 1
            if not wanted.matches(letter):
                continue
            matching += 1
            heappush(kept, (letter.failed_at, letter.position, letter.copy_without_content(), status))
            if len(kept) > limit:
                heappop(kept)
    newest = [(letter, status) for _, _, letter, status in sorted(kept, key=lambda one: one[:2], reverse=True)]
    return _Listed(newest, matching, total)


def _no_match_text(topic: str, total: int) -> str:
    """The answer to a filter that matches no letter."""
    if not total:
        return f"no dead letters in {topic}"
    return f"no dead letter matches, of {total} in {topic}"


def show_letter(dead_letters: FoundDeadLetterTopic, wanted: DeadLetterFilter, *, as_json: bool) -> None:
    """Print all of one letter; the last one, if several have the same id."""
    found = asyncio.run(_find_last_matching_letter(dead_letters, wanted))
    if found is None:
        topic = dead_letters.topic
        raise ConfigError(f"{topic!r} has no such dead letter; `evkafka dlq list {topic} --all` lists them")
    letter, status = found
    record = letter.record
    fields = letter_json(letter, status) | {
        "traceback": letter.traceback,
        "key": bytes_to_text_or_base64(record.key),
        "headers": [[name, bytes_to_text_or_base64(value)] for name, value in record.headers],
        "value": bytes_to_text_or_base64(record.value),
    }
    if as_json:
        print_json(fields)
        return
    for name, value in fields.items():
        if name == "headers":
            print("headers:")
            for header, text in value:
                if "traceback" not in header and "stacktrace" not in header:
                    print(f"  {escape_line(header)}: {escape_line(format_decoded_value(text))}")
        elif name == "traceback":
            print(f"traceback:\n{escape_indented(value.rstrip())}" if value else "traceback: none")
        else:
            print(f"{name}: {escape_indented_after_first(format_decoded_value(value))}")


async def _find_last_matching_letter(
    dead_letters: FoundDeadLetterTopic, wanted: DeadLetterFilter
) -> tuple[DeadLetterRecord, Status] | None:
    found = None
    async with aclosing(_dead_letter_topic_reader(dead_letters).read(wanted, closed=True)) as letters:
        async for letter in letters:
            found = letter
    return found


# ---------------------------------------------------------------------------- replay and drop


def replay_letters(
    dead_letters: FoundDeadLetterTopic,
    wanted: DeadLetterFilter,
    target: Target | None,
    *,
    limit: int | None,
    rate: float | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Replay the letters. Returns if every chosen letter is done.

    Args:
        target: the topic to send them to; None to handle them here.

    Raises:
        SystemExit: with 1, if a letter could not be handled.
    """
    if dry_run:
        _predict_and_print_replay(dead_letters, wanted, target, limit=limit, force=force, as_json=as_json)
        return

    async def work(progress: Progress, report: ReplayReport) -> None:
        async with AsyncExitStack() as stack:
            to: Target | LocalHandler
            if target is not None:
                to = target
            else:
                app, declared = dead_letters.cluster.app, dead_letters.cluster.consumer
                assert app is not None
                assert declared is not None
                to = create_local_handler(*await stack.enter_async_context(start_lifespan_and_producers(app, declared)))
            topic = _dead_letter_topic_reader(dead_letters)
            await replay_dead_letters(
                topic, to, wanted, limit=limit, rate=rate, force=force, progress=progress, report=report
            )

    _run_with_progress(work, "replaying", "replayed", as_json=as_json)


def drop_letters(
    dead_letters: FoundDeadLetterTopic, wanted: DeadLetterFilter, *, limit: int | None, dry_run: bool, as_json: bool
) -> None:
    """Discard the letters: mark them as dropped."""
    if dry_run:
        choice = asyncio.run(_dead_letter_topic_reader(dead_letters).select(wanted, limit=limit))
        letters = [(letter, None) for letter in choice.dead_letters.values()]
        _print_dry_run(letters, choice.open, "discarded", as_json=as_json)
        return

    async def work(progress: Progress, report: ReplayReport) -> None:
        await drop_dead_letters(
            _dead_letter_topic_reader(dead_letters), wanted, limit=limit, progress=progress, report=report
        )

    _run_with_progress(work, "discarding", "discarded", as_json=as_json)


def _run_with_progress(
    work: Callable[[Progress, ReplayReport], Coroutine[Any, Any, None]], doing: str, done: str, *, as_json: bool
) -> None:
    """Run the work with a progress bar, and print its report. An error that ends it early also prints what was done."""
    report = ReplayReport()
    try:
        with show_progress_bar(doing) as progress:
            interrupt_on_sigterm()
            asyncio.run(work(progress, report))
    except BaseException:
        if report.chosen:
            print(f"stopped early: {report.done} of {report.chosen} {done}, and marked", file=sys.stderr)
        raise
    _print_report(report, done, as_json=as_json)


def _predict_and_print_replay(
    dead_letters: FoundDeadLetterTopic,
    wanted: DeadLetterFilter,
    target: Target | None,
    *,
    limit: int | None,
    force: bool,
    as_json: bool,
) -> None:
    to: Target | DryRunCheck
    if target is not None:
        to, done = target, "sent"
    else:
        assert dead_letters.cluster.consumer is not None
        to, done = create_reaches_endpoint_check(dead_letters.cluster.consumer), "tried"
    result = asyncio.run(dry_run_replay(_dead_letter_topic_reader(dead_letters), to, wanted, limit=limit, force=force))
    _print_dry_run(result.results, result.open, done, as_json=as_json)


def _dead_letter_topic_reader(dead_letters: FoundDeadLetterTopic) -> DeadLetterTopic:
    return DeadLetterTopic(
        dead_letters.cluster.connection, dead_letters.topic, type_header=dead_letters.cluster.type_header
    )


# ---------------------------------------------------------------------------- output


def _print_dry_run(
    letters: Sequence[tuple[DeadLetterRecord, str | None]], total: int, done: str, *, as_json: bool
) -> None:
    """Print what would be done with each letter.

    Args:
        letters: each with the reason why it would fail; None if it would not.
        total: the number of wanted letters that are open.
        done: what would be done with them.
    """
    failing = sum(why is not None for _, why in letters)
    if as_json:
        rows = [
            letter_json(one, "open") | {"would": done if why is None else "fail", "why": why} for one, why in letters
        ]
        print_json({"dry_run": True, "chosen": len(letters), "open": total, "letters": rows})
        return
    for letter, why in letters:
        partition, offset = letter.position
        verdict = f"would be {done}" if why is None else f"would not be {done}: {why}"
        error = error_text_of(letter) or "an unknown error"
        details = f"{letter.event_type or ''}  {origin_text_of(letter)}  failed by {error}"
        print(f"{letter.record.topic}[{partition}]@{offset}  {escape_line(verdict)}  ({escape_line(details.strip())})")
    if not letters:
        print(NO_MATCH)
        return
    print(f"{_count_of_total_text(len(letters) - failing, total)} would be {done}; nothing was done")
    if failing:
        print(f"{failing} would not be {done}, and {_stay_or_stays(failing)} open")


def _print_report(report: ReplayReport, done: str, *, as_json: bool) -> None:
    if as_json:
        failed = [letter_json(one.dead_letter, "open") | {"why": one.reason} for one in report.failed]
        print_json({"chosen": report.chosen, done: report.done, "failed": failed})
    else:
        for one in report.failed[:MAX_FAILURES]:
            partition, offset = one.dead_letter.position
            print(
                f"failed  {one.dead_letter.record.topic}[{partition}]@{offset}: {escape_line(one.reason)}",
                file=sys.stderr,
            )
        if len(report.failed) > MAX_FAILURES:
            print(f"failed  and {len(report.failed) - MAX_FAILURES} more", file=sys.stderr)
        still = f", {len(report.failed)} failed and {_stay_or_stays(len(report.failed))} open" if report.failed else ""
        print(f"{report.done} of {report.chosen} {done}{still}" if report.chosen else NO_MATCH)
    if report.failed:
        raise SystemExit(1)


def _count_of_total_text(count: int, total: int) -> str:
    """`3 of 412 dead letters`, or `1 dead letter` if that is all."""
    all_of_them = counted(total, "dead letter")
    return all_of_them if count == total else f"{count} of {all_of_them}"


def _stay_or_stays(letters: int) -> str:
    return "stays" if letters == 1 else "stay"


def letter_json(letter: DeadLetterRecord, status: Status) -> dict[str, Any]:
    partition, offset = letter.position
    return {
        "id": letter.id,
        "status": STATUS_WORDS[status],
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
