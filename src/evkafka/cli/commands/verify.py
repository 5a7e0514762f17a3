"""`evkafka verify`: its options."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from evkafka.cli.command import command
from evkafka.cli.options import RUN


@dataclass(frozen=True, slots=True)
class _Load:
    minutes: Annotated[float, typer.Option(help="Duration of load and faults, in minutes.", metavar="N", min=0)] = 1.0
    seconds: Annotated[
        float | None, typer.Option(help="Duration in seconds; instead of --minutes.", metavar="N", min=1)
    ] = None
    processes: Annotated[int, typer.Option(help="Processes that run the app.", metavar="N", min=1)] = 3
    seed: Annotated[
        int | None, typer.Option(help="Repeat the schedule of the run with this seed. Default: random.", metavar="N")
    ] = None
    rate: Annotated[int, typer.Option(help="Records per second.", metavar="N", min=1)] = 400
    partitions: Annotated[int, typer.Option(help="Partitions of the topic.", metavar="N", min=1)] = 6
    keys: Annotated[int, typer.Option(help="Different keys of the records.", metavar="N", min=1)] = 200


@dataclass(frozen=True, slots=True)
class _Faults:
    kill_every: Annotated[
        float, typer.Option(help="Seconds between two SIGKILLs; 0 for none.", metavar="SECONDS", min=0)
    ] = 10.0
    fault_every: Annotated[
        float, typer.Option(help="Seconds between two other faults; 0 for none.", metavar="SECONDS", min=0)
    ] = 15.0
    faults: Annotated[
        str | None,
        typer.Option(
            help="The other faults: stop, freeze, members, broker, cancel.", metavar="A,B", show_default="all"
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class _Consuming:
    concurrency: Annotated[
        int | None, typer.Option(help="Records in flight.", metavar="N", min=1, show_default="16")
    ] = None
    ordering: Annotated[
        str | None, typer.Option(help="key, partition or unordered.", metavar="ORDER", show_default="key")
    ] = None
    delivery: Annotated[
        str,
        typer.Option(
            help="at-least-once, or exactly-once: the built-in app writes an output for each record, which is checked.",
            metavar="GUARANTEE",
        ),
    ] = "at-least-once"
    group_protocol: Annotated[
        str | None,
        typer.Option(help="classic, consumer or auto. Default: classic, or the given app's own.", metavar="PROTOCOL"),
    ] = None
    session_timeout_ms: Annotated[
        int | None,
        typer.Option(
            help="Of the consumer; with the consumer protocol, of the broker.",
            metavar="MS",
            min=500,
            show_default="6000",
        ),
    ] = None
    auto_commit_interval_ms: Annotated[
        int | None, typer.Option(help="Of the consumer.", metavar="MS", min=0, show_default="100")
    ] = None
    work_ms: Annotated[float, typer.Option(help="Duration of the built-in app's endpoint.", metavar="MS", min=0)] = 5.0

    def consumer_config(self) -> dict[str, Any]:
        """The consumer's keys that are given. The heartbeat interval follows from the session timeout."""
        config = {
            "concurrency": self.concurrency,
            "ordering": self.ordering,
            "session_timeout_ms": self.session_timeout_ms,
            "heartbeat_interval_ms": None if self.session_timeout_ms is None else self.session_timeout_ms // 5,
            "auto_commit_interval_ms": self.auto_commit_interval_ms,
        }
        return {key: value for key, value in config.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _App:
    app: Annotated[
        str | None, typer.Option("--app", metavar="MODULE:APP", help="Verify this app instead of the built-in one.")
    ] = None
    app_dir: Annotated[
        Path, typer.Option(help="The directory that is searched first for the module.", metavar="DIR")
    ] = Path()
    consumer: Annotated[str | None, typer.Option(help="One of the app's consumers.", metavar="NAME")] = None
    topic: Annotated[
        str | None,
        typer.Option(help="The consumer's topic whose format and schema the records get.", metavar="NAME"),
    ] = None
    event_type: Annotated[str, typer.Option(help="The event type of the records.", metavar="TYPE")] = "Verify"
    payload: Annotated[
        str | None,
        typer.Option(
            help="The value of the records, with {n} for the number and {key} for the key; @FILE reads a file.",
            metavar="TEXT",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class _Run:
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(help="Use these brokers, and a new topic. Default: start a broker.", metavar="HOST:PORT"),
    ] = None
    settle: Annotated[
        float, typer.Option(help="Seconds after the load in which all must be handled.", metavar="SECONDS", min=1)
    ] = 90.0
    max_duplicates: Annotated[
        float | None,
        typer.Option(
            help="Percentage of records that may be handled twice.", metavar="PERCENT", min=0, show_default="any"
        ),
    ] = None
    keep: Annotated[Path | None, typer.Option(help="Keep journal and logs in this directory.", metavar="DIR")] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False


@command("verify", panel=RUN, short_help="Test for lost records, with kills and faults.")
def verify_command(load: _Load, faults: _Faults, consuming: _Consuming, app: _App, run: _Run) -> None:
    """Run an app under load, SIGKILLs and other faults, then check that no record is lost.

    Exits with code 1 if a check fails.
    """
    from evkafka.cli.impl.verify import payload_text_or_file_content, run_verify
    from evkafka.verify.options import Options, parse_delivery, parse_fault_kinds, parse_group_protocol

    options = Options(
        lasts_s=load.minutes * 60 if load.seconds is None else load.seconds,
        processes=load.processes,
        seed=random.randrange(2**31) if load.seed is None else load.seed,  # nosec B311 # a schedule's seed
        rate=load.rate,
        partitions=load.partitions,
        keys=load.keys,
        work_ms=consuming.work_ms,
        kill_every_s=faults.kill_every,
        fault_every_s=faults.fault_every,
        kinds=parse_fault_kinds(faults.faults, own_broker=run.bootstrap_servers is None, own_app=app.app is None),
        bootstrap_servers=run.bootstrap_servers,
        app=app.app,
        app_dir=app.app_dir,
        consumer=app.consumer,
        topic=app.topic,
        delivery=parse_delivery(consuming.delivery),
        group_protocol=parse_group_protocol(consuming.group_protocol),
        event_type=app.event_type,
        payload=payload_text_or_file_content(app.payload),
        config=consuming.consumer_config(),
        settle_s=run.settle,
        max_duplicates=run.max_duplicates,
        home=run.keep,
    )
    run_verify(options, as_json=run.as_json)
