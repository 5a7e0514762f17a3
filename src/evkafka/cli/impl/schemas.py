"""`evkafka schemas`: prints, registers and checks the schemas of the events that an app sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from evkafka.app import EVKafkaApp
from evkafka.cli.connection import load_env_file_and_app
from evkafka.cli.options import AppOptions
from evkafka.cli.output import print_json, stdout_console, styled_line
from evkafka.exceptions import RegistryRefused, SchemaNotFound
from evkafka.serde.formats.interface import Outgoing, Schema
from evkafka.serde.formats.registry_format import Planned, RegistryFormat

State = Literal["registered", "unchanged", "compatible", "new", "missing", "incompatible", "refused"]

FAILED: frozenset[State] = frozenset({"missing", "incompatible", "refused"})

STYLES: dict[State, str] = {"missing": "red", "incompatible": "red", "refused": "red", "registered": "green"}

SENTENCES: dict[State, str] = {
    "registered": "registered",
    "unchanged": "already registered",
    "compatible": "compatible with the latest version, not registered yet",
    "new": "the subject does not exist yet",
    "missing": "written by the latest schema of the subject, which does not exist",
    "incompatible": "incompatible with the latest version",
    "refused": "refused by the registry",
}


@dataclass(frozen=True, slots=True)
class SentSchema:
    """The schema of an event that the app sends.

    Attributes:
        planned: its subject, and its schema; without one it is written by the latest schema of the subject.
    """

    event: Outgoing
    value_format: RegistryFormat
    planned: Planned


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of a schema in the registry.

    Attributes:
        number: the schema's id.
        reasons: why it is incompatible, or was refused.
    """

    sent: SentSchema
    state: State
    number: int | None = None
    reasons: Sequence[str] = field(default=())


# ---------------------------------------------------------------------------- the commands


def show_sent_schemas(options: AppOptions, *, as_json: bool) -> None:
    """Print the schemas.

    Raises:
        ConfigError: a payload type has no schema in its format.
    """
    found = sent_schemas(load_env_file_and_app(options))
    if as_json:
        print_json([_schema_as_json(one) for one in found])
        return
    for one in found:
        stdout_console().print(styled_line((one.planned.subject, "bold"), (f"  {_event_and_topic_text(one)}", "dim")))
        print(f"{_schema_text(one)}\n")


def register_schemas(options: AppOptions, *, as_json: bool) -> int:
    """Register them. Returns 1 if one was refused, else 0.

    Raises:
        ConfigError: a payload type has no schema in its format.
        RegistryError: the registry cannot be asked.
    """
    return _print_findings(
        asyncio.run(_call_for_each_schema(sent_schemas(load_env_file_and_app(options)), register_schema_if_unknown)),
        as_json=as_json,
    )


def compare_schemas(options: AppOptions, *, as_json: bool) -> int:
    """Compare them with the registry. Returns 1 if one is incompatible, else 0. Raises as `register_schemas`."""
    return _print_findings(
        asyncio.run(_call_for_each_schema(sent_schemas(load_env_file_and_app(options)), compare_schema_with_registry)),
        as_json=as_json,
    )


def sent_schemas(app: EVKafkaApp) -> list[SentSchema]:
    """The schemas of the events that an app sends, in the order of their declaration.

    Raises:
        ConfigError: a payload type has no schema in its format, or a name in it does not exist.
    """
    found = []
    for declared in app.producers.values():
        topic = declared.describe_contract().settings.topic
        for endpoint in declared.sender.endpoints:
            event, value_format = endpoint.describe_event_for_format(topic), endpoint.value_format
            if event is not None and isinstance(value_format, RegistryFormat):
                found.append(SentSchema(event, value_format, value_format.plan_schema(event)))
    return found


# ---------------------------------------------------------------------------- in the registry


async def _call_for_each_schema(
    found: Sequence[SentSchema], call: Callable[[SentSchema], Awaitable[Finding]]
) -> list[Finding]:
    try:
        return [await call(one) for one in found]
    finally:
        for one in found:
            await one.value_format.close()


async def register_schema_if_unknown(sent: SentSchema) -> Finding:
    """Register it, unless the registry has it.

    Raises:
        RegistryError: the registry cannot be asked.
    """
    return await _look_up_schema_or_call_fallback(sent, otherwise=_try_to_register_schema)


async def compare_schema_with_registry(sent: SentSchema) -> Finding:
    """Compare it with the registry. Raises as `register_schema_if_unknown`."""
    return await _look_up_schema_or_call_fallback(sent, otherwise=_compare_schema)


async def _look_up_schema_or_call_fallback(
    sent: SentSchema, otherwise: Callable[[SentSchema, Schema], Awaitable[Finding]]
) -> Finding:
    """Look the schema up in its subject; if it is not there, call `otherwise` with it."""
    registry, planned = sent.value_format.registry, sent.planned
    if planned.schema is None:
        return await _find_whether_subject_has_any_schema(sent)
    try:
        return Finding(sent, "unchanged", await registry.fetch_schema_id(planned.subject, planned.schema))
    except SchemaNotFound:
        pass
    return await otherwise(sent, planned.schema)


async def _try_to_register_schema(sent: SentSchema, schema: Schema) -> Finding:
    try:
        return Finding(sent, "registered", await sent.value_format.registry.register(sent.planned.subject, schema))
    except RegistryRefused as error:
        return Finding(sent, "refused", reasons=[str(error)])


async def _compare_schema(sent: SentSchema, schema: Schema) -> Finding:
    registry, subject = sent.value_format.registry, sent.planned.subject
    try:
        await registry.latest(subject)  # some registries find any schema compatible with a missing subject
        reasons = await registry.incompatibilities(subject, schema)
    except SchemaNotFound:
        return Finding(sent, "new")
    return Finding(sent, "incompatible", reasons=reasons) if reasons else Finding(sent, "compatible")


async def _find_whether_subject_has_any_schema(sent: SentSchema) -> Finding:
    """`unchanged` if the subject has a schema, whatever it is; else `missing`."""
    try:
        key = (await sent.value_format.registry.latest(sent.planned.subject)).key
    except SchemaNotFound:
        return Finding(sent, "missing")
    return Finding(sent, "unchanged", key if isinstance(key, int) else None)


# ---------------------------------------------------------------------------- output


def _print_findings(findings: Sequence[Finding], *, as_json: bool) -> int:
    if as_json:
        print_json([_finding_as_json(one) for one in findings])
    for one in () if as_json else findings:
        number = f", id {one.number}" if one.number is not None else ""
        stdout_console().print(
            styled_line(
                (one.sent.planned.subject, "bold"), ": ", (SENTENCES[one.state] + number, STYLES.get(one.state, ""))
            )
        )
        for reason in one.reasons:
            stdout_console().print(styled_line(f"    {reason}"))
        if one.state == "incompatible" and (hint := one.sent.value_format.incompatibility_hint):
            stdout_console().print(styled_line(f"    {hint}"))
    if not findings and not as_json:
        print("the app sends no events with a schema: no sender has a value_format")
    return 1 if any(one.state in FAILED for one in findings) else 0


def _event_and_topic_text(one: SentSchema) -> str:
    return f"{one.value_format.name}, event {one.event.event_type} to topic {one.event.topic}"


def _schema_text(one: SentSchema) -> str:
    schema = one.planned.schema
    if schema is None:
        return "(the latest schema of the subject)"
    return schema.text if schema.type == "PROTOBUF" else json.dumps(schema.parsed_json_or_text, indent=2)


def _schema_as_json(one: SentSchema) -> dict[str, object]:
    schema = one.planned.schema
    return {
        "subject": one.planned.subject,
        "topic": one.event.topic,
        "event_type": one.event.event_type,
        "type": one.value_format.language.type,
        "schema": None if schema is None else schema.parsed_json_or_text,
    }


def _finding_as_json(one: Finding) -> dict[str, object]:
    return {
        "subject": one.sent.planned.subject,
        "topic": one.sent.event.topic,
        "event_type": one.sent.event.event_type,
        "state": one.state,
        "id": one.number,
        "reasons": list(one.reasons),
    }
