"""The part of `evkafka check` about schema registries: they answer, and have the schemas of what the app sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

from evkafka.app import EVKafkaApp
from evkafka.cli.impl.schemas import SENTENCES, Finding, SentSchema, compare, sent_schemas
from evkafka.exceptions import ConfigError, RegistryError, SchemaNotFound
from evkafka.serde.formats.registry import SchemaRegistry
from evkafka.serde.formats.registry_format import RegistryFormat

Result = tuple[Literal["ok", "error"], str, str, str]
"""Level, registry or subject, what was found, and the remedy."""

SOME_SUBJECT = "evkafka-check"
"""It need not exist: any answer shows that the registry can be asked."""


async def schema_findings(app: EVKafkaApp, target: str) -> list[Result]:
    """Ask each registry of the app, and compare the schemas that its senders need.

    Args:
        target: MODULE:APP, for the remedy.
    """
    results: list[Result] = []
    for registry in _registries(app):
        try:
            await _ask(registry)
            results.append(("ok", registry.shown, "the schema registry answers", ""))
        except RegistryError as error:
            results.append(("error", registry.shown, str(error), "check its URL, `auth` and `ssl_context`"))
        finally:
            await registry.close()
    if any(level == "error" for level, *_ in results):
        return results
    try:
        sent = sent_schemas(app)
    except ConfigError as error:
        return [*results, ("error", "senders", str(error), "")]
    for one in sent:
        try:
            results.append(_result(await compare(one), target))
        except RegistryError as error:
            results.append(("error", one.planned.subject, str(error), ""))
        finally:
            await one.value_format.close()
    return results


def _registries(app: EVKafkaApp) -> list[SchemaRegistry]:
    """Each registry of the app once."""
    found = {id(one.registry): one.registry for one in _formats(app)}
    return list(found.values())


def _formats(app: EVKafkaApp) -> Iterator[RegistryFormat]:
    for consumer in app.consumers.values():
        formats = consumer.formats()
        yield from (one for one in (formats.all if formats is not None else ()) if isinstance(one, RegistryFormat))
    for producer in app.producers.values():
        yield from (one for one in producer.sender.formats if isinstance(one, RegistryFormat))


async def _ask(registry: SchemaRegistry) -> None:
    with suppress(SchemaNotFound):
        await registry.latest(SOME_SUBJECT)


def _result(finding: Finding, target: str) -> Result:
    sent, message = finding.sent, "; ".join((SENTENCES[finding.state], *finding.reasons))
    match finding.state:
        case "unchanged":
            return "ok", sent.planned.subject, message, ""
        case "new" | "compatible" if _registers(sent):
            return "ok", sent.planned.subject, f"{message}; the app registers it when it starts", ""
        case "new" | "compatible":
            return "error", sent.planned.subject, message, f"evkafka schemas register {target}"
        case _:
            return "error", sent.planned.subject, message, f"evkafka schemas check {target}"


def _registers(sent: SentSchema) -> bool:
    return sent.value_format.subjects.auto_register
