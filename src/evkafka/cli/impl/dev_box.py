"""The box that `evkafka dev` prints before the app starts: addresses, token, consumers, and a command to try."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from evkafka.app import EVKafkaApp
from evkafka.cli.dev_broker import REGISTRY_VARIABLE
from evkafka.serde.safe_text import escape_line
from evkafka.service.plan import DeclaredConsumer
from evkafka.web import missing_packages
from evkafka.web.component import TOKEN_VARIABLE

MOST_NAMES = 8
"""How many consumers, and how many event types of each, are listed."""

Line = tuple[str, str]
"""A label and its value; without a label, the value belongs to the line before."""


def print_box(app: EVKafkaApp, servers: str, cluster: str) -> None:
    """Print the box to stderr. No line is wrapped, so that each value can be copied.

    Args:
        cluster: the option with which other commands find this broker.
    """
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    lines = [*_web_lines(app), ("Broker", servers), *_registry_lines(), *_consumer_lines(app)]
    console.print()
    console.rule(Text(escape_line(f"{app.title} {app.version}"), "bold"), align="left")
    for label, value in lines:
        console.print(Text.assemble(f"  {label:11}", (escape_line(value), "bold")))
    for label, value in _command_lines(app, cluster):
        console.print(Text.assemble(f"\n  {label}\n    ", (escape_line(value), "bold")))
    console.print("\n  Ctrl-C stops it.")
    console.rule()
    console.print()


def _web_lines(app: EVKafkaApp) -> list[Line]:
    if missing_packages():
        return [("Dashboard", "not served: pip install 'evkafka[web]'")]
    if not app.web:
        return [("Dashboard", "not served: --no-web")]
    from evkafka.http.server import url_of  # needs the extra

    url = url_of(app.web_host, app.web_port)
    token = "the app's ui_token" if app.has_ui_token else os.environ[TOKEN_VARIABLE]
    return [("Dashboard", f"{url}ui"), ("API docs", url), ("Token", token)]


def _registry_lines() -> list[Line]:
    url = os.environ.get(REGISTRY_VARIABLE)
    return [("Registry", url)] if url else []


def _consumer_lines(app: EVKafkaApp) -> Iterator[Line]:
    labels = iter(["Consumers"])
    for text in _shorten_list_of_names([_consumer_text(one) for one in app.consumers.values()]):
        yield next(labels, ""), text


def _consumer_text(declared: DeclaredConsumer) -> str:
    settings = declared.settings
    topics = [one.name for one in settings.topics]
    source = (
        ", ".join(_shorten_list_of_names(topics))
        if settings.topic_pattern is None
        else f"/{settings.topic_pattern.pattern}/"
    )
    return f"{declared.name} reads {source}: {', '.join(_shorten_list_of_names(_event_names(declared))) or 'no events'}"


def _event_names(declared: DeclaredConsumer) -> list[str]:
    if declared.endpoints is None:
        return ["all events"]
    types = [one.event_type for one in declared.endpoints if not one.is_default]
    others = ["all other events" if types else "all events"]
    return types + (others if any(one.is_default for one in declared.endpoints) else [])


def _shorten_list_of_names(names: Sequence[str]) -> list[str]:
    more = [f"and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return [*names[:MOST_NAMES], *more]


def _command_lines(app: EVKafkaApp, cluster: str) -> list[Line]:
    """A command that sends an event to the app, and one that prints the topic; none if no event has an example."""
    example = next(_example_events(app), None)
    if example is None:
        return []
    topic, event_type, payload = example
    text = shlex.quote(json.dumps(payload, ensure_ascii=False))
    kind = f" --type {shlex.quote(event_type)}" if event_type else ""
    return [
        ("Send an event", f"evkafka send {topic} {text}{kind} {cluster}"),
        ("Read the topic", f"evkafka tail {topic} {cluster}"),
    ]


def _example_events(app: EVKafkaApp) -> Iterator[tuple[str, str | None, Any]]:
    """Topic, event type and an example payload of each event that the app receives and its document has one for."""
    document: dict[str, Any] = json.loads(app.asyncapi())
    messages = document.get("components", {}).get("messages", {})
    for operation in document.get("operations", {}).values():
        if operation["action"] != "receive":
            continue
        topic = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]].get("address")
        for ref in operation.get("messages", ()):
            message = messages.get(ref["$ref"].rpartition("/")[2], {})
            example = (message.get("examples") or [{}])[0]
            if topic and "payload" in example:
                yield topic, message.get("name"), example["payload"]
