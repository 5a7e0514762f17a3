"""`evkafka routes`: prints the events that an app handles and sends, as a tree."""

from __future__ import annotations

from typing import Any

from rich.tree import Tree

from evkafka.app import EVKafkaApp
from evkafka.cli.output import print_json, stdout_console, styled_line
from evkafka.config.settings import ConsumerSettings
from evkafka.endpoints.endpoint import Endpoint
from evkafka.service.plan import DeclaredConsumer, DeclaredProducer


def show_routes(app: EVKafkaApp, *, as_json: bool) -> None:
    """Print the routes. Nothing is connected.

    Raises:
        ConfigError: an annotation cannot be resolved.
    """
    routes = {
        "consumers": [_consumer_json(one) for one in app.consumers.values()],
        "producers": [_producer_json(one) for one in app.producers.values()],
    }
    if as_json:
        print_json(routes)
        return
    tree = Tree(styled_line((app.title, "bold"), f" {app.version}"), guide_style="dim")
    for consumer in routes["consumers"]:
        _add_consumer(tree, consumer)
    for producer in routes["producers"]:
        branch = tree.add(styled_line("producer ", (producer["name"], "bold")))
        for event in producer["events"]:
            topic = event["topic"] or "no topic"
            branch.add(styled_line((event["event_type"], "cyan"), f" -> {topic}  ", (event["sender"], "dim")))
    stdout_console().print(tree)


def _add_consumer(tree: Tree, consumer: dict[str, Any]) -> None:
    topics = ", ".join(consumer["topics"]) or f"/{consumer['topic_pattern']}/"
    group = f" as group {consumer['group_id']}" if consumer["group_id"] else ""
    details = f"concurrency {consumer['concurrency']}" + (
        f", {consumer['ordering']}" if consumer["concurrency"] > 1 else ""
    )
    branch = tree.add(
        styled_line("consumer ", (consumer["name"], "bold"), f" reads {topics}{group}  ", (details, "dim"))
    )
    if consumer["endpoints"] is None:
        branch.add(styled_line(("everything", "cyan"), " -> an app callable"))
        return
    for one in consumer["endpoints"]:
        kind = [one["payload"], *(["batch"] if one["batch"] else []), *(["thread"] if one["thread"] else [])]
        name = one["event_type"] or "anything else"
        branch.add(styled_line((name, "cyan"), f" -> {one['endpoint']}  ", (", ".join(kind), "dim")))


def _consumer_json(declared: DeclaredConsumer) -> dict[str, Any]:
    settings = declared.settings
    endpoints = declared.endpoints
    return {
        "name": declared.name,
        "topics": [topic.name for topic in settings.topics],
        "topic_pattern": None if settings.topic_pattern is None else settings.topic_pattern.pattern,
        "group_id": settings.group_id,
        "type_header": declared.type_header,
        "concurrency": settings.concurrency,
        "ordering": settings.ordering,
        "endpoints": None if endpoints is None else [_endpoint_json(one, settings) for one in endpoints],
    }


def _endpoint_json(endpoint: Endpoint, settings: ConsumerSettings) -> dict[str, Any]:
    return {
        "event_type": None if endpoint.is_default else endpoint.event_type,
        "endpoint": endpoint.name,
        "payload": endpoint.resolve_decoder().expected,
        "batch": endpoint.batch is not None,
        "thread": endpoint.threaded,
        "timeout_ms": round((endpoint.timeout_s or settings.max_endpoint_exec_time_s) * 1000),
        "summary": endpoint.summary,
    }


def _producer_json(declared: DeclaredProducer) -> dict[str, Any]:
    return {
        "name": declared.name,
        "events": [
            {"event_type": one.event_type, "topic": one.topic or declared.config.get("topic"), "sender": one.name}
            for one in declared.sender.endpoints
        ],
    }
