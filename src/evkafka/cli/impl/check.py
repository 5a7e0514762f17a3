"""`evkafka check`: reports whether an app would run here. No record is consumed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from evkafka.app import EVKafkaApp
from evkafka.cli.connection import load_evkafka_app, silence_client_log
from evkafka.cli.dev_broker import redirect_app_to_dev_broker, use_dev_registry
from evkafka.cli.env_file import load_env_file
from evkafka.cli.impl.check_protocol import protocol_findings
from evkafka.cli.impl.check_schemas import schema_findings
from evkafka.cli.impl.check_transactions import transaction_findings
from evkafka.cli.impl.topic_plan import Need, Role, needed_topics
from evkafka.cli.options import AppOptions
from evkafka.cli.output import counted, print_json, stdout_console, styled_line
from evkafka.config import missing_group_id_fault, producer_settings
from evkafka.config.settings import ConnectionSettings, ConsumerSettings
from evkafka.exceptions import BrokerError, BrokerRefused, ConfigError, EVKafkaError
from evkafka.kafka.admin.groups import describe_group, look_up_consumer_protocol_offer
from evkafka.kafka.admin.permissions import PermissionProbe, missing_codecs, permission_probe
from evkafka.kafka.admin.topics import TopicShape, all_topic_shapes, settings_of_any_broker
from evkafka.kafka.admin.transactions import look_up_transaction_support
from evkafka.kafka.client.preflight import find_reachable_server
from evkafka.runtime.dead_letters.retry_topics import retry_consumer_name
from evkafka.serde.safe_text import escape_line, escape_multiline_text
from evkafka.service.config_checks import ConfigFinding, config_findings, metadata_findings
from evkafka.service.plan import DeclaredConsumer
from evkafka.service.transaction_checks import shared_transactional_id_faults, weaker_producer_faults

Level = Literal["ok", "note", "warning", "error"]
STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}

USES: Mapping[Role, str] = {
    "reads": "read by",
    "writes": "written by",
    "retries": "retries of",
    "dead letters": "dead letters of",
}

REACH_TIMEOUT_S = 10.0
PERMISSIONS_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        about: a consumer, a topic, a group.
        fix: what to do; empty if there is nothing to do.
    """

    level: Level
    check: str
    about: str
    message: str
    fix: str = ""


def check_app(options: AppOptions, *, broker: bool, strict: bool, as_json: bool) -> int:
    """Print the findings. Returns 1 if one keeps the app from running, else 0.

    Args:
        broker: also connect.
        strict: a warning counts as an error.

    Raises:
        ConfigError: `--env-file` cannot be read.
    """
    load_env_file(options.env_file)
    silence_client_log()
    findings = asyncio.run(_collect_findings(options, broker=broker))
    failed = any(one.level == "error" or (strict and one.level == "warning") for one in findings)
    if as_json:
        print_json({"ok": not failed, "findings": [asdict(one) for one in findings]})
    else:
        _print_findings(findings, failed=failed)
    return 1 if failed else 0


def _print_findings(findings: list[Finding], *, failed: bool) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for head in ("", "check", "about", "what"):
        table.add_column(head, overflow="fold")
    for one in findings:
        text = escape_multiline_text(one.message) + (f"\n-> {escape_multiline_text(one.fix)}" if one.fix else "")
        table.add_row(styled_line((one.level, STYLES[one.level])), one.check, Text(escape_line(one.about)), Text(text))
    stdout_console().print(table)
    errors, warnings = (sum(one.level == level for one in findings) for level in ("error", "warning"))
    summary = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
    stdout_console().print(
        summary if errors or warnings else "OK",
        style="red" if failed else "yellow" if warnings else "green",
    )


async def _collect_findings(options: AppOptions, *, broker: bool) -> list[Finding]:
    try:
        if broker:
            use_dev_registry(options.target, options.app_dir)
        app = load_evkafka_app(options.target, options.app_dir, factory=options.factory)
        if broker:
            redirect_app_to_dev_broker(app, options.target, options.app_dir)
    except ConfigError as error:
        return [Finding("error", "import", options.target, str(error))]
    parts = f"{counted(len(app.consumers), 'consumer')}, {counted(len(app.producers), 'producer')}"
    findings = [Finding("ok", "import", options.target, parts), *_check_wiring(app)]
    for declared in app.consumers.values():
        found = config_findings(declared) or [ConfigFinding("ok", "timeouts are consistent")]
        findings += [Finding(level, "config", declared.name, *rest) for level, *rest in found]
        if not broker:
            findings += _check_commit_metadata(declared, None)
    if not any(one.level == "error" for one in findings):
        findings += _call_as_finding("asyncapi", options.target, partial(_count_document_parts, app))
    if missing := missing_codecs():
        fix = "pip install --force-reinstall cramjam"
        findings.append(
            Finding("error", "codecs", ", ".join(missing), "records with this compression cannot be read", fix)
        )
    if not broker or any(one.level == "error" and one.check == "wiring" for one in findings):
        return findings
    schemas = [Finding(level, "schemas", *rest) for level, *rest in await schema_findings(app, options.target)]
    return findings + schemas + await _check_app_against_its_clusters(app)


# ---------------------------------------------------------------------------- without a broker


def _check_wiring(app: EVKafkaApp) -> Iterator[Finding]:
    if not app.consumers and not app.producers:
        yield Finding("error", "wiring", "app", "no consumers and no producers", "app.add_consumer(...)")
    for declared in app.consumers.values():
        yield from _call_as_finding("wiring", declared.name, partial(_compile_and_list_types, app, declared))
        if declared.endpoints == ():
            yield Finding("warning", "wiring", declared.name, "its handler has no endpoint", '@handler.event("Type")')
        if fault := missing_group_id_fault(declared.settings):
            yield Finding("error", "config", declared.name, fault, 'give one: "group_id": "my-service"')
    for fault in shared_transactional_id_faults(_consumer_names_and_settings(app)):
        yield Finding("error", "config", "transactional_id", fault)
    settings = [(name, producer_settings(producer.config)) for name, producer in app.producers.items()]
    for fault in weaker_producer_faults(_consumer_names_and_settings(app), settings):
        yield Finding("error", "config", "acks", fault)
    for name, producer in app.producers.items():
        for endpoint in producer.sender.endpoints:
            yield from _call_as_finding("wiring", name, endpoint.resolve_annotation, report_success=False)
            if (endpoint.topic or producer.config.get("topic")) is None:
                fix = 'topic="..." of the event, or "topic" in the producer\'s configuration'
                yield Finding("error", "wiring", name, f"{endpoint.event_type!r} has no topic", fix)
    if app.web:
        from evkafka.web import require_extra

        yield from _call_as_finding("wiring", "HTTP server", require_extra, report_success=False)


def _consumer_names_and_settings(app: EVKafkaApp) -> Iterator[tuple[str, ConsumerSettings]]:
    """The consumers of the app, those of retry topics included."""
    for declared in app.consumers.values():
        yield declared.name, declared.settings
        with suppress(ConfigError):  # an invalid policy, which is a finding of its own
            if (retries := declared.settings_of_retry_consumer()) is not None:
                yield retry_consumer_name(declared.name), retries


def _compile_and_list_types(app: EVKafkaApp, declared: DeclaredConsumer) -> str:
    types = [route.event_type for route in app.compile_consumer_plan(declared).routes]
    return f"handles {', '.join(types)}" if types else "an app callable handles all events"


def _count_document_parts(app: EVKafkaApp) -> str:
    components = json.loads(app.asyncapi()).get("components", {})
    messages, schemas = (len(components.get(part, ())) for part in ("messages", "schemas"))
    return f"{counted(messages, 'message')}, {counted(schemas, 'schema')}"


def _call_as_finding(
    check: str, about: str, work: Callable[[], Any], *, report_success: bool = True
) -> Iterator[Finding]:
    try:
        message = work()
    except EVKafkaError as error:
        yield Finding("error", check, about, str(error))
        return
    if report_success:
        yield Finding("ok", check, about, str(message))


def _check_commit_metadata(declared: DeclaredConsumer, broker_limit: int | None) -> list[Finding]:
    found = metadata_findings(declared.settings, broker_limit)
    return [Finding(level, "config", declared.name, *rest) for level, *rest in found]


# ---------------------------------------------------------------------------- with the brokers


async def _check_app_against_its_clusters(app: EVKafkaApp) -> list[Finding]:
    findings: list[Finding] = []
    connections = [one.settings.connection for one in app.consumers.values()]
    connections += [producer_settings(one.config).connection for one in app.producers.values()]
    clusters: dict[tuple[str, ...], ConnectionSettings] = {}
    for connection in connections:
        clusters.setdefault(connection.bootstrap_servers, connection)
    for servers, connection in clusters.items():
        about = ",".join(servers)
        try:
            host, port = await find_reachable_server(connection, timeout_s=REACH_TIMEOUT_S)
            shapes = await all_topic_shapes(connection)
        except BrokerError as error:
            fix = "check the network, security_protocol and the login"
            findings.append(Finding("error", "broker", about, str(error), fix))
            continue
        findings.append(Finding("ok", "broker", about, f"{host}:{port} connection OK"))
        needs = [need for need in needed_topics(app) if need.connection.bootstrap_servers == servers]
        findings += [_check_topic(need, shapes.get(need.topic)) for need in needs]
        if consumers := [one for one in app.consumers.values() if one.settings.connection.bootstrap_servers == servers]:
            known = await _read_broker_settings(connection)
            broker_limit = (known or {}).get("offset.metadata.max.bytes")
            for one in consumers:
                findings += _check_commit_metadata(one, int(broker_limit) if broker_limit is not None else None)
                findings += await _ask_brokers("protocol", one, _check_group_protocol(one.settings, known))
                findings += await _ask_brokers("transactions", one, _check_transactions(one.settings, known))
        findings += await _check_permissions(app, connection, [one for one in needs if one.topic in shapes])
    return findings


async def _read_broker_settings(connection: ConnectionSettings) -> Mapping[str, str] | None:
    """The settings of a broker; None if this client may not see them."""
    try:
        return await settings_of_any_broker(connection)
    except BrokerError:
        return None


async def _ask_brokers(
    check: str, declared: DeclaredConsumer, asked: Awaitable[Iterable[ConfigFinding]]
) -> list[Finding]:
    try:
        found = await asked
    except BrokerRefused:
        found = []  # the check of the permissions says what is missing
    except BrokerError as error:
        found = [ConfigFinding("warning", f"not checked: {error}")]
    return [Finding(level, check, declared.name, *rest) for level, *rest in found]


async def _check_group_protocol(settings: ConsumerSettings, known: Mapping[str, str] | None) -> Iterable[ConfigFinding]:
    if settings.group_id is None:
        return ()
    offer = await look_up_consumer_protocol_offer(settings.connection, settings.group_id)
    group = await describe_group(settings.connection, settings.group_id)
    return protocol_findings(settings, offer, group, known)


async def _check_transactions(settings: ConsumerSettings, known: Mapping[str, str] | None) -> Iterable[ConfigFinding]:
    transactions = settings.transaction_settings
    if transactions is None or settings.group_id is None:
        return ()
    id_ = settings.transactional_id or settings.default_transactional_id("check")
    support = await look_up_transaction_support(settings.connection, id_, settings.group_id)
    return transaction_findings(transactions, support, known)


def _check_topic(need: Need, shape: TopicShape | None) -> Finding:
    if shape is None:
        if need.role in ("retries", "dead letters"):
            return Finding("warning", "topic", need.topic, "missing; the app creates it when it starts")
        fix = "evkafka topics create MODULE:APP, or check the name"
        return Finding("error", "topic", need.topic, "missing", fix)
    size = f"{counted(shape.partitions, 'partition')}, {counted(shape.replicas, 'replica')}"
    message = f"{size}; {USES[need.role]} {need.needed_by}"
    if need.role == "reads" and need.ordering == "partition" and need.concurrency > shape.partitions:
        fix = 'more partitions, or "ordering": "key"'
        less = (
            f"concurrency {need.concurrency} has no effect: with ordering by partition at most {shape.partitions}"
            " records run at once"
        )
        return Finding("warning", "topic", need.topic, less, fix)
    if shape.replicas == 1 and len(need.connection.bootstrap_servers) > 1:
        return Finding(
            "warning", "topic", need.topic, f"{message}: if its broker is lost, the topic is lost", "three replicas"
        )
    return Finding("ok", "topic", need.topic, message)


async def _check_permissions(app: EVKafkaApp, connection: ConnectionSettings, needs: list[Need]) -> list[Finding]:
    """Check what the app may read and write in one cluster.

    Args:
        needs: the topics that exist.
    """
    findings: list[Finding] = []
    servers = connection.bootstrap_servers
    about = ",".join(servers)
    try:
        async with permission_probe(connection, timeout_s=PERMISSIONS_TIMEOUT_S) as probe:
            if silent := await probe.find_unreachable_brokers():
                return _silent_broker_findings(silent, about)
            existing = {need.topic for need in needs}
            for declared in app.consumers.values():
                if declared.settings.connection.bootstrap_servers == servers:
                    findings += await _check_reader_permissions(probe, declared, existing)
            written = {need.topic: need for need in needs if need.role != "reads"}
            for topic, need in written.items():
                missing = await probe.find_missing_right_to_write_topic(topic)
                findings.append(_permission_finding(missing, topic, f"{need.needed_by} may write"))
    except BrokerError as error:
        findings.append(Finding("error", "permissions", about, str(error)))
    return findings


def _silent_broker_findings(silent: Mapping[str, object], about: str) -> list[Finding]:
    findings = []
    for node, error in silent.items():
        message = f"{error}: the partitions that it leads and the groups that it coordinates are blocked"
        fix = "restart it, or check the network to its advertised.listeners"
        findings.append(Finding("error", "broker", node, message, fix))
    # The cluster decides which broker answers a question about permissions: it may be one that never answers.
    fix = "run evkafka check again when all brokers answer"
    return [*findings, Finding("warning", "permissions", about, "not checked: a broker does not answer", fix)]


async def _check_reader_permissions(
    probe: PermissionProbe, declared: DeclaredConsumer, existing: set[str]
) -> list[Finding]:
    findings = []
    group = declared.settings.group_id
    topics = [topic.name for topic in declared.settings.topics if topic.name in existing]
    if group is not None:
        findings.append(
            _permission_finding(
                await probe.find_missing_right_to_join_group(group), declared.name, f"may join group {group!r}"
            )
        )
    if topics:
        findings.append(
            _permission_finding(
                await probe.find_missing_right_to_read_topics(topics), declared.name, f"may read {', '.join(topics)}"
            )
        )
    return findings


def _permission_finding(missing: str | None, about: str, allowed: str) -> Finding:
    if missing is None:
        return Finding("ok", "permissions", about, allowed)
    return Finding(
        "error", "permissions", about, f"an ACL is missing: {missing}", "kafka-acls.sh --add --allow-principal ..."
    )
