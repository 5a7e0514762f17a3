"""`evkafka verify`: run it, say it as a table or as JSON, end with 0 or 1."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evkafka.app import EVKafkaApp
from evkafka.cli.app_loader import load_app
from evkafka.cli.output import styled
from evkafka.exceptions import ConfigError
from evkafka.verify import Options, Report, verify
from evkafka.verify.instrumentation import choose_consumer


def run_verify(options: Options, *, as_json: bool) -> None:
    """Returns where nothing that was promised was broken.

    Raises:
        ConfigError, BrokerError: it could not be run.
        SystemExit: with 1, where something was broken.
    """
    if options.app is not None:
        _check(options)
    # SIGTERM ends it the way Ctrl-C does: the loop cancels the run, and the run ends its processes.
    signal.signal(signal.SIGTERM, lambda signum, frame: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs with it ignored
    screen = Console(stderr=True, highlight=False)
    report = asyncio.run(verify(options, lambda what: screen.print(styled((what, "dim")), soft_wrap=True)))
    if as_json:
        json.dump(report.as_json(), sys.stdout, indent=2)
        print()
    else:
        _show(report, Console(highlight=False))
    if not report.clean:
        raise SystemExit(1)


def payload_of(given: str | None) -> str | None:
    """The text, or what stands in the file after an @.

    Raises:
        ConfigError: the file cannot be read.
    """
    if given is None or not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text()
    except OSError as error:
        raise ConfigError(f"--payload {given}: the file cannot be read: {error.strerror}") from error


def _check(options: Options) -> None:
    """Find out here, in one sentence, what would otherwise end each of the processes."""
    assert options.app is not None
    app = load_app(options.app, options.app_dir)
    if not isinstance(app, EVKafkaApp):
        raise ConfigError(f"{options.app!r} is no EVKafkaApp: verify looks into an app's consumers")
    choose_consumer(app, options.consumer)


def _show(report: Report, screen: Console) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    for name, figure, remark in _lines(report):
        table.add_row(name, figure, remark)
    screen.print(table)
    for problem in report.problems:
        screen.print(styled(("broken", "red"), f"  {problem}"), soft_wrap=True)
    if report.clean:
        told = "nothing was lost, nothing was out of order, everything is committed"
        screen.print(styled(("kept", "green"), f"  {told}"))


def _lines(report: Report) -> list[tuple[str, str, str]]:
    faults = ", ".join(f"{many} {kind}" for kind, many in sorted(report.faults.items())) or "none"
    stall = report.stall
    ordered = report.out_of_order is not None
    return [
        ("faults", str(sum(report.faults.values())), f"{faults}; seed {report.seed}"),
        ("sent", str(report.sent), f"acknowledged {report.acknowledged}, with an error {report.unconfirmed}"),
        ("in the log", str(report.written), ""),
        ("lost writes", str(len(report.lost_writes)), "acknowledged, and not in the log"),
        ("written twice", str(len(report.double_writes)), ""),
        ("denied writes", str(len(report.denied_writes)), "said not to be in the log, and in it"),
        ("inconsistent offsets", str(len(report.misplaced)), ""),
        ("written out of order", str(len(report.reordered_writes)), ""),
        ("handled", str(report.handled), f"attempts that failed {report.failed}, were cut {report.cut}"),
        ("lost", str(len(report.lost)), "in the log, and never handled"),
        ("handled again", str(report.repeats), f"{report.repeats_percent:g} %"),
        ("out of order", str(len(report.out_of_order or ())) if ordered else "-", "first handlings, by key"),
        (
            "at once",
            str(len(report.at_once or ())) if ordered else "-",
            f"records of one key; beside these, {report.zombies} of processes frozen past their session",
        ),
        ("committed", f"{report.committed} of {report.end}", ""),
        ("longest stall", f"{stall.lasted_s:.1f} s", f"partition {stall.partition}, allowed {stall.allowed_s:.1f} s"),
    ]
