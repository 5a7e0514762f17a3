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
    minutes: Annotated[float, typer.Option(help="How long there is load and faults.", min=0)] = 1.0
    seconds: Annotated[float | None, typer.Option(help="The same in seconds.", min=1)] = None
    processes: Annotated[int, typer.Option(help="How many processes run the app.", min=1)] = 3
    seed: Annotated[int | None, typer.Option(help="Repeats a run's schedule. Without it: at random.")] = None
    rate: Annotated[int, typer.Option(help="Records per second.", min=1)] = 400
    partitions: Annotated[int, typer.Option(min=1)] = 6
    keys: Annotated[int, typer.Option(help="How many keys the records have.", min=1)] = 200


@dataclass(frozen=True, slots=True)
class _Faults:
    kill_every: Annotated[float, typer.Option(help="Seconds between two SIGKILLs; 0 for none.", min=0)] = 10.0
    fault_every: Annotated[float, typer.Option(help="Seconds between two other faults; 0 for none.", min=0)] = 15.0
    faults: Annotated[
        str | None,
        typer.Option(
            help="Which other faults: stop, freeze, members, broker, cancel.", metavar="A,B", show_default="all"
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class _Consuming:
    concurrency: Annotated[int | None, typer.Option(help="Records in flight.", min=1, show_default="16")] = None
    ordering: Annotated[str | None, typer.Option(help="key, partition or unordered.", show_default="key")] = None
    session_timeout_ms: Annotated[int | None, typer.Option(min=500, show_default="6000")] = None
    auto_commit_interval_ms: Annotated[int | None, typer.Option(min=0, show_default="100")] = None
    work_ms: Annotated[float, typer.Option(help="What the built-in app's endpoint takes.", min=0)] = 5.0

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
        str | None, typer.Option("--app", metavar="MODULE:APP", help="Verify this app, not the built-in one.")
    ] = None
    app_dir: Annotated[Path, typer.Option(help="Where the module is looked for first.", metavar="DIR")] = Path()
    consumer: Annotated[str | None, typer.Option(help="Which of the app's consumers.")] = None
    event_type: Annotated[str, typer.Option(help="The records' event type.")] = "Verify"
    payload: Annotated[
        str | None,
        typer.Option(help="The records' value; {n} is the number, {key} the key. @FILE reads it from a file."),
    ] = None


@dataclass(frozen=True, slots=True)
class _Run:
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="Run there, on a topic of its own. Without it a broker is started.")
    ] = None
    settle: Annotated[float, typer.Option(help="Seconds until all must be handled, after the load.", min=1)] = 90.0
    max_duplicates: Annotated[
        float | None, typer.Option(help="Percent of records that may be handled again.", min=0, show_default="any")
    ] = None
    keep: Annotated[Path | None, typer.Option(help="Keep journal and logs here.", metavar="DIR")] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False


@command("verify", panel=RUN, short_help="Prove that nothing is lost, under kills and faults.")
def verify_command(load: _Load, faults: _Faults, consuming: _Consuming, app: _App, run: _Run) -> None:
    """Prove that nothing is lost: load, SIGKILLs and other faults, then a count of everything. Ends with 0 or 1."""
    from evkafka.cli.impl.verify import read_payload, run_verify
    from evkafka.verify.options import Options, kinds_of

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
        kinds=kinds_of(faults.faults, own_broker=run.bootstrap_servers is None, own_app=app.app is None),
        bootstrap_servers=run.bootstrap_servers,
        app=app.app,
        app_dir=app.app_dir,
        consumer=app.consumer,
        event_type=app.event_type,
        payload=read_payload(app.payload),
        config=consuming.consumer_config(),
        settle_s=run.settle,
        max_duplicates=run.max_duplicates,
        home=run.keep,
    )
    run_verify(options, as_json=run.as_json)
