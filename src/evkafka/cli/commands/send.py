"""`evkafka send`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.options import (
    EVENT,
    SOURCE,
    AppDir,
    AsJson,
    Config,
    Consumer,
    EnvFile,
    Factory,
    OnlyApp,
    Servers,
    Topic,
    Where,
    pairs,
)
from evkafka.exceptions import ConfigError


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
    from evkafka.cli.connection import find
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl import send

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
