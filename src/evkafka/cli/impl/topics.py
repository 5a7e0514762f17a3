"""`evkafka topics`: what an app needs against what there is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from evkafka.app import EVKafkaApp
from evkafka.cli.connection import quiet
from evkafka.cli.impl.topic_plan import Planned, create_missing, plan
from evkafka.cli.output import print_json, print_table, screen, styled


def show_plan(app: EVKafkaApp, *, as_json: bool) -> int:
    """Print it; 1 where a topic is missing."""
    quiet()
    planned = asyncio.run(plan(app))
    missing = sorted({one.need.topic for one in planned if one.shape is None})
    if as_json:
        print_json({"missing": missing, "topics": [_told(one) for one in planned]})
    else:
        heads = ("topic", "partitions", "replicas", "needed by", "for")
        print_table(heads, [_cells(one) for one in planned], numbers=("partitions", "replicas"))
        for declared in app.consumers.values():
            if (pattern := declared.settings.topic_pattern) is not None:
                screen().print(styled((f"{declared.name} reads what matches {pattern.pattern}", "dim")))
        said = f"{len(missing)} missing: `evkafka topics create` makes them" if missing else "none is missing"
        screen().print(said, style="yellow" if missing else "green")
    return 1 if missing else 0


def create(
    app: EVKafkaApp, *, partitions: int | None, replicas: int | None, config: Mapping[str, str], as_json: bool
) -> None:
    """Make those that are missing, and say which."""
    quiet()
    made = asyncio.run(create_missing(app, partitions=partitions, replicas=replicas, config=config))
    if as_json:
        print_json({"created": made})
        return
    for topic in made:
        print(f"made {topic}")
    if not made:
        print("none was missing")


def _cells(one: Planned) -> tuple[object, ...]:
    shape = one.shape
    there = ("missing", "") if shape is None else (shape.partitions, shape.replicas)
    return one.need.topic, *there, one.need.who, one.need.role


def _told(one: Planned) -> dict[str, object]:
    shape = one.shape
    return {
        "topic": one.need.topic,
        "needed_by": one.need.who,
        "for": one.need.role,
        "partitions": None if shape is None else shape.partitions,
        "replicas": None if shape is None else shape.replicas,
    }
