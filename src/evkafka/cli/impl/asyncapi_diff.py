"""`evkafka asyncapi diff`: compares two contracts, and decides which differences break a client of the app."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from evkafka.cli.impl.asyncapi import contract_of
from evkafka.cli.impl.schema_diff import Document, Schema, SchemaDiff, resolve_reference
from evkafka.cli.output import print_json, stdout_console, styled_line
from evkafka.exceptions import ConfigError


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        breaks: it breaks those who write to the app, or read from it.
        where: direction, event and topic, and the path into the payload.
    """

    breaks: bool
    where: str
    what: str


def print_document_differences(old: str, new: str, *, app_dir: Path, factory: bool, as_json: bool) -> int:
    """Print the differences. Returns 1 if one of them breaks a client, else 0.

    Raises:
        ConfigError: one of the two is no contract.
    """
    documents = [_read_document(one, app_dir=app_dir, factory=factory) for one in (old, new)]
    changes = list(differences(*documents))
    breaking = sum(change.breaks for change in changes)
    if as_json:
        print_json({"breaking": breaking, "changes": [asdict(change) for change in changes]})
    else:
        _print_changes(changes, breaking)
    return 1 if breaking else 0


def _print_changes(changes: list[Change], breaking: int) -> None:
    out = stdout_console()
    for change in sorted(changes, key=lambda one: (not one.breaks, one.where)):
        mark = ("breaking  ", "red") if change.breaks else ("compatible", "green")
        out.print(styled_line(mark, f" {change.where}: {change.what}"), soft_wrap=True)
    if not changes:
        out.print("no differences")
    else:
        out.print(f"{len(changes)} differences, {breaking} of them breaking", style="dim")


def _read_document(source: str, *, app_dir: Path, factory: bool) -> Document:
    """The contract in a file, or of MODULE:APP."""
    path = Path(source)
    if not path.exists() and ":" in source:
        text = contract_of(source, app_dir=app_dir, factory=factory)
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{source} cannot be read: {error.strerror or error}") from error
    document = _parse_yaml(source, text) if path.suffix in (".yaml", ".yml") else _parse_json(source, text)
    if not isinstance(document, dict) or not str(document.get("asyncapi", "")).startswith("3."):
        raise ConfigError(f"{source} is not an AsyncAPI 3 document; `evkafka asyncapi MODULE:APP` prints one")
    return document


def _parse_json(source: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{source} is neither JSON nor named *.yaml: {error}") from error


def _parse_yaml(source: str, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise ConfigError(f"{source} is not YAML: {str(error).splitlines()[0]}") from error


# ---------------------------------------------------------------------------- operations

Operation = tuple[Literal["receive", "send"], str, str]
"""Direction, topic and event."""


def differences(old: Document, new: Document) -> Iterator[Change]:
    """All differences in what the app receives and sends, topic by topic."""
    before, after = _payload_schemas(old), _payload_schemas(new)
    for operation in sorted({*before, *after}):
        action, topic, event = operation
        receives = action == "receive"
        where = f"{'receives' if receives else 'sends'} {event} at {topic}"
        if operation not in after:
            effect = "its producers are not read any more" if receives else "its consumers get none any more"
            yield Change(True, where, f"removed: {effect}")
        elif operation not in before:
            yield Change(False, where, "added")
        else:
            diff = SchemaDiff(receives=receives)
            for breaks, path, what in diff.compare(before[operation], after[operation], "payload"):
                yield Change(breaks, f"{where}, {path}", what)


def _payload_schemas(document: Document) -> dict[Operation, Schema]:
    found: dict[Operation, Schema] = {}
    for operation in document.get("operations", {}).values():
        channel = resolve_reference(document, operation.get("channel", {}))
        topic = channel.get("address") or channel.get("x-topic-pattern") or "topics not declared"
        for ref in operation.get("messages", []):
            message = resolve_reference(document, ref)
            name = message.get("name") or message.get("title") or "any event"
            found[operation["action"], topic, name] = Schema(document, message.get("payload"))
    return found
