"""`evkafka dlq`: the commands for dead letters, and their options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from evkafka.cli.command import command
from evkafka.cli.options import AsJson, ClusterOptions, parse_time
from evkafka.exceptions import ConfigError

if TYPE_CHECKING:
    from evkafka.cli.connection import DeadLetters
    from evkafka.dlq import DeadLetterFilter

OWN_TOPIC = "@own"
"""`--to-topic` without a name: the topic of each letter's record. No topic can have this name."""

Topic = Annotated[
    str | None,
    typer.Argument(
        metavar="[TOPIC]", help="The dead-letter topic. With --app, it may be left out where there is but one."
    ),
]
App = Annotated[str | None, typer.Option("--app", metavar="MODULE:APP", help="The app whose dead letters they are.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A consumer's keys: TOML, YAML or JSON.")
]
Servers = Annotated[str | None, typer.Option("--bootstrap-servers", metavar="HOST:PORT", help="The brokers.")]
Consumer = Annotated[str | None, typer.Option(help="Which of the app's consumers, where several could be meant.")]
AppDir = Annotated[
    Path, typer.Option(help="Where the module is looked for first.", metavar="DIR", envvar="EVKAFKA_APP_DIR")
]
Factory = Annotated[
    bool, typer.Option("--factory", help="APP is a function that makes the app.", envvar="EVKAFKA_FACTORY")
]
EventTypes = Annotated[list[str] | None, typer.Option("--event-type", help="Only of this type; may be repeated.")]
Error = Annotated[
    str | None, typer.Option(help="Only with this error: its type (* stands for anything) or a part of its message.")
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Failed then or later: 2026-01-31T12:00:00Z, or 2h (ago), 7d, 30m.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Failed before then.")]
Partition = Annotated[int | None, typer.Option(min=0, help="Only of this partition of TOPIC.")]
Offset = Annotated[int | None, typer.Option(min=0, help="Only this offset; with --partition.")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="Only letters of this id; may be repeated.")]
Positions = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="PARTITION@OFFSET", help="Only the letter at this place of TOPIC; may be repeated."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Most letters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Closed = Annotated[bool, typer.Option("--all", help="Also those that were replayed or dropped.")]
ToHandler = Annotated[
    bool, typer.Option("--to-handler", help="Handle them here, by this app's handler only. Needs --app.")
]
ToTopic = Annotated[
    str | None,
    typer.Option(
        "--to-topic",
        metavar="[TOPIC]",
        help="Send them to this topic, for all of its readers; without a name, to where each failed first.",
    ),
]
Rate = Annotated[float | None, typer.Option(min=0.001, help="Most letters per second.")]
Force = Annotated[bool, typer.Option("--force", help="Also where the topic is compacted.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them, where no filter says which.")]


@dataclass(frozen=True, slots=True)
class _Source:
    """The app, file or address from which the cluster of the dead letters is found."""

    app: App = None
    config: ConfigFile = None
    bootstrap_servers: Servers = None
    consumer: Consumer = None


@dataclass(frozen=True, slots=True)
class _Module:
    """Where the app's module is, and what APP names in it."""

    app_dir: AppDir = Path()
    factory: Factory = False


@dataclass(frozen=True, slots=True)
class _Filter:
    event_type: EventTypes = None
    error: Error = None
    since: Since = None
    until: Until = None
    partition: Partition = None
    offset: Offset = None


@dataclass(frozen=True, slots=True)
class _Letters:
    """Letters that are named one by one."""

    id_: Ids = None
    at: Positions = None


class _OptionalTopic(TyperCommand):
    """Lets `--to-topic` be given without a name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given: list[str] = []
        for index, arg in enumerate(args):
            given.append(arg)
            if arg == "--to-topic" and (index + 1 == len(args) or args[index + 1].startswith("-")):
                given.append(OWN_TOPIC)
        return super().parse_args(ctx, given)


@command("list")
def list_command(
    *,
    topic: Topic = None,
    source: _Source,
    filters: _Filter,
    limit: Limit = None,
    closed: Closed = False,
    module: _Module,
    as_json: AsJson = False,
) -> None:
    """List the dead letters that nothing was done with yet."""
    from evkafka.cli.impl.dlq import list_letters

    found = _find(topic, source, module)
    list_letters(found, _letter_filter(filters), closed=closed, limit=limit, as_json=as_json)


@command("show")
def show_command(
    *,
    topic: Topic = None,
    partition: Partition = None,
    offset: Offset = None,
    letters: _Letters,
    source: _Source,
    module: _Module,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter whole: --at, or --partition and --offset, or --id (the last one of that id)."""
    from evkafka.cli.impl.dlq import show_letter

    if (partition is None or offset is None) and not letters.id_ and not letters.at:
        raise ConfigError("which one? --at PARTITION@OFFSET, or --id ID; `evkafka dlq list` tells them")
    found = _find(topic, source, module)
    show_letter(found, _letter_filter(_Filter(partition=partition, offset=offset), letters), as_json=as_json)


@command("replay", cls=_OptionalTopic)
def replay_command(
    *,
    topic: Topic = None,
    to_handler: ToHandler = False,
    to_topic: ToTopic = None,
    source: _Source,
    filters: _Filter,
    letters: _Letters,
    limit: Limit = None,
    rate: Rate = None,
    force: Force = False,
    dry_run: DryRun = False,
    module: _Module,
    as_json: AsJson = False,
) -> None:
    """Handle dead letters again, or send them again. May be broken off at any point, and begun anew.

    Ends with 1 where a letter could not be handled; it stays open.
    """
    from evkafka.cli.impl.dlq import replay
    from evkafka.dlq import Target

    if to_handler == (to_topic is not None):
        raise ConfigError("say where to: --to-handler (this app's handler only) or --to-topic (all readers of a topic)")
    if to_handler and source.app is None and (source.config is not None or source.bootstrap_servers is not None):
        raise ConfigError("--to-handler runs an app's handler: name the app, --app MODULE:APP")
    found = _find(topic, source, module)
    wanted = _letter_filter(filters, letters)
    target = None if to_handler else Target(None if to_topic == OWN_TOPIC else to_topic, found.sources)
    replay(found, wanted, target, limit=limit, rate=rate, force=force, dry_run=dry_run, as_json=as_json)


@command("drop")
def drop_command(
    *,
    topic: Topic = None,
    source: _Source,
    filters: _Filter,
    letters: _Letters,
    limit: Limit = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    module: _Module,
    as_json: AsJson = False,
) -> None:
    """Let dead letters go: no replay takes them any more. They stay in the topic for its retention."""
    from evkafka.cli.impl.dlq import drop
    from evkafka.dlq import DeadLetterFilter

    wanted = _letter_filter(filters, letters)
    if wanted == DeadLetterFilter() and limit is None and not everything:
        raise ConfigError("which ones? Name them with a filter, or say --all")
    drop(_find(topic, source, module), wanted, limit=limit, dry_run=dry_run, as_json=as_json)


def _find(topic: str | None, source: _Source, module: _Module) -> DeadLetters:
    from evkafka.cli.connection import find_dead_letters

    options = ClusterOptions(
        app=source.app,
        consumer=source.consumer,
        app_dir=module.app_dir,
        factory=module.factory,
        config=source.config,
        bootstrap_servers=source.bootstrap_servers,
    )
    return find_dead_letters(options, topic)


def _letter_filter(options: _Filter, letters: _Letters = _Letters()) -> DeadLetterFilter:
    from evkafka.dlq import DeadLetterFilter, DeadLetterPosition

    if options.offset is not None and options.partition is None:
        raise ConfigError("--offset counts in a partition: name it, --partition N")
    try:
        positions = tuple(map(DeadLetterPosition.parse, letters.at or ()))
    except ValueError as error:
        raise ConfigError(f"--at: {error}") from None
    return DeadLetterFilter(
        event_types=tuple(options.event_type or ()),
        error=options.error,
        since=None if options.since is None else parse_time("--since", options.since),
        until=None if options.until is None else parse_time("--until", options.until),
        partition=options.partition,
        offset=options.offset,
        ids=tuple(letters.id_ or ()),
        positions=positions,
    )


app = typer.Typer(name="dlq", help="Look at dead letters, handle them again, let them go.", no_args_is_help=True)
for _command in (list_command, show_command, replay_command, drop_command):
    _command.add_to(app)
