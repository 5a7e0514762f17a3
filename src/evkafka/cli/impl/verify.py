"""`evkafka verify`: runs a verification, and prints its report as a table or as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evkafka.app import EVKafkaApp
from evkafka.cli.connection import load_evkafka_app
from evkafka.cli.output import print_json, styled_line
from evkafka.cli.signals import interrupt_on_sigterm
from evkafka.exceptions import ConfigError
from evkafka.verify import Options, Report, verify
from evkafka.verify.broker_log import coordinator_faults_text
from evkafka.verify.instrumentation import choose_app_topic_to_imitate, choose_consumer
from evkafka.verify.record_values import create_app_decodable_value_function


def run_verify(options: Options, *, as_json: bool) -> None:
    """Run it, and print the report. Returns if every guarantee was kept.

    Raises:
        ConfigError, BrokerError, RegistryError: it could not be run.
        SystemExit: with 1, if a guarantee was broken.
    """
    app = _load_app(options.app, options) if options.app is not None else None
    interrupt_on_sigterm()  # Ctrl-C cancels the run, and the run ends its processes
    screen = Console(stderr=True, highlight=False)
    report = asyncio.run(
        _verify_and_return_report(options, app, lambda what: screen.print(styled_line((what, "dim")), soft_wrap=True))
    )
    if as_json:
        print_json(report.as_json())
    else:
        _print_report(report, Console(highlight=False))
    if not report.clean:
        raise SystemExit(1)


def payload_text_or_file_content(given: str | None) -> str | None:
    """The text itself, or the content of FILE for `@FILE`.

    Raises:
        ConfigError: the file cannot be read.
    """
    if given is None or not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text()
    except OSError as error:
        raise ConfigError(f"--payload {given}: the file cannot be read: {error.strerror}") from error


def _load_app(target: str, options: Options) -> EVKafkaApp:
    """Load it, and report here, in one sentence, what would otherwise end each of the processes."""
    app = load_evkafka_app(target, options.app_dir)
    choose_app_topic_to_imitate(app.consumers[choose_consumer(app, options.consumer)], options.topic)
    return app


async def _verify_and_return_report(
    options: Options, app: EVKafkaApp | None, progress: Callable[[str], object]
) -> Report:
    value_of = await create_app_decodable_value_function(app, options) if app is not None else None
    return await verify(options, progress, value_of=value_of)


def _print_report(report: Report, screen: Console) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    for name, figure, remark in _report_rows(report):
        table.add_row(name, figure, remark)
    screen.print(table)
    for problem in report.problems:
        screen.print(styled_line(("failed", "red"), f"  {problem}"), soft_wrap=True)
    if report.problems and report.coordinator_faults:
        screen.print(
            styled_line(("note", "yellow"), f"    {coordinator_faults_text(report.coordinator_faults)}"), soft_wrap=True
        )
    if report.clean:
        once = "" if report.outputs is None else ", nothing is twice in the output"
        summary = f"nothing was lost, nothing was out of order{once}, everything is committed"
        screen.print(styled_line(("passed", "green"), f"  {summary}"))


def _output_rows(report: Report) -> list[tuple[str, str, str]]:
    if report.outputs is None:
        return []
    return [
        ("in the output", str(report.outputs), "for readers of committed records"),
        ("lost in the output", str(len(report.lost_outputs)), ""),
        ("twice in the output", str(len(report.double_outputs)), ""),
        ("output out of order", str(len(report.reordered_outputs)), "by key"),
    ]


def _report_rows(report: Report) -> list[tuple[str, str, str]]:
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(report.faults.items())) or "none"
    causes = "".join(f", {count} {cause}" for cause, count in sorted(report.repeats_by_cause.items()))
    stall = report.stall
    ordered = report.out_of_order is not None
    return [
        ("faults", str(sum(report.faults.values())), f"{faults}; seed {report.seed}"),
        ("group protocol", report.group_protocol, ""),
        ("sent", str(report.sent), f"acknowledged {report.acknowledged}, with an error {report.unconfirmed}"),
        ("in the log", str(report.written), ""),
        ("lost writes", str(len(report.lost_writes)), "acknowledged, but not in the log"),
        ("written twice", str(len(report.double_writes)), ""),
        ("denied writes", str(len(report.denied_writes)), "reported as failed, but in the log"),
        ("inconsistent offsets", str(len(report.misplaced)), ""),
        ("written out of order", str(len(report.reordered_writes)), ""),
        ("handled", str(report.handled), f"failed attempts {report.failed}, cancelled {report.cut}"),
        ("lost", str(len(report.lost)), "in the log, but never handled"),
        ("handled again", str(report.repeats), f"{report.repeats_percent:g} %{causes}"),
        *_output_rows(report),
        ("out of order", str(len(report.out_of_order or ())) if ordered else "-", "first handlings, by key"),
        (
            "at once",
            str(len(report.at_once or ())) if ordered else "-",
            f"records of one key; not counted: {report.zombies} by processes frozen past their session",
        ),
        ("committed", f"{report.committed} of {report.end}", ""),
        ("longest stall", f"{stall.lasted_s:.1f} s", f"partition {stall.partition}, allowed {stall.allowed_s:.1f} s"),
    ]
