"""`evkafka tail`: its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import (
    INSPECT,
    ClusterOptions,
    EventTypes,
    FilteredPartition,
    Topic,
    filter_option,
    name_value_pairs,
    range_option,
)

From = Annotated[
    str | None,
    range_option(
        "--from",
        metavar="POSITION",
        help="Start at earliest, latest, an offset, a time (2026-01-31T12:00:00Z) or an age (2h).",
    ),
]
Last = Annotated[int, range_option("--last", "-n", min=0, metavar="N", help="Start with the last N matching records.")]
Follow = Annotated[bool, range_option("--follow/--no-follow", help="Wait for new records, or stop at the end.")]
Limit = Annotated[int | None, range_option(min=1, metavar="N", help="Stop after N matching records.")]
Key = Annotated[str | None, filter_option("--key", "-k", metavar="KEY", help="Only this key.")]
Headers = Annotated[
    list[str] | None, filter_option("--header", "-H", metavar="NAME=VALUE", help="Only this header; may be repeated.")
]
Fields = Annotated[
    list[str] | None,
    filter_option(
        "--where",
        metavar="FIELD=VALUE",
        help="Only if this field of the payload (customer.id) has this value; may be repeated.",
    ),
]
Text = Annotated[str | None, filter_option("--grep", metavar="TEXT", help="Only if the value contains this text.")]
Registry = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Schema registry of values in Avro, Protobuf or JSON Schema. Default: the app's.",
    ),
]
JsonLines = Annotated[bool, typer.Option("--json", help="Print each record as one line of JSON.")]


@dataclass(frozen=True, slots=True)
class _FilterOptions:
    event_type: EventTypes = None
    key: Key = None
    header: Headers = None
    where: Fields = None
    text: Text = None


@command(
    "tail",
    panel=INSPECT,
    short_help="Print a topic's records, and follow it.",
    epilog="Example: evkafka tail orders --from 2h --type OrderPlaced --where status=new",
)
def tail_command(
    *,
    topic: Topic,
    from_: From = None,
    last: Last = 10,
    follow: Follow = True,
    limit: Limit = None,
    partition: FilteredPartition = None,
    filters: _FilterOptions,
    cluster: ClusterOptions,
    registry: Registry = None,
    as_json: JsonLines = False,
) -> None:
    """Print a topic's records, and follow it until Ctrl-C. Joins no group and commits nothing."""
    from evkafka.cli.connection import find_cluster_by_options
    from evkafka.cli.impl.tail import RecordFilter, RecordRange, tail
    from evkafka.cli.position import parse_position
    from evkafka.serde.formats.registry import SchemaRegistry

    wanted = RecordFilter(
        tuple(filters.event_type or ()),
        filters.key,
        name_value_pairs("--header", filters.header),
        name_value_pairs("--where", filters.where),
        filters.text,
    )
    start = None if from_ is None else parse_position("--from", from_)
    records = RecordRange(topic, partition, start=start, last=last, limit=limit, follow=follow)
    found = find_cluster_by_options(cluster, topic=topic)
    tail(found, records, wanted, registry=SchemaRegistry(registry) if registry else None, as_json=as_json)
