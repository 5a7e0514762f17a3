"""`evkafka topics`: prints and creates the topics that an app needs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from evkafka.app import EVKafkaApp
from evkafka.cli.impl.topic_plan import TopicStatus, create_missing_topics, read_topic_statuses
from evkafka.cli.output import print_json, print_table, stdout_console, styled_line


def show_plan(app: EVKafkaApp, *, as_json: bool) -> int:
    """Print the topics. Returns 1 if one is missing, else 0."""
    topics = asyncio.run(read_topic_statuses(app))
    missing = sorted({one.need.topic for one in topics if one.shape is None})
    if as_json:
        print_json({"missing": missing, "topics": [_topic_as_json(one) for one in topics]})
    else:
        heads = ("topic", "partitions", "replicas", "needed by", "for")
        print_table(heads, [_table_cells(one) for one in topics], numbers=("partitions", "replicas"))
        for declared in app.consumers.values():
            if (pattern := declared.settings.topic_pattern) is not None:
                stdout_console().print(
                    styled_line((f"{declared.name} reads the topics that match {pattern.pattern}", "dim"))
                )
        summary = f"{len(missing)} missing: `evkafka topics create` creates them" if missing else "all topics exist"
        stdout_console().print(summary, style="yellow" if missing else "green")
    return 1 if missing else 0


def create_topics(
    app: EVKafkaApp, *, partitions: int | None, replicas: int | None, config: Mapping[str, str], as_json: bool
) -> None:
    """Create the missing topics, and print their names."""
    created = asyncio.run(create_missing_topics(app, partitions=partitions, replicas=replicas, config=config))
    if as_json:
        print_json({"created": created})
        return
    for topic in created:
        print(f"created {topic}")
    if not created:
        print("nothing to create: all topics exist")


def _table_cells(one: TopicStatus) -> tuple[object, ...]:
    shape = one.shape
    size = ("missing", "") if shape is None else (shape.partitions, shape.replicas)
    return one.need.topic, *size, one.need.needed_by, one.need.role


def _topic_as_json(one: TopicStatus) -> dict[str, object]:
    shape = one.shape
    return {
        "topic": one.need.topic,
        "needed_by": one.need.needed_by,
        "for": one.need.role,
        "partitions": None if shape is None else shape.partitions,
        "replicas": None if shape is None else shape.replicas,
    }
