"""`evkafka check`: would this app run here? Everything that can be known without consuming a record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from evkafka.app import EVKafkaApp
from evkafka.cli.app_loader import load_app
from evkafka.cli.connection import quiet
from evkafka.cli.impl.check_config import config_findings
from evkafka.cli.impl.topic_plan import Need, needs_of
from evkafka.cli.options import Where
from evkafka.cli.output import plain, print_json, screen, styled
from evkafka.config import missing_group_id, producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError, ConfigError, EVKafkaError
from evkafka.kafka.admin.permissions import PermissionProbe, missing_codecs, probing
from evkafka.kafka.admin.topics import TopicShape, topic_shapes
from evkafka.kafka.client.preflight import reach
from evkafka.serde.safe_text import lines

Level = Literal["ok", "warning", "error"]

REACH_S = 10.0
RIGHTS_S = 20.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: a consumer, a topic, a group.
        fix: what to do; empty where nothing is to be done.
    """

    level: Level
    check: str
    about: str
    said: str
    fix: str = ""


def check(where: Where, *, broker: bool, strict: bool, as_json: bool) -> int:
    """Print what was found; 0 where nothing keeps the app from running, 1 where something does.

    Args:
        broker: also connect.
        strict: a warning counts like an error.
    """
    quiet()
    findings = list(asyncio.run(_findings(where, broker=broker)))
    failed = any(one.level == "error" or (strict and one.level == "warning") for one in findings)
    if as_json:
        print_json({"ok": not failed, "findings": [asdict(one) for one in findings]})
    else:
        _show(findings, failed=failed)
    return 1 if failed else 0


STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


def _show(findings: list[Finding], *, failed: bool) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for head in ("", "check", "about", "what"):
        table.add_column(head, overflow="fold")
    for one in findings:
        said = lines(one.said) + (f"\n-> {lines(one.fix)}" if one.fix else "")
        table.add_row(styled((one.level, STYLES[one.level])), one.check, Text(plain(one.about)), Text(said))
    screen().print(table)
    errors, warnings = (sum(one.level == level for one in findings) for level in ("error", "warning"))
    said = f"{_many(errors, 'error')}, {_many(warnings, 'warning')}" if errors or warnings else "everything is in order"
    screen().print(said, style="red" if failed else "yellow" if warnings else "green")


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


async def _findings(where: Where, *, broker: bool) -> list[Finding]:
    findings: list[Finding] = []
    try:
        app = load_app(str(where.app), where.app_dir, factory=where.factory)
        if not isinstance(app, EVKafkaApp):
            raise ConfigError(f"{where.app!r} is no EVKafkaApp")
    except ConfigError as error:
        return [Finding("error", "import", str(where.app), str(error))]
    consumers, producers = len(app.consumers), len(app.producers)
    findings.append(
        Finding("ok", "import", str(where.app), f"{_many(consumers, 'consumer')}, {_many(producers, 'producer')}")
    )
    findings += _wiring(app)
    for declared in app.consumers.values():
        findings += [
            Finding(level, "config", declared.name, said, fix) for level, said, fix in config_findings(declared)
        ]
    if not any(one.level == "error" for one in findings):
        findings += _tried("contract", "AsyncAPI", lambda: _contract(app))
    if missing := missing_codecs():
        fix = "pip install --force-reinstall cramjam"
        findings.append(Finding("error", "codecs", ", ".join(missing), "records in these cannot be read", fix))
    if not broker or any(one.level == "error" and one.check == "wiring" for one in findings):
        return findings
    return findings + await _connected(app)


# ---------------------------------------------------------------------------- without a broker


def _wiring(app: EVKafkaApp) -> Iterator[Finding]:
    if not app.consumers and not app.producers:
        yield Finding("error", "wiring", "app", "it has neither consumers nor producers", "app.add_consumer(...)")
    for declared in app.consumers.values():
        yield from _tried("wiring", declared.name, lambda declared=declared: _compile(app, declared))  # type: ignore[misc]
        if declared.endpoints == ():
            yield Finding("warning", "wiring", declared.name, "its handler has no endpoint", '@handler.event("Type")')
        if fault := missing_group_id(declared.settings):
            yield Finding("error", "config", declared.name, fault, 'give one: "group_id": "my-service"')
    for name, producer in app.producers.items():
        for endpoint in producer.sender.endpoints:
            yield from _tried("wiring", name, endpoint.resolve, quietly=True)
            if (endpoint.topic or producer.config.get("topic")) is None:
                fix = 'topic="..." at the event, or "topic" in the producer\'s configuration'
                yield Finding("error", "wiring", name, f"{endpoint.event_type!r} has no topic to go to", fix)
    if app.web:
        from evkafka.web import require_extra

        yield from _tried("wiring", "web part", require_extra, quietly=True)


def _compile(app: EVKafkaApp, declared: Any) -> str:
    types = [route.event_type for route in app.compile_consumer(declared).routes]
    return f"takes {', '.join(types)}" if types else "an app callable takes everything"


def _contract(app: EVKafkaApp) -> str:
    components = json.loads(app.asyncapi()).get("components", {})
    messages, schemas = (len(components.get(part, ())) for part in ("messages", "schemas"))
    return f"{_many(messages, 'message')}, {_many(schemas, 'schema')}"


def _tried(check: str, about: str, work: Callable[[], Any], *, quietly: bool = False) -> Iterator[Finding]:
    try:
        said = work()
    except EVKafkaError as error:
        yield Finding("error", check, about, str(error))
        return
    if not quietly:
        yield Finding("ok", check, about, str(said))


# ---------------------------------------------------------------------------- with one


async def _connected(app: EVKafkaApp) -> list[Finding]:
    findings: list[Finding] = []
    places: dict[tuple[str, ...], ConnectionSettings] = {}
    for declared in app.consumers.values():
        places.setdefault(declared.settings.connection.bootstrap_servers, declared.settings.connection)
    for producer in app.producers.values():
        connection = producer_settings(producer.config).connection
        places.setdefault(connection.bootstrap_servers, connection)
    for servers, connection in places.items():
        about = ",".join(servers)
        try:
            host, port = await reach(connection, timeout_s=REACH_S)
            shapes = await topic_shapes(connection)
        except BrokerError as error:
            findings.append(
                Finding("error", "broker", about, str(error), "see the network, security_protocol and login")
            )
            continue
        findings.append(Finding("ok", "broker", about, f"{host}:{port} lets us in"))
        needs = [need for need in needs_of(app) if need.connection.bootstrap_servers == servers]
        findings += [one for need in needs for one in _topic(need, shapes)]
        findings += await _rights(app, connection, needs, shapes)
    return findings


def _topic(need: Need, shapes: Any) -> Iterator[Finding]:
    shape: TopicShape | None = shapes.get(need.topic)
    if shape is None:
        made = need.role not in ("reads", "writes")
        said = "it is missing, and made when the app starts" if made else "it is missing"
        fix = "" if made else "evkafka topics create MODULE:APP, or check the name"
        yield Finding("warning" if made else "error", "topic", need.topic, said, fix)
        return
    said = f"{shape.partitions} partitions, {shape.replicas} replicas; {need.who} {need.role}"
    if need.role == "reads" and need.ordering == "partition" and need.concurrency > shape.partitions:
        fix = 'more partitions, or "ordering": "key", where only records of one key wait for each other'
        less = f"concurrency {need.concurrency} cannot be used: in order by partition, {shape.partitions} run at once"
        yield Finding("warning", "topic", need.topic, less, fix)
    elif shape.replicas == 1 and len(need.connection.bootstrap_servers) > 1:
        yield Finding("warning", "topic", need.topic, f"{said}: a lost broker takes it along", "three replicas")
    else:
        yield Finding("ok", "topic", need.topic, said)


async def _rights(app: EVKafkaApp, connection: ConnectionSettings, needs: list[Need], shapes: Any) -> list[Finding]:
    findings: list[Finding] = []
    about = ",".join(connection.bootstrap_servers)
    try:
        async with probing(connection, timeout_s=RIGHTS_S) as prober:
            silent = await prober.silent_brokers()
            for node, error in silent.items():
                said = f"{error}: the partitions that it leads stand still, and the groups that it coordinates"
                fix = "start it again, or see the way from here to its advertised.listeners"
                findings.append(Finding("error", "broker", node, said, fix))
            if silent:
                # Whom a question goes to is the cluster's to say: it may be one that never answers.
                fix = "evkafka check again, when all brokers answer"
                findings.append(Finding("warning", "rights", about, "not asked: a broker does not answer", fix))
                return findings
            for declared in app.consumers.values():
                settings = declared.settings
                if settings.connection.bootstrap_servers != connection.bootstrap_servers:
                    continue
                there = [topic.name for topic in settings.topics if topic.name in shapes]
                findings += await _reader_rights(prober, declared.name, settings.group_id, there)
            written = {need.topic: need for need in needs if need.role != "reads" and need.topic in shapes}
            for topic, need in written.items():
                lacks = await prober.writing(topic)
                findings.append(_right(lacks, topic, f"{need.who} may write"))
    except BrokerError as error:
        findings.append(Finding("error", "rights", about, str(error)))
    return findings


async def _reader_rights(prober: PermissionProbe, name: str, group: str | None, topics: list[str]) -> list[Finding]:
    findings = []
    if group is not None:
        findings.append(_right(await prober.joining(group), name, f"may join group {group!r}"))
    if topics:
        findings.append(_right(await prober.reading(topics), name, f"may read {', '.join(topics)}"))
    return findings


def _right(lacks: str | None, about: str, allowed: str) -> Finding:
    if lacks is None:
        return Finding("ok", "rights", about, allowed)
    return Finding("error", "rights", about, f"an ACL is missing: {lacks}", "kafka-acls.sh --add --allow-principal ...")
