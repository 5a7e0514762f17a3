"""Checks that a configuration is accepted, or rejected with one ConfigError that names the keys."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import Counter
from typing import Any
from unittest.mock import patch

from evkafka import EVKafkaApp, Handler, Sender, environment
from evkafka.config import consumer_settings, masked_settings, override_error_policy, producer_settings
from evkafka.config.settings import ErrorPolicySettings
from evkafka.exceptions import ConfigError, StartFailed
from evkafka.testing import InMemoryKafka
from tests.fuzz.configurations import CANARY

LINE = re.compile(r"(?:(?P<key>.+?): .+)", re.DOTALL)
TIMEOUT_S = 60


def named_keys(error: ConfigError) -> list[str]:
    """Return the keys that the error's faults name; raise AssertionError if a fault names none."""
    message = str(error)
    assert CANARY not in message
    assert CANARY not in repr(error)
    subject, _, rest = message.partition(": ")
    assert subject.startswith(("the ", "the consumer", "the producer", "a ")), message
    faults = rest.split("\n- ")[1:] if re.match(r"\d+ errors\n- ", rest) else [rest]
    keys = []
    for fault in faults:
        found = LINE.fullmatch(fault)
        assert found, f"this fault names no key: {fault!r}"
        keys.append(found["key"])
    return keys


def check_settings(kind: str, values: dict[Any, Any]) -> Counter[str]:
    """Read the settings; raise AssertionError, or the unexpected error, if the configuration is handled wrongly."""
    read = {"consumer": consumer_settings, "producer": producer_settings, "policy": _policy}[kind]
    try:
        settings = read(values)
    except ConfigError as error:
        _check_keys_exist(named_keys(error), values)
        return Counter({f"{kind}: refused": 1})
    assert CANARY not in repr(settings)
    if kind != "policy":
        assert CANARY not in repr(masked_settings(settings))  # type: ignore[arg-type]
    return Counter({f"{kind}: accepted": 1})


def _policy(values: dict[Any, Any]) -> ErrorPolicySettings:
    return override_error_policy(ErrorPolicySettings(), values, where="the endpoint for 'E'")


def _check_keys_exist(keys: list[str], values: dict[Any, Any]) -> None:
    for key in keys:
        outer = re.split(r"[.\[]", key)[0]
        assert any(_matches(given, outer, key) for given in values) or _is_missing(outer), (key, list(values))


def _matches(given: object, outer: str, key: str) -> bool:
    return not isinstance(given, str) or outer == given or key.startswith(given[:80]) or not given.isprintable()


def _is_missing(outer: str) -> bool:
    """Return True for keys that may be missing, or that conflict with a default; `on_error` is an endpoint's path."""
    return outer in ("topics", "on_error", "dead_letter_topic", "max_backoff_ms", "ssl_context", "security_protocol")


def check_environment(variables: dict[str, str]) -> Counter[str]:
    """Read the environment: it is accepted, or the ConfigError names a variable or a key."""
    with patch.dict(os.environ, variables):
        try:
            environment.consumer_config({"topics": ["orders"]}, name="shop", toml_file=None)
        except ConfigError as error:
            message = str(error)
            is_named = any(one.split("__")[0] in message or one.split("__")[-1].lower() in message for one in variables)
        else:
            return Counter({"environment: accepted": 1})
    assert is_named, message
    return Counter({"environment: refused": 1})


def check_app(consumer: dict[Any, Any]) -> Counter[str]:
    """Run an app: it starts and handles a record, or it fails with a ConfigError."""
    with asyncio.Runner() as runner:
        return runner.run(asyncio.wait_for(_run_app(consumer), TIMEOUT_S))


async def _run_app(consumer: dict[Any, Any]) -> Counter[str]:
    handler, sender, handled = Handler(), Sender(), list[bytes]()

    @handler.default()
    async def on_any(value: bytes) -> None:
        handled.append(value)

    if isinstance(consumer, dict) and str.__eq__("none", consumer.get("auto_offset_reset")) is True:
        consumer = {**consumer, "auto_offset_reset": "earliest"}  # without offsets "none" ends the app
    app = EVKafkaApp()
    try:
        app.add_consumer(consumer, handler)  # type: ignore[arg-type]
        app.add_producer({"bootstrap_servers": "nobody:1", "topic": "out"}, sender)
        async with InMemoryKafka() as kafka, kafka.running(app):
            topic = _topic_of(consumer)
            if topic is not None:
                await kafka.send(topic, b"x", event_type="E")
                await kafka.advance(ms=60_000)
    except ConfigError:
        return Counter({"app: refused": 1})
    except StartFailed as error:
        if not isinstance(error.__cause__, ConfigError):
            raise
        return Counter({"app: refused at the start": 1})
    if topic is not None:
        assert handled == [b"x"], "the app started but did not handle the record"
    return Counter({"app: runs" if topic is not None else "app: starts": 1})


def _topic_of(consumer: dict[Any, Any]) -> str | None:
    topics = consumer.get("topics")
    first = topics if isinstance(topics, str) else topics[0] if topics else None
    name = first.get("name") if isinstance(first, dict) else first
    return name if isinstance(name, str) else None


logging.getLogger("evkafka").addHandler(logging.NullHandler())
