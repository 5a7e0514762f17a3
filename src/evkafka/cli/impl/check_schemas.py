"""The part of `evkafka check` about schema registries: they answer, and have the schemas of what the app sends."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from evkafka.app import EVKafkaApp
from evkafka.cli.impl.schemas import SENTENCES, Finding, SentSchema, compare_schema_with_registry, sent_schemas
from evkafka.exceptions import ConfigError, RegistryError, SchemaNotFound
from evkafka.serde.formats.registry import SchemaRegistry
from evkafka.service.topic_registries import registries_of

Result = tuple[Literal["ok", "error"], str, str, str]
"""Level, registry or subject, what was found, and the remedy."""

SOME_SUBJECT = "evkafka-check"
"""It need not exist: any answer shows that the registry can be asked."""


async def schema_findings(app: EVKafkaApp, target: str) -> list[Result]:
    """Ask each registry of the app, and compare the schemas that its senders need.

    Args:
        target: MODULE:APP, for the remedy.
    """
    registries = registries_of(app)
    try:
        answers = [await _check_registry_answers(registry) for registry in registries]
        if any(level == "error" for level, *_ in answers):
            return answers
        return answers + await _check_schemas(app, target)
    finally:
        for registry in registries:
            await registry.close()


async def _check_registry_answers(registry: SchemaRegistry) -> Result:
    try:
        with suppress(SchemaNotFound):
            await registry.latest(SOME_SUBJECT)
    except RegistryError as error:
        return "error", registry.urls_text, str(error), "check its URL, `auth` and `ssl_context`"
    return "ok", registry.urls_text, "the schema registry answers", ""


async def _check_schemas(app: EVKafkaApp, target: str) -> list[Result]:
    try:
        sent = sent_schemas(app)
    except ConfigError as error:
        return [("error", "senders", str(error), "")]
    results: list[Result] = []
    for one in sent:
        try:
            results.append(_result_of_finding(await compare_schema_with_registry(one), target))
        except RegistryError as error:
            results.append(("error", one.planned.subject, str(error), ""))
    return results


def _result_of_finding(finding: Finding, target: str) -> Result:
    sent, message = finding.sent, "; ".join((SENTENCES[finding.state], *finding.reasons))
    match finding.state:
        case "unchanged":
            return "ok", sent.planned.subject, message, ""
        case "new" | "compatible" if _registers_automatically(sent):
            return "ok", sent.planned.subject, f"{message}; the app registers it when it starts", ""
        case "new" | "compatible":
            return "error", sent.planned.subject, message, f"evkafka schemas register {target}"
        case _:
            return "error", sent.planned.subject, message, f"evkafka schemas check {target}"


def _registers_automatically(sent: SentSchema) -> bool:
    return sent.value_format.subjects.auto_register
