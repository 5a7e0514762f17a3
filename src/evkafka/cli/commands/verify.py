"""`evkafka verify`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verify_command(
    minutes: Annotated[float, typer.Option(help="How long there is load and faults.", min=0)] = 1.0,
    seconds: Annotated[float | None, typer.Option(help="The same in seconds.", min=1, show_default=False)] = None,
    processes: Annotated[int, typer.Option(help="How many processes run the app.", min=1)] = 3,
    seed: Annotated[int | None, typer.Option(help="Repeats a run's schedule. Without it: at random.")] = None,
    rate: Annotated[int, typer.Option(help="Records per second.", min=1)] = 400,
    partitions: Annotated[int, typer.Option(min=1)] = 6,
    keys: Annotated[int, typer.Option(help="How many keys the records have.", min=1)] = 200,
    kill_every: Annotated[float, typer.Option(help="Seconds between two SIGKILLs; 0 for none.", min=0)] = 10.0,
    fault_every: Annotated[float, typer.Option(help="Seconds between two other faults; 0 for none.", min=0)] = 15.0,
    faults: Annotated[
        str | None,
        typer.Option(
            help="Which other faults: stop, freeze, members, broker, cancel.", metavar="A,B", show_default="all"
        ),
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Records in flight.", min=1, show_default="16")] = None,
    ordering: Annotated[str | None, typer.Option(help="key, partition or unordered.", show_default="key")] = None,
    session_timeout_ms: Annotated[int | None, typer.Option(min=500, show_default="6000")] = None,
    auto_commit_interval_ms: Annotated[int | None, typer.Option(min=0, show_default="100")] = None,
    work_ms: Annotated[float, typer.Option(help="What the built-in app's endpoint takes.", min=0)] = 5.0,
    target: Annotated[
        str | None, typer.Option("--app", metavar="MODULE:APP", help="Verify this app, not the built-in one.")
    ] = None,
    app_dir: Annotated[Path, typer.Option(help="Where the module is looked for first.", metavar="DIR")] = Path(),
    consumer: Annotated[str | None, typer.Option(help="Which of the app's consumers.")] = None,
    event_type: Annotated[str, typer.Option(help="The records' event type.")] = "Verify",
    payload: Annotated[
        str | None,
        typer.Option(help="The records' value; {n} is the number, {key} the key. @FILE reads it from a file."),
    ] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="Run there, on a topic of its own. Without it a broker is started.")
    ] = None,
    settle: Annotated[float, typer.Option(help="Seconds until all must be handled, after the load.", min=1)] = 90.0,
    max_duplicates: Annotated[
        float | None, typer.Option(help="Percent of records that may be handled again.", min=0, show_default="any")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep journal and logs here.", metavar="DIR")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Prove that nothing is lost: load, SIGKILLs and other faults, then a count of everything. Ends with 0 or 1."""
    import random

    from evkafka.cli.impl.verify import payload_of, run_verify
    from evkafka.verify.options import Options, kinds_of

    said = {
        "concurrency": concurrency,
        "ordering": ordering,
        "session_timeout_ms": session_timeout_ms,
        "heartbeat_interval_ms": None if session_timeout_ms is None else session_timeout_ms // 5,
        "auto_commit_interval_ms": auto_commit_interval_ms,
    }
    options = Options(
        lasts_s=minutes * 60 if seconds is None else seconds,
        processes=processes,
        seed=random.randrange(2**31) if seed is None else seed,  # nosec B311 # a schedule's seed
        rate=rate,
        partitions=partitions,
        keys=keys,
        work_ms=work_ms,
        kill_every_s=kill_every,
        fault_every_s=fault_every,
        kinds=kinds_of(faults, own_broker=bootstrap_servers is None, own_app=target is None),
        bootstrap_servers=bootstrap_servers,
        app=target,
        app_dir=app_dir,
        consumer=consumer,
        event_type=event_type,
        payload=payload_of(payload),
        config={key: value for key, value in said.items() if value is not None},
        settle_s=settle,
        max_duplicates=max_duplicates,
        home=keep,
    )
    run_verify(options, as_json=as_json)
