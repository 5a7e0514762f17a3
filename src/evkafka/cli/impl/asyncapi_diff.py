"""`evkafka asyncapi diff`: two contracts, and what the difference does to those on the other side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from evkafka.cli.impl.asyncapi import contract_of
from evkafka.cli.output import print_json, screen, styled
from evkafka.exceptions import ConfigError

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        breaks: whether it breaks who writes to, or reads from, this app.
        where: topic and event, and the path into the payload.
    """

    breaks: bool
    where: str
    what: str


def compare(old: str, new: str, *, app_dir: Path, factory: bool, as_json: bool) -> int:
    """Print the differences; 1 where one of them breaks somebody, else 0.

    Raises:
        ConfigError: one of the two is no contract.
    """
    documents = [_read(one, app_dir=app_dir, factory=factory) for one in (old, new)]
    changes = list(differences(*documents))
    breaking = sum(change.breaks for change in changes)
    if as_json:
        print_json({"breaking": breaking, "changes": [asdict(change) for change in changes]})
    else:
        _show(changes, breaking)
    return 1 if breaking else 0


def _show(changes: list[Change], breaking: int) -> None:
    out = screen()
    for change in sorted(changes, key=lambda one: (not one.breaks, one.where)):
        mark = ("breaks ", "red") if change.breaks else ("is fine", "green")
        out.print(styled(mark, f" {change.where}: {change.what}"), soft_wrap=True)
    if not changes:
        out.print("no difference")
    else:
        out.print(f"{len(changes)} differences, {breaking} of them breaking", style="dim")


def _read(given: str, *, app_dir: Path, factory: bool) -> Document:
    path = Path(given)
    if not path.exists() and ":" in given:
        text = contract_of(given, app_dir=app_dir, factory=factory)
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{given} cannot be read: {error.strerror or error}") from error
    try:
        if path.suffix in (".yaml", ".yml"):
            import yaml

            told = yaml.safe_load(text)
        else:
            told = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{given} is neither JSON nor a file with the end .yaml: {error}") from error
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            raise ConfigError(f"{given} is no YAML: {str(error).splitlines()[0]}") from error
        raise
    if not isinstance(told, dict) or not str(told.get("asyncapi", "")).startswith("3."):
        raise ConfigError(f"{given} is no AsyncAPI 3 document: `evkafka asyncapi MODULE:APP` makes one")
    return told


# ---------------------------------------------------------------------------- operations


@dataclass(frozen=True, slots=True)
class _Said:
    """One event type at one topic, received or sent."""

    payload: Any
    headers: Any
    document: Document


Key = tuple[Literal["receive", "send"], str, str]


def differences(old: Document, new: Document) -> Iterator[Change]:
    """Everything that is different in what is received and what is sent, topic by topic."""
    before, after = _operations(old), _operations(new)
    for key in sorted({*before, *after}):
        action, topic, event = key
        where = f"{'receives' if action == 'receive' else 'sends'} {event} at {topic}"
        if key not in after:
            yield Change(True, where, "is gone: " + _missed(action))
        elif key not in before:
            yield Change(False, where, "is new")
        else:
            one, other = before[key], after[key]
            yield from _Pair(action, where, old, new).compare(one.payload, other.payload, "payload")


def _missed(action: str) -> str:
    return "who sends it is heard no more" if action == "receive" else "who reads it waits for it in vain"


def _operations(document: Document) -> dict[Key, _Said]:
    found: dict[Key, _Said] = {}
    for operation in document.get("operations", {}).values():
        channel = _at(document, operation.get("channel", {}))
        topic = channel.get("address") or channel.get("x-topic-pattern") or "topics not declared"
        for ref in operation.get("messages", []):
            message = _at(document, ref)
            name = message.get("name") or message.get("title") or "any event"
            found[operation["action"], topic, name] = _Said(message.get("payload"), message.get("headers"), document)
    return found


def _at(document: Document, node: Any, depth: int = 0) -> Any:
    """What a reference leads to."""
    if not isinstance(node, dict) or "$ref" not in node or depth > 20:
        return node
    found: Any = document
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
    return _at(document, found, depth + 1)


# ---------------------------------------------------------------------------- payloads


class _Pair:
    """Two schemas of one event. What is received must not become narrower, what is sent must not become wider."""

    def __init__(self, action: str, where: str, old: Document, new: Document) -> None:
        self._receives = action == "receive"
        self._where = where
        self._old, self._new = old, new

    def _change(self, path: str, what: str, *, narrower: bool) -> Change:
        return Change(narrower == self._receives, f"{self._where}, {path}", what)

    def compare(self, old: Any, new: Any, path: str, depth: int = 0) -> Iterator[Change]:
        old, new = _at(self._old, old), _at(self._new, new)
        if old == new or depth > 12 or not isinstance(old, dict) or not isinstance(new, dict):
            return
        kinds, now = self._kinds(old, self._old), self._kinds(new, self._new)
        if kinds and now and kinds != now:
            gone, more = sorted(kinds - now - _covered(now)), sorted(now - kinds - _covered(kinds))
            if gone:
                yield self._change(path, f"may be {' or '.join(gone)} no more", narrower=True)
            if more:
                yield self._change(path, f"may also be {' or '.join(more)}", narrower=False)
        elif not kinds and now:
            yield self._change(path, f"must be {' or '.join(sorted(now))} now", narrower=True)
        elif kinds and not now:
            yield self._change(path, "may be anything now", narrower=False)
        yield from self._values(old, new, path)
        yield from self._limits(old, new, path)
        arms = [self._main(one, document) for one, document in ((old, self._old), (new, self._new))]
        yield from self._fields(arms[0], arms[1], path, depth)
        if "items" in arms[0] and "items" in arms[1]:
            yield from self.compare(arms[0]["items"], arms[1]["items"], f"{path}[]", depth + 1)

    def _kinds(self, schema: Any, document: Document) -> set[str]:
        schema = _at(document, schema)
        arms = schema.get("anyOf") or schema.get("oneOf")
        if arms:
            each = [self._kinds(arm, document) for arm in arms]
            return set().union(*each) if all(each) else set()
        kind = schema.get("type")
        if kind is None and ("enum" in schema or "const" in schema):
            return {_kind_of(value) for value in schema.get("enum", [schema.get("const")])}
        return {kind} if isinstance(kind, str) else set(kind or ())

    @staticmethod
    def _main(schema: Document, document: Document) -> Document:
        """The one arm that is an object or a list, of a schema that may also be null."""
        arms = [_at(document, arm) for arm in schema.get("anyOf") or schema.get("oneOf") or [schema]]
        holding = [arm for arm in arms if isinstance(arm, dict) and ("properties" in arm or "items" in arm)]
        return holding[0] if len(holding) == 1 else schema

    def _values(self, old: Document, new: Document, path: str) -> Iterator[Change]:
        was, now = (_values_of(one) for one in (old, new))
        if was is None and now is None:
            return
        if was is None:
            yield self._change(path, f"must be one of {_listed(now)} now", narrower=True)
        elif now is None:
            yield self._change(path, "may have any value now", narrower=False)
        else:
            if gone := [value for value in was if value not in now]:
                yield self._change(path, f"may be {_listed(gone)} no more", narrower=True)
            if more := [value for value in now if value not in was]:
                yield self._change(path, f"may also be {_listed(more)}", narrower=False)

    def _limits(self, old: Document, new: Document, path: str) -> Iterator[Change]:
        for name, sign in _LIMITS.items():
            was, now = old.get(name), new.get(name)
            if was == now:
                continue
            narrower = was is None or (now is not None and (now - was) * sign < 0)
            yield self._change(path, f"{name} is {_or_none(now)}, and was {_or_none(was)}", narrower=narrower)
        for name in ("pattern", "format"):
            was, now = old.get(name), new.get(name)
            if was != now:
                what = f"{name} is {_or_none(now)}, and was {_or_none(was)}"
                yield self._change(path, what, narrower=now is not None)

    def _fields(self, old: Document, new: Document, path: str, depth: int) -> Iterator[Change]:
        was, now = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted({*was, *now}):
            at = f"{path}.{name}"
            if name not in now:
                # A sender may go on to send what nobody looks at; a reader may wait for it.
                strict = new.get("additionalProperties") is False
                yield Change(strict if self._receives else True, f"{self._where}, {at}", "is gone")
            elif name not in was:
                narrower = name in needs or (not self._receives and old.get("additionalProperties") is False)
                breaks = narrower if self._receives else old.get("additionalProperties") is False
                what = "is new, and must be there" if name in needs else "is new"
                yield Change(breaks, f"{self._where}, {at}", what)
            else:
                if name in needs - needed:
                    yield self._change(at, "must be there now", narrower=True)
                if name in needed - needs:
                    yield self._change(at, "may be left out now", narrower=False)
                yield from self.compare(was[name], now[name], at, depth + 1)


_LIMITS = {
    "minimum": -1, "exclusiveMinimum": -1, "minLength": -1, "minItems": -1,
    "maximum": 1, "exclusiveMaximum": 1, "maxLength": 1, "maxItems": 1,
}  # fmt: skip
"""1: a smaller number takes less; -1: a greater one does."""


def _values_of(schema: Document) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return list(values) if isinstance(values, list) else None


def _covered(kinds: set[str]) -> set[str]:
    return {"integer"} if "number" in kinds else set()


def _kind_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", list: "array"}
    return names.get(type(value), "object")


def _listed(values: Any) -> str:
    return ", ".join(json.dumps(value, ensure_ascii=False) for value in values)


def _or_none(value: Any) -> str:
    return "none" if value is None else str(value)
