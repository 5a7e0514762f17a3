"""The reference pages of the Python API, from signatures and docstrings. The source is parsed, not imported."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import griffe

from tools.table_cells import cell, code


@dataclass(frozen=True, slots=True)
class PublicName:
    """A public name, and its methods and properties that are on the page.

    Attributes:
        module: the module that users import it from.
        members: `*` for all that have a docstring.
    """

    module: str
    name: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    text: str
    names: tuple[PublicName, ...]


def _exceptions() -> tuple[PublicName, ...]:
    names = (
        *("EVKafkaError", "ConfigError", "RecordError", "DecodeError", "EndpointError", "EndpointTimeout"),
        *(
            "UnsupportedValueError",
            "DeliveryError",
            "RecordRefused",
            "RecordTooLarge",
            "EncodeError",
            "ProcessDied",
            "StartFailed",
            "StopApp",
            "ForcedExit",
            "NotAssigned",
            "RegistryError",
            "RegistryUnavailable",
            "RegistryRefused",
            "SchemaNotFound",
            "BrokerError",
        ),
        *("BrokerUnavailable", "BrokerRefused", "CommitRefused", "CommitUnknown", "BatchError"),
    )
    return tuple(PublicName("evkafka.exceptions", name) for name in names)


# What the two local servers have in common.
_SERVER = ("port", "start", "stop", "kill", "restart", "running", "pid", "home", "log_tail", "wait")

_IN_MEMORY_KAFKA = (
    *("running", "crash", "expire", "rebalance", "advance", "settle", "unfinished", "outage", "latency"),
    *("create_topic", "add_partitions", "delete_topic", "send", "transaction", "records"),
    *("make_gap", "compact", "delete_records", "lose_records", "elect_leader", "make_unreadable"),
    *("fail_commits", "fail_polls", "fail_sends", "go_away", "come_back"),
    *("committed", "committed_metadata", "commit", "assert_committed", "assert_sent"),
)

_APP = (
    *("event", "add_consumer", "add_producer", "consumer", "run", "serve", "running", "stop", "handle_exit"),
    *("asgi", "asgi_lifespan", "asyncapi", "status", "metrics", "web_url", "started", "should_exit"),
)
_QUALIFIED = {("evkafka.environment", "consumer_config"), ("evkafka.environment", "producer_config")}
"""Names that exist in several modules, so their heading has the module."""

_CLIENT = ("send_event", "send_batch")

PAGES = {
    "app.md": Page(
        "The app",
        "The app, its consumers and its producers. Their configurations are [dictionaries](configuration.md).",
        (
            PublicName("evkafka", "EVKafkaApp", _APP),
            PublicName("evkafka.control", "ConsumerControl", ("*",)),
            PublicName("evkafka.environment", "consumer_config"),
            PublicName("evkafka.environment", "producer_config"),
            PublicName("evkafka", "consumer_config"),
            PublicName("evkafka", "producer_config"),
        ),
    ),
    "handlers.md": Page(
        "Handlers",
        "Endpoints, their arguments and outcomes, and middleware.",
        (
            PublicName("evkafka", "Handler", ("event", "default", "include_handler")),
            PublicName("evkafka", "Request", ("*",)),
            PublicName("evkafka", "CloudEvent"),
            PublicName("evkafka", "Depends"),
            PublicName("evkafka", "Skip"),
            PublicName("evkafka", "Retry"),
            PublicName("evkafka", "DeadLetter"),
            PublicName("evkafka", "BatchError"),
            PublicName("evkafka", "Middleware"),
            PublicName("evkafka.middleware", "JsonTypedDecoderMiddleware"),
            PublicName("evkafka", "Context", ("*",)),
            PublicName("evkafka.state", "State"),
        ),
    ),
    "producing.md": Page(
        "Producing",
        "Classes that send events. [Producing events](../producing.md) explains them.",
        (
            PublicName("evkafka", "Sender", ("event",)),
            PublicName("evkafka.sender", "OutboundEndpoint", ("from_thread",)),
            PublicName("evkafka", "EVKafkaProducer", ("start", "flush", "stop", "send_event", "enqueue_event")),
            PublicName("evkafka", "RecordMetadata"),
        ),
    ),
    "formats.md": Page(
        "Formats",
        "Formats of values whose schemas are in a registry. [Schema Registry](../schema-registry.md) explains them.",
        (
            PublicName("evkafka.formats", "SchemaRegistry"),
            PublicName("evkafka.formats", "Avro", ("encode",)),
            PublicName("evkafka.formats", "Protobuf", ("encode",)),
            PublicName("evkafka.formats", "JsonSchema", ("encode",)),
            PublicName("evkafka.formats", "AvroType"),
        ),
    ),
    "exceptions.md": Page(
        "Exceptions",
        "All of them are in `evkafka.exceptions`, the common ones also in `evkafka`. A message names the object,"
        " its value and the fix. They can be pickled and copied, with their attributes.",
        _exceptions(),
    ),
    "test-kit.md": Page(
        "The test kit",
        "Classes for tests. [Testing](../testing.md) and [The in-memory Kafka](../testing-in-memory.md) explain them.",
        (
            PublicName("evkafka.testing", "TestClient", _CLIENT),
            PublicName("evkafka.testing", "AsyncTestClient", _CLIENT),
            PublicName("evkafka.testing", "Delivery"),
            PublicName("evkafka.testing", "SentEvent"),
            PublicName("evkafka.testing", "InMemoryKafka", _IN_MEMORY_KAFKA),
            PublicName("evkafka.testing", "MemoryRecord", ("*",)),
            PublicName("evkafka.testing", "InMemoryRegistry", ("*",)),
            PublicName("evkafka.testing", "RegisteredSchema"),
            PublicName("evkafka.testing", "RegistryRequest"),
            PublicName("evkafka.testing", "use_registry"),
            PublicName("evkafka.testing", "RealKafka", ("*",)),
            PublicName("evkafka.testing", "NotSettled"),
            PublicName("evkafka.testing", "UnknownTopic"),
            PublicName("evkafka.broker", "KafkaBroker", ("bootstrap_servers", "servers", *_SERVER)),
            PublicName("evkafka.broker", "LocalRegistry", ("url", *_SERVER)),
        ),
    ),
}


def pages_of(source: str) -> dict[str, str]:
    """The text of each page, for the package in this directory."""
    logging.getLogger("griffe").setLevel(logging.CRITICAL)  # it warns about parameters that one line describes together
    package = griffe.load("evkafka", search_paths=[source])
    return {file: "".join(_format_page(package, page)) for file, page in PAGES.items()}


def _format_page(package: Any, page: Page) -> Iterator[str]:
    yield f"# {page.title}\n\n{page.text}\n"
    for named in page.names:
        found = package
        for part in [*named.module.split(".")[1:], named.name]:
            found = found[part]
        found = found.final_target if found.is_alias else found
        head = named.name if (named.module, named.name) not in _QUALIFIED else f"{named.module}.{named.name}"
        yield f"\n## `{head}`\n\n```text\nfrom {named.module} import {named.name}\n\n{_format_signature(found)}\n```\n"
        yield from _format_docstring(found)
        for member in _find_members(found, named.members):
            yield f"\n### `{named.name}.{member.name}`\n"
            if member.is_function:
                yield f"\n```text\n{_format_signature(member)}\n```\n"
            yield from _format_docstring(member)


def _find_members(found: Any, names: tuple[str, ...]) -> Iterator[Any]:
    if names != ("*",):
        yield from (found.all_members[name] for name in names)
        return
    yield from (one for name, one in found.members.items() if not name.startswith("_") and one.docstring)


# ---------------------------------------------------------------------------- one name


def _format_signature(found: Any) -> str:
    if not (found.is_function or found.is_class):
        return f"{found.name} = {found.value}"
    if found.is_class and not _is_created_by_users(found):
        return f"class {found.name}{_format_bases(found)}"
    parameters = list(_format_parameters(found.parameters))
    is_async = found.is_function and "async" in found.labels
    result = f" -> {found.returns}" if found.is_function and found.returns is not None else ""
    before = "async " if is_async else ""
    line = f"{before}{found.name}({', '.join(parameters)}){result}"
    if len(line) <= 110:
        return line
    return f"{before}{found.name}(\n" + "".join(f"    {one},\n" for one in parameters) + f"){result}"


def _is_created_by_users(found: Any) -> bool:
    return not any("Exception" in str(base) or "Error" in str(base) for base in found.bases)


def _format_bases(found: Any) -> str:
    return f"({', '.join(map(str, found.bases))})" if found.bases else ""


def _format_parameters(parameters: Any) -> Iterator[str]:
    keywords = False
    for one in parameters:
        if one.name in ("self", "cls"):
            continue
        kind = one.kind.value if one.kind is not None else ""
        if kind == "keyword-only" and not keywords:
            keywords = True
            yield "*"
        stars = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        keywords = keywords or stars == "*"
        kind_of = f": {one.annotation}" if one.annotation is not None else ""
        given = f" = {one.default}" if one.default is not None and not stars else ""
        yield f"{stars}{one.name}{kind_of}{given}"


def _format_docstring(found: Any) -> Iterator[str]:
    if found.docstring is None:
        return
    for section in found.docstring.parse("google", warn_unknown_params=False):
        match section.kind.value:
            case "text":
                yield f"\n{_format_paragraphs(section.value)}\n"
            case "parameters" | "other parameters" | "attributes":
                head = "attribute" if section.kind.value == "attributes" else "argument"
                yield f"\n| {head} | |\n| --- | --- |\n"
                yield from (f"| `{one.name}` | {cell(one.description)} |\n" for one in section.value)
            case "raises":
                yield "\n| raises | |\n| --- | --- |\n"
                yield from (f"| {code(str(one.annotation))} | {cell(one.description)} |\n" for one in section.value)
            case "returns" | "yields":
                text = " ".join(cell(one.description) for one in section.value)
                yield f"\n{section.kind.value.capitalize()} {text}\n"
            case other:
                raise ValueError(f"{found.path}: a section {other!r} of a docstring has no place in the reference")


def _format_paragraphs(text: str) -> str:
    """Paragraphs; indented ones are code, fenced as text: the runnable examples are in the guides."""
    parts = []
    for part in text.split("\n\n"):
        lines = part.splitlines()
        if lines and all(line.startswith("    ") or not line for line in lines):
            parts.append("```text\n" + "\n".join(line[4:] for line in lines) + "\n```")
        else:
            parts.append(part)
    return "\n\n".join(parts).replace("```\n\n```text", "\n")
