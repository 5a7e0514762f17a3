"""`evkafka dlq`: the commands for dead letters, and their options."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evkafka.cli.command import HelpWithoutEnvVars, command
from evkafka.cli.options import AsJson, ClusterOptions, FilteredPartition, filter_option, parse_time
from evkafka.exceptions import ConfigError

if TYPE_CHECKING:
    from evkafka.cli.connection import FoundDeadLetterTopic
    from evkafka.dlq import DeadLetterFilter

TARGET = "Target"

OWN_TOPIC = "@own"
"""`--to-topic` without a name: the topic of each letter's record. No topic can have this name."""

Topic = Annotated[
    str | None,
    typer.Argument(metavar="[TOPIC]", help="The dead-letter topic. Default: the only one of the app."),
]
EventTypes = Annotated[
    list[str] | None,
    filter_option("--event-type", "--type", "-t", metavar="TYPE", help="Only this event type; may be repeated."),
]
Error = Annotated[
    str | None,
    filter_option(metavar="TEXT", help="Only this error: its type, as in *Timeout*, or part of its message."),
]
Containing = Annotated[
    str | None, filter_option(metavar="TEXT", help="Only with this text in the id, the event type or the error.")
]
Since = Annotated[
    str | None,
    filter_option(metavar="TIME", help="Failed at this time (2026-01-31T12:00:00Z) or within this age (2h)."),
]
Until = Annotated[str | None, filter_option(metavar="TIME", help="Failed before this time.")]
Offset = Annotated[
    int | None, filter_option("--offset", min=0, metavar="OFFSET", help="Only this offset; with --partition.")
]
Ids = Annotated[
    list[str] | None, filter_option("--id", metavar="ID", help="Only dead letters with this id; may be repeated.")
]
Positions = Annotated[
    list[str] | None,
    filter_option(
        "--at",
        metavar="PARTITION@OFFSET",
        help="Only the dead letter at this position; may be repeated, or name a range: 0@17-41.",
    ),
]
Limit = Annotated[int | None, filter_option(min=1, metavar="N", help="At most this many dead letters.")]
ListLimit = Annotated[
    int | None, filter_option(min=1, metavar="N", help="At most this many dead letters. Default: 20, with --json all.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")]
Closed = Annotated[bool, filter_option("--all", help="Also dead letters that were replayed or discarded.")]
ToHandler = Annotated[
    bool,
    typer.Option("--to-handler", help="Run the app's endpoint in this process. Needs --app.", rich_help_panel=TARGET),
]
ToTopic = Annotated[
    str | None,
    typer.Option(
        "--to-topic",
        metavar="[TOPIC]",
        help="Send to this topic, for all of its readers. Without a name: where each dead letter failed first.",
        rich_help_panel=TARGET,
    ),
]
Rate = Annotated[float | None, typer.Option(min=0.001, metavar="N", help="At most this many dead letters per second.")]
Force = Annotated[bool, typer.Option("--force", help="Replay to a compacted topic too.")]
Everything = Annotated[bool, typer.Option("--all", help="All open dead letters; required without a filter.")]


@dataclass(frozen=True, slots=True)
class _Filter:
    event_type: EventTypes = None
    error: Error = None
    containing: Containing = None
    since: Since = None
    until: Until = None
    partition: FilteredPartition = None
    offset: Offset = None


@dataclass(frozen=True, slots=True)
class _Letters:
    """Dead letters that are named one by one."""

    id_: Ids = None
    at: Positions = None


class _ToTopicWithOptionalValue(HelpWithoutEnvVars):
    """Allows `--to-topic` without a name."""

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
    filters: _Filter,
    limit: ListLimit = None,
    closed: Closed = False,
    cluster: ClusterOptions,
    as_json: AsJson = False,
) -> None:
    """List the open dead letters, newest first."""
    from evkafka.cli.impl.dlq import list_letters

    found = _find_dead_letter_topic_and_cluster(topic, cluster)
    list_letters(found, _letter_filter(filters), closed=closed, limit=limit, as_json=as_json)


@command("show")
def show_command(
    *,
    topic: Topic = None,
    partition: FilteredPartition = None,
    offset: Offset = None,
    letters: _Letters,
    cluster: ClusterOptions,
    as_json: AsJson = False,
) -> None:
    """Print one dead letter completely: --at, or --partition and --offset, or --id (the last one with that id)."""
    from evkafka.cli.impl.dlq import show_letter

    if (partition is None or offset is None) and not letters.id_ and not letters.at:
        raise ConfigError(
            "name the dead letter with --at PARTITION@OFFSET, the first two columns of `evkafka dlq list`,"
            " or with --id ID, which `evkafka dlq list --json` prints"
        )
    found = _find_dead_letter_topic_and_cluster(topic, cluster)
    show_letter(found, _letter_filter(_Filter(partition=partition, offset=offset), letters), as_json=as_json)


@command("replay", cls=_ToTopicWithOptionalValue)
def replay_command(
    *,
    topic: Topic = None,
    to_handler: ToHandler = False,
    to_topic: ToTopic = None,
    filters: _Filter,
    letters: _Letters,
    limit: Limit = None,
    rate: Rate = None,
    force: Force = False,
    dry_run: DryRun = False,
    cluster: ClusterOptions,
    as_json: AsJson = False,
) -> None:
    """Replay dead letters: run the app's endpoint again, or send them to a topic again.

    Can be interrupted at any point and started again. Exits with code 1 if a dead letter fails again; it stays open.
    """
    from evkafka.cli.impl.dlq import replay_letters
    from evkafka.dlq import Target

    if to_handler == (to_topic is not None):
        raise ConfigError(
            "name the target: --to-handler (only this app's endpoint) or --to-topic (all readers of a topic)"
        )
    if to_handler and cluster.app is None and (cluster.config is not None or cluster.bootstrap_servers is not None):
        raise ConfigError("--to-handler needs the app: --app MODULE:APP")
    found = _find_dead_letter_topic_and_cluster(topic, cluster)
    wanted = _letter_filter(filters, letters)
    target = None if to_handler else Target(None if to_topic == OWN_TOPIC else to_topic, found.sources)
    replay_letters(found, wanted, target, limit=limit, rate=rate, force=force, dry_run=dry_run, as_json=as_json)


@command("drop")
def drop_command(
    *,
    topic: Topic = None,
    filters: _Filter,
    letters: _Letters,
    limit: Limit = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    cluster: ClusterOptions,
    as_json: AsJson = False,
) -> None:
    """Discard dead letters: no replay takes them any more. They stay in the topic for its retention."""
    from evkafka.cli.impl.dlq import drop_letters
    from evkafka.dlq import DeadLetterFilter

    wanted = _letter_filter(filters, letters)
    if wanted == DeadLetterFilter() and limit is None and not everything:
        raise ConfigError("name the dead letters with a filter, or discard all with --all")
    drop_letters(
        _find_dead_letter_topic_and_cluster(topic, cluster), wanted, limit=limit, dry_run=dry_run, as_json=as_json
    )


def _find_dead_letter_topic_and_cluster(topic: str | None, cluster: ClusterOptions) -> FoundDeadLetterTopic:
    from evkafka.cli.connection import find_dead_letter_topic_and_cluster

    return find_dead_letter_topic_and_cluster(cluster, topic)


def _letter_filter(options: _Filter, letters: _Letters = _Letters()) -> DeadLetterFilter:
    from evkafka.dlq import DeadLetterFilter, DeadLetterPosition

    if options.offset is not None and options.partition is None:
        raise ConfigError("--offset needs --partition N")
    try:
        positions = tuple(chain.from_iterable(map(DeadLetterPosition.parse_range, letters.at or ())))
    except ValueError as error:
        raise ConfigError(f"--at: {error}") from None
    return DeadLetterFilter(
        event_types=tuple(options.event_type or ()),
        error=options.error,
        containing=options.containing or "",
        since=None if options.since is None else parse_time("--since", options.since),
        until=None if options.until is None else parse_time("--until", options.until),
        partition=options.partition,
        offset=options.offset,
        ids=tuple(letters.id_ or ()),
        positions=positions,
    )


app = typer.Typer(name="dlq", help="List, show, replay or discard dead letters.", no_args_is_help=True)
for _command in (list_command, show_command, replay_command, drop_command):
    _command.add_to(app)
