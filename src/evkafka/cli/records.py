"""The commands `send`, `tail` and `lag`, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.options import (
    DEVELOP,
    LOOK,
    OPERATE,
    AppDir,
    AsJson,
    Config,
    Consumer,
    EnvFile,
    Factory,
    OnlyApp,
    Servers,
    Target,
    Where,
)
from evkafka.exceptions import ConfigError

EVENT, SOURCE, FILTERS, PLACE = "The event", "Where it comes from", "Which records", "From where to where"

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="The topic.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    app.command(
        "send",
        short_help="Send events, checked by the app's endpoint.",
        rich_help_panel=DEVELOP,
        epilog="Examples: evkafka send orders '{\"id\": 1}' --type OrderPlaced --key 1 --app shop.main:app"
        " | evkafka send orders --file orders.jsonl --lines --type OrderPlaced --key-field id",
    )(send_command)
    app.command(
        "tail",
        short_help="Show what stands in a topic, and what comes.",
        rich_help_panel=LOOK,
        epilog="Example: evkafka tail orders --from 2h --type OrderPlaced --where status=new",
    )(tail_command)
    app.command(
        "replay",
        short_help="Run a piece of history through the app's handler.",
        rich_help_panel=OPERATE,
        epilog="Example: evkafka replay shop.main:app --topic orders --from 2h --dry-run",
    )(replay_command)
    app.command(
        "lag",
        short_help="How far behind a group is.",
        rich_help_panel=LOOK,
        epilog="Example: evkafka lag --app shop.main:app --max 1000",
    )(lag_command)


def pairs(option: str, given: list[str] | None) -> tuple[tuple[str, str], ...]:
    """`NAME=VALUE`, so many as there are.

    Raises:
        ConfigError: one has no `=`.
    """
    found = []
    for text in given or ():
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise ConfigError(f"{option} {text}: write NAME=VALUE")
        found.append((name, value))
    return tuple(found)


def send_command(
    topic: Topic,
    payload: Annotated[
        str | None,
        typer.Argument(metavar="[PAYLOAD]", help="The value; - for stdin, @FILE for a file.", show_default=False),
    ] = None,
    event_type: Annotated[
        str | None,
        typer.Option("--type", "-t", metavar="TYPE", help="Its event type.", show_default=False, rich_help_panel=EVENT),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", "-k", help="Its key.", show_default=False, rich_help_panel=EVENT)
    ] = None,
    key_field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Take the key from this field of it.", show_default=False, rich_help_panel=EVENT
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="NAME=VALUE",
            help="A header; may be repeated.",
            show_default=False,
            rich_help_panel=EVENT,
        ),
    ] = None,
    partition: Annotated[
        int | None,
        typer.Option(min=0, help="Default: by the key.", show_default=False, rich_help_panel=EVENT),
    ] = None,
    tombstone: Annotated[
        bool, typer.Option("--tombstone", help="Send no value at all.", rich_help_panel=EVENT)
    ] = False,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="Read it; - is stdin.", show_default=False, rich_help_panel=SOURCE
        ),
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", "-l", help="Each line is a payload.", rich_help_panel=SOURCE)
    ] = False,
    records: Annotated[
        bool,
        typer.Option(
            "--records",
            help="Each line is JSON with type, key, headers and value, as `evkafka tail --json` prints it.",
            rich_help_panel=SOURCE,
        ),
    ] = False,
    app: OnlyApp = None,
    consumer: Consumer = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    config: Config = None,
    bootstrap_servers: Servers = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check", help="With an app: send only what its endpoint takes.", rich_help_panel=EVENT
        ),
    ] = True,
    create: Annotated[
        bool, typer.Option("--create", help="Where there is no such topic, let the brokers make it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check it, and send nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send events to a topic, and return when the brokers have confirmed them.

    With --app each payload is checked first by the endpoint that would get it; where one does not pass, none is sent.
    """
    from evkafka.cli import send
    from evkafka.cli.cluster import find
    from evkafka.cli.environment_file import load_env_file

    if lines and records:
        raise ConfigError("--lines and --records: a line is one or the other")
    load_env_file(env_file)
    found = find(Where(app, app_dir, factory, config, bootstrap_servers, consumer), topic=topic)
    source = send.Source(
        payload=payload,
        file=file,
        lines=lines,
        records=records,
        event_type=event_type,
        key=key,
        key_field=key_field,
        headers=pairs("--header", header),
        partition=partition,
        tombstone=tombstone,
    )
    events = send.events_of(source, found.type_header)
    send.send(found, topic, events, check=check, create=create, dry_run=dry_run, as_json=as_json)


def tail_command(
    topic: Topic,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="earliest, latest, an offset, a time (2026-01-31T12:00:00Z), or how long ago (2h).",
            show_default=False,
            rich_help_panel=PLACE,
        ),
    ] = None,
    back: Annotated[
        int,
        typer.Option("--last", "-n", min=0, help="So many records back, without --from.", rich_help_panel=PLACE),
    ] = 10,
    following: Annotated[
        bool,
        typer.Option("--follow/--no-follow", help="Wait for more, or end at the end.", rich_help_panel=PLACE),
    ] = True,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="End after so many.", show_default=False, rich_help_panel=PLACE),
    ] = None,
    partition: Annotated[
        int | None, typer.Option(min=0, help="Only this one.", show_default=False, rich_help_panel=FILTERS)
    ] = None,
    event_type: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            "-t",
            metavar="TYPE",
            help="Only of this event type; may be repeated.",
            show_default=False,
            rich_help_panel=FILTERS,
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", "-k", help="Only with this key.", show_default=False, rich_help_panel=FILTERS)
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="NAME=VALUE",
            help="Only with this header; may be repeated.",
            show_default=False,
            rich_help_panel=FILTERS,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="FIELD=VALUE",
            help="Only where this field of the payload (customer.id) is this; may be repeated.",
            show_default=False,
            rich_help_panel=FILTERS,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--grep", help="Only where this stands in the value.", show_default=False, rich_help_panel=FILTERS
        ),
    ] = None,
    app: OnlyApp = None,
    consumer: Consumer = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    config: Config = None,
    bootstrap_servers: Servers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")] = False,
) -> None:
    """Show what stands in a topic and what comes, until Ctrl-C. No group is joined, and nothing is committed."""
    from evkafka.cli import tail
    from evkafka.cli.cluster import find
    from evkafka.cli.environment_file import load_env_file
    from evkafka.cli.place import read_place

    load_env_file(env_file)
    wanted = tail.Wanted(tuple(event_type or ()), key, pairs("--header", header), pairs("--where", where), text)
    start = None if from_ is None else read_place("--from", from_)
    found = find(Where(app, app_dir, factory, config, bootstrap_servers, consumer), topic=topic)
    tail.tail(
        found,
        topic,
        wanted,
        start=start,
        back=back,
        partition=partition,
        limit=limit,
        following=following,
        as_json=as_json,
    )


def lag_command(
    group: Annotated[
        str | None,
        typer.Argument(metavar="[GROUP]", help="Default: the groups of --app's consumers.", show_default=False),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option("--topic", help="Only in this topic; may be repeated.", metavar="TOPIC", show_default=False),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option("--max", min=0, help="End with 1 where a group's lag is more.", show_default=False),
    ] = None,
    app: OnlyApp = None,
    consumer: Consumer = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    config: Config = None,
    bootstrap_servers: Servers = None,
    as_json: AsJson = False,
) -> None:
    """Show how many records a group has not committed yet, partition by partition."""
    from evkafka.cli.cluster import find
    from evkafka.cli.environment_file import load_env_file
    from evkafka.cli.lag import asked_of, show_lag

    load_env_file(env_file)
    found = find(Where(app, app_dir, factory, config, bootstrap_servers, consumer))
    raise typer.Exit(show_lag(asked_of(found, group, tuple(topic or ())), most=most, as_json=as_json))


def replay_command(
    target: Target,
    topic: Annotated[str, typer.Option("--topic", metavar="TOPIC", help="Whose history.", show_default=False)],
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="earliest, an offset, a time (2026-01-31T12:00:00Z), or how long ago (2h).",
            show_default=False,
            rich_help_panel=PLACE,
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="PLACE",
            help="The same; excluded. Default: the topic's end as it is now.",
            show_default=False,
            rich_help_panel=PLACE,
        ),
    ] = None,
    partition: Annotated[
        int | None, typer.Option(min=0, help="Only this one.", show_default=False, rich_help_panel=FILTERS)
    ] = None,
    event_type: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            "-t",
            metavar="TYPE",
            help="Only of this event type; may be repeated.",
            show_default=False,
            rich_help_panel=FILTERS,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most records.", show_default=False, rich_help_panel=FILTERS)
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Most records per second.", show_default=False)] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="End at the first one that fails.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decode them only, and count what would fail. The app is not started.")
    ] = False,
    consumer: Consumer = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Run a piece of a topic's history through this app's handler, here, one record after the other.

    No group is joined and no offset is committed: nobody else sees anything of it, but for what the handler does.
    Each record gets one attempt. Ends with 1 where one failed; begin with --dry-run.
    """
    from evkafka.cli.cluster import find
    from evkafka.cli.environment_file import load_env_file
    from evkafka.cli.place import read_place
    from evkafka.cli.replay import Piece, replay

    load_env_file(env_file)
    piece = Piece(
        topic,
        read_place("--from", from_),
        None if to is None else read_place("--to", to),
        partition,
        tuple(event_type or ()),
        limit,
        rate,
    )
    found = find(Where(target, app_dir, factory, consumer=consumer), topic=topic)
    raise typer.Exit(replay(found, piece, dry_run=dry_run, fail_fast=fail_fast, as_json=as_json))
