"""`evkafka routes`: what an app does with which event, as a tree."""

from __future__ import annotations

from typing import Any

from rich.tree import Tree

from evkafka.app import EVKafkaApp
from evkafka.cli.output import print_json, screen, styled
from evkafka.service.plan import DeclaredConsumer, DeclaredProducer


def show_routes(app: EVKafkaApp, *, as_json: bool) -> None:
    """Print it. Nothing is connected.

    Raises:
        ConfigError: an annotation cannot be resolved.
    """
    told = {
        "consumers": [_consumer(one) for one in app.consumers.values()],
        "producers": [_producer(one) for one in app.producers.values()],
    }
    if as_json:
        print_json(told)
        return
    tree = Tree(styled((app.title, "bold"), f" {app.version}"), guide_style="dim")
    for consumer in told["consumers"]:
        _show_consumer(tree, consumer)
    for producer in told["producers"]:
        branch = tree.add(styled("producer ", (producer["name"], "bold")))
        for event in producer["events"]:
            topic = event["topic"] or "no topic"
            branch.add(styled((event["event_type"], "cyan"), f" -> {topic}  ", (event["sender"], "dim")))
    screen().print(tree)


def _show_consumer(tree: Tree, told: dict[str, Any]) -> None:
    topics = ", ".join(told["topics"]) or f"/{told['topic_pattern']}/"
    group = f" as group {told['group_id']}" if told["group_id"] else ""
    how = f"concurrency {told['concurrency']}" + (f", {told['ordering']}" if told["concurrency"] > 1 else "")
    branch = tree.add(styled("consumer ", (told["name"], "bold"), f" reads {topics}{group}  ", (how, "dim")))
    if told["endpoints"] is None:
        branch.add(styled(("everything", "cyan"), " -> an app callable"))
        return
    for one in told["endpoints"]:
        kind = [one["payload"], *(["batch"] if one["batch"] else []), *(["thread"] if one["thread"] else [])]
        name = one["event_type"] or "anything else"
        branch.add(styled((name, "cyan"), f" -> {one['endpoint']}  ", (", ".join(kind), "dim")))


def _consumer(declared: DeclaredConsumer) -> dict[str, Any]:
    settings = declared.settings
    endpoints = None
    if declared.endpoints is not None:
        endpoints = []
        for one in declared.endpoints:
            decoder = one.resolve()
            endpoints.append(
                {
                    "event_type": None if one.is_default else one.event_type,
                    "endpoint": one.name,
                    "payload": decoder.expected,
                    "batch": one.batch is not None,
                    "thread": one.threaded,
                    "timeout_ms": round((one.timeout_s or settings.max_endpoint_exec_time_s) * 1000),
                    "summary": one.summary,
                }
            )
    return {
        "name": declared.name,
        "topics": [topic.name for topic in settings.topics],
        "topic_pattern": None if settings.topic_pattern is None else settings.topic_pattern.pattern,
        "group_id": settings.group_id,
        "type_header": declared.type_header,
        "concurrency": settings.concurrency,
        "ordering": settings.ordering,
        "endpoints": endpoints,
    }


def _producer(declared: DeclaredProducer) -> dict[str, Any]:
    return {
        "name": declared.name,
        "events": [
            {"event_type": one.event_type, "topic": one.topic or declared.config.get("topic"), "sender": one.name}
            for one in declared.sender.endpoints
        ],
    }
