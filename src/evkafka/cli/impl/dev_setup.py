"""What `evkafka dev` does in the app's process before the app starts: topics, a free port, and what to try next."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from typing import Any

from evkafka.app import EVKafkaApp
from evkafka.cli.impl.run_options import RunOptions
from evkafka.cli.impl.topic_plan import create_missing
from evkafka.web.component import TOKEN_VARIABLE

logger = logging.getLogger("evkafka.cli")

NEXT_PORTS = 10
"""How many ports are tried, from the app's own on."""


def set_up_dev(app: EVKafkaApp, options: RunOptions) -> None:
    """Create the missing topics, and print the page's address and commands to try."""
    assert options.new_topic_partitions is not None
    if options.port is None:
        _find_free_port(app)
    for name in asyncio.run(create_missing(app, partitions=options.new_topic_partitions)):
        logger.info("topic %s is made", name)
    print(file=sys.stderr)
    for line in [*_page_lines(app), *command_lines(app, options.bootstrap_servers)]:
        print(f"  {line}", file=sys.stderr)
    print("  Ctrl-C stops it.\n", file=sys.stderr, flush=True)


def _find_free_port(app: EVKafkaApp) -> None:
    """Serve the page on another port if another program has the app's.

    The next ports are tried in order: the port stays the same after a reload, and so does the browser's tab.
    """
    if not app.web:
        return
    for port in (*range(app.web_port, app.web_port + NEXT_PORTS), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((app.web_host, port))
            except OSError:
                continue
            app.web_port = probe.getsockname()[1]
            return


def _page_lines(app: EVKafkaApp) -> list[str]:
    if not (app.web and app.web_port):
        return []
    url = f"http://{app.web_host}:{app.web_port}/"
    token = None if app.has_ui_token else os.environ.get(TOKEN_VARIABLE)
    return [f"Page      {url}", f"Operate   {url}ui" + (f"  (to act there: {token})" if token else "")]


def command_lines(app: EVKafkaApp, servers: str | None) -> list[str]:
    """A command that sends an event to the app, and one that shows the topic; none if no event has an example."""
    example = next(examples(app), None)
    if example is None:
        return []
    topic, event_type, payload = example
    cluster = f" --bootstrap-servers {servers}" if servers else ""
    text = shlex.quote(json.dumps(payload, ensure_ascii=False))
    kind = f" --type {shlex.quote(event_type)}" if event_type else ""
    return [f"Send      evkafka send {topic} {text}{kind}{cluster}", f"Look      evkafka tail {topic}{cluster}"]


def examples(app: EVKafkaApp) -> Iterator[tuple[str, str | None, Any]]:
    """Topic, event type and an example payload of each event that the app receives and the contract has one for."""
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
