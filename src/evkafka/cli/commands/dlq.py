"""`evkafka dlq`: the commands and their options. `cli/impl/dlq.py` does the work; it is imported when one is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from evkafka.cli.options import Where, moment
from evkafka.exceptions import ConfigError

OWN_TOPIC = "@own"
"""`--to-topic` without a name: each letter's own topic. No topic can be called so."""

app = typer.Typer(name="dlq", help="Look at dead letters, handle them again, let them go.", no_args_is_help=True)

Topic = Annotated[
    str | None,
    typer.Argument(
        metavar="[TOPIC]",
        help="The dead-letter topic. With --app, it may be left out where there is but one.",
        show_default=False,
    ),
]
App = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:APP", help="The app whose dead letters they are."),
]
AppDir = Annotated[
    Path, typer.Option(help="Where the module is looked for first.", metavar="DIR", envvar="EVKAFKA_APP_DIR")
]
Factory = Annotated[
    bool, typer.Option("--factory", help="APP is a function that makes the app.", envvar="EVKAFKA_FACTORY")
]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A consumer's keys: TOML, YAML or JSON.")]
Servers = Annotated[str | None, typer.Option("--bootstrap-servers", metavar="HOST:PORT", help="The brokers.")]
Consumer = Annotated[str | None, typer.Option(help="Which of the app's consumers, where several could be meant.")]
EventType = Annotated[list[str] | None, typer.Option("--event-type", help="Only of this type; may be repeated.")]
Error = Annotated[
    str | None, typer.Option(help="Only with this error: its type (* stands for anything) or a part of its message.")
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Failed then or later: 2026-01-31T12:00:00Z, or 2h (ago), 7d, 30m.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Failed before then.")]
Partition = Annotated[int | None, typer.Option(min=0, help="Only of this partition of TOPIC.")]
Offset = Annotated[int | None, typer.Option(min=0, help="Only this offset; with --partition.")]
Id = Annotated[list[str] | None, typer.Option("--id", help="Only letters of this id; may be repeated.")]
At = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="PARTITION@OFFSET", help="Only the letter at this place of TOPIC; may be repeated."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Most letters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class _OptionalTopic(TyperCommand):
    """`--to-topic` may stand without a name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given: list[str] = []
        for index, arg in enumerate(args):
            given.append(arg)
            if arg == "--to-topic" and (index + 1 == len(args) or args[index + 1].startswith("-")):
                given.append(OWN_TOPIC)
        return super().parse_args(ctx, given)


@app.command("list")
def list_command(
    topic: Topic = None,
    app: App = None,
    config: Config = None,
    bootstrap_servers: Servers = None,
    consumer: Consumer = None,
    event_type: EventType = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    partition: Partition = None,
    offset: Offset = None,
    limit: Limit = None,
    closed: Annotated[bool, typer.Option("--all", help="Also those that were replayed or dropped.")] = False,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    as_json: AsJson = False,
) -> None:
    """List the dead letters that nothing was done with yet."""
    from evkafka.cli.connection import find_dead_letters
    from evkafka.cli.impl import dlq as dlq_work

    where = find_dead_letters(Where(app, app_dir, factory, config, bootstrap_servers, consumer), topic)
    wanted = _wanted(event_type, error, since, until, partition, offset)
    dlq_work.list_letters(where, wanted, closed=closed, limit=limit, as_json=as_json)


@app.command("show")
def show_command(
    topic: Topic = None,
    partition: Partition = None,
    offset: Offset = None,
    id_: Id = None,
    at: At = None,
    app: App = None,
    config: Config = None,
    bootstrap_servers: Servers = None,
    consumer: Consumer = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter whole: --at, or --partition and --offset, or --id (the last one of that id)."""
    from evkafka.cli.connection import find_dead_letters
    from evkafka.cli.impl import dlq as dlq_work

    if (partition is None or offset is None) and not id_ and not at:
        raise ConfigError("which one? --at PARTITION@OFFSET, or --id ID; `evkafka dlq list` tells them")
    where = find_dead_letters(Where(app, app_dir, factory, config, bootstrap_servers, consumer), topic)
    dlq_work.show_letter(where, _wanted(None, None, None, None, partition, offset, id_, at), as_json=as_json)


@app.command("replay", cls=_OptionalTopic)
def replay_command(
    topic: Topic = None,
    to_handler: Annotated[
        bool, typer.Option("--to-handler", help="Handle them here, by this app's handler only. Needs --app.")
    ] = False,
    to_topic: Annotated[
        str | None,
        typer.Option(
            "--to-topic",
            metavar="[TOPIC]",
            help="Send them to this topic, for all of its readers; without a name, to where each failed first.",
        ),
    ] = None,
    app: App = None,
    config: Config = None,
    bootstrap_servers: Servers = None,
    consumer: Consumer = None,
    event_type: EventType = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    partition: Partition = None,
    offset: Offset = None,
    id_: Id = None,
    at: At = None,
    limit: Limit = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Most letters per second.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also where the topic is compacted.")] = False,
    dry_run: DryRun = False,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    as_json: AsJson = False,
) -> None:
    """Handle dead letters again, or send them again. May be broken off at any point, and begun anew.

    Ends with 1 where a letter could not be handled; it stays open.
    """
    from evkafka.cli.connection import find_dead_letters
    from evkafka.cli.impl import dlq as dlq_work

    if to_handler == (to_topic is not None):
        raise ConfigError("say where to: --to-handler (this app's handler only) or --to-topic (all readers of a topic)")
    if to_handler and app is None and (config is not None or bootstrap_servers is not None):
        raise ConfigError("--to-handler runs an app's handler: name the app, --app MODULE:APP")
    where = find_dead_letters(Where(app, app_dir, factory, config, bootstrap_servers, consumer), topic)
    dlq_work.replay(
        where,
        _wanted(event_type, error, since, until, partition, offset, id_, at),
        to_topic=to_topic,
        own_topic=to_topic == OWN_TOPIC,
        limit=limit,
        rate=rate,
        force=force,
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command("drop")
def drop_command(
    topic: Topic = None,
    app: App = None,
    config: Config = None,
    bootstrap_servers: Servers = None,
    consumer: Consumer = None,
    event_type: EventType = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    partition: Partition = None,
    offset: Offset = None,
    id_: Id = None,
    at: At = None,
    limit: Limit = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them, where no filter says which.")] = False,
    dry_run: DryRun = False,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    as_json: AsJson = False,
) -> None:
    """Let dead letters go: no replay takes them any more. They stay in the topic for its retention."""
    from evkafka.cli.connection import find_dead_letters
    from evkafka.cli.impl import dlq as dlq_work
    from evkafka.dlq import DeadLetterFilter

    wanted = _wanted(event_type, error, since, until, partition, offset, id_, at)
    if wanted == DeadLetterFilter() and limit is None and not everything:
        raise ConfigError("which ones? Name them with a filter, or say --all")
    where = find_dead_letters(Where(app, app_dir, factory, config, bootstrap_servers, consumer), topic)
    dlq_work.drop(where, wanted, limit=limit, dry_run=dry_run, as_json=as_json)


def _wanted(
    event_types: list[str] | None,
    error: str | None,
    since: str | None,
    until: str | None,
    partition: int | None,
    offset: int | None,
    ids: list[str] | None = None,
    at: list[str] | None = None,
) -> Any:
    from evkafka.dlq import DeadLetterFilter, DeadLetterPosition

    if offset is not None and partition is None:
        raise ConfigError("--offset counts in a partition: name it, --partition N")
    try:
        positions = tuple(map(DeadLetterPosition.parse, at or ()))
    except ValueError as fault:
        raise ConfigError(f"--at: {fault}") from None
    return DeadLetterFilter(
        event_types=tuple(event_types or ()),
        error=error,
        since=None if since is None else moment("--since", since),
        until=None if until is None else moment("--until", until),
        partition=partition,
        offset=offset,
        ids=tuple(ids or ()),
        positions=positions,
    )
