"""`evkafka dev`: a real Kafka, the app's topics, the app, its page; and what to type next."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evkafka.app import EVKafkaApp
from evkafka.cli.impl.run import RunOptions, run_app
from evkafka.exceptions import BrokerError, ConfigError
from evkafka.web.component import TOKEN_VARIABLE

logger = logging.getLogger("evkafka.cli")

USUAL_PORT = 9092

NEXT_PORTS = 10
"""How many ports after the app's own are tried."""


def run_dev(
    options: RunOptions, *, reload: bool, directories: Sequence[Path], broker_port: int | None, data: Path | None
) -> int:
    """Returns when it was stopped; the app's exit code.

    Raises:
        ConfigError, BrokerError: the broker could not start, or the app is none.
    """
    from dataclasses import replace

    with _broker(options.bootstrap_servers, broker_port, data) as servers:
        options = replace(options, bootstrap_servers=servers)
        os.environ.setdefault(TOKEN_VARIABLE, secrets.token_urlsafe(12))  # one for all reloads: a tab stays open
        if reload:
            from evkafka.cli.impl.reload import run_reloading

            return run_reloading(options, directories)
        run_app(options)
        return 0


def can_serve() -> bool:
    """Whether the web part's extra is installed: without it there is no page, and everything else works."""
    return all(importlib.util.find_spec(name) is not None for name in ("starlette", "uvicorn", "jinja2"))


@contextmanager
def _broker(given: str | None, port: int | None, data: Path | None) -> Iterator[str]:
    if given is not None:
        yield given
        return
    from evkafka.broker import KafkaBroker

    print("Starting Apache Kafka...", file=sys.stderr, flush=True)
    properties: Mapping[str, Any] = {"auto.create.topics.enable": False}
    broker = KafkaBroker(USUAL_PORT if port is None else port, data_dir=data, properties=properties)
    try:
        broker.start()
    except BrokerError:
        raise
    except ConfigError:
        if port is not None:
            raise
        broker = KafkaBroker(data_dir=data, properties=properties)  # somebody else has the usual port
        broker.start()
    try:
        print(f"Apache Kafka is ready: {broker.bootstrap_servers}", file=sys.stderr, flush=True)
        yield broker.bootstrap_servers
    finally:
        broker.stop()


# ---------------------------------------------------------------------------- in the app's process


def prepare(app: EVKafkaApp, options: RunOptions) -> None:
    """Make the topics that are missing, and say how to send an event once the app is up."""
    from evkafka.cli.impl.topic_plan import create_missing

    assert options.dev is not None
    _find_port(app, options)
    for name in asyncio.run(create_missing(app, partitions=options.dev)):
        logger.info("topic %s is made", name)
    _say(app, options)


def _find_port(app: EVKafkaApp, options: RunOptions) -> None:
    """Another program may have the app's port: in development any other one will do, where none was asked for."""
    if not app.web or options.port is not None:
        return
    for port in (
        *range(app.web_port, app.web_port + NEXT_PORTS),
        0,
    ):  # the same one after a reload, so that a tab stays
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((app.web_host, port))
            except OSError:
                continue
            app.web_port = probe.getsockname()[1]
            return


def _say(app: EVKafkaApp, options: RunOptions) -> None:
    print(file=sys.stderr)
    for line in [*_page(app), *hints(app, options.bootstrap_servers)]:
        print(f"  {line}", file=sys.stderr)
    print("  Ctrl-C stops it.\n", file=sys.stderr, flush=True)


def _page(app: EVKafkaApp) -> list[str]:
    if not (app.web and app.web_port):
        return []
    url = f"http://{app.web_host}:{app.web_port}/"
    token = None if app.has_ui_token else os.environ.get(TOKEN_VARIABLE)
    return [f"Page      {url}", f"Operate   {url}ui" + (f"  (to act there: {token})" if token else "")]


def hints(app: EVKafkaApp, servers: str | None) -> list[str]:
    """A command that sends an event which the app takes, and one that looks at it."""
    where = f" --bootstrap-servers {servers}" if servers else ""
    for topic, event_type, payload in examples(app):
        said = shlex.quote(json.dumps(payload, ensure_ascii=False))
        kind = f" --type {shlex.quote(event_type)}" if event_type else ""
        return [f"Send      evkafka send {topic} {said}{kind}{where}", f"Look      evkafka tail {topic}{where}"]
    return []


def examples(app: EVKafkaApp) -> Iterator[tuple[str, str | None, Any]]:
    """Topic, event type and an example of a payload, of what the app takes; those with a payload first."""
    document: dict[str, Any] = json.loads(app.asyncapi())
    messages = document.get("components", {}).get("messages", {})
    for operation in document.get("operations", {}).values():
        if operation["action"] != "receive":
            continue
        topic = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]].get("address")
        for ref in operation.get("messages", ()):
            message = messages.get(ref["$ref"].rpartition("/")[2], {})
            given = message.get("examples") or [{}]
            if topic and "payload" in given[0]:
                yield topic, message.get("name"), given[0]["payload"]
