"""The configuration of Kafka: one node that is broker and controller, on 127.0.0.1, sized for development."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from evkafka.exceptions import ConfigError

PropertyValue = str | int | float | bool

# Warnings, and the line that says that Kafka has started: the log of a broker that runs for days stays small.
LOG4J_PROPERTIES = """\
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c: %m%n
logger.ready.name = kafka.server.KafkaRaftServer
logger.ready.level = INFO
"""


def default_server_properties(
    port: int, controller_port: int, log_dir: Path, listeners: Mapping[str, tuple[str, int]] | None = None
) -> dict[str, PropertyValue]:
    """Our defaults. All listeners are on 127.0.0.1, because clients are not authenticated.

    Args:
        listeners: security protocol and port of further listeners, by name.
    """
    clients = {"CLIENT": ("PLAINTEXT", port), **(listeners or {})}
    addresses = [f"{name}://127.0.0.1:{number}" for name, (_, number) in clients.items()]
    protocols = [f"{name}:{protocol}" for name, (protocol, _) in clients.items()]
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        # The voters are configured and not stored with the data, so that a later start may use other ports.
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": ",".join([*addresses, f"CONTROLLER://127.0.0.1:{controller_port}"]),
        "advertised.listeners": ",".join(addresses),
        "listener.security.protocol.map": ",".join([*protocols, "CONTROLLER:PLAINTEXT"]),
        "inter.broker.listener.name": "CLIENT",
        "log.dirs": log_dir.as_posix(),
        # Kafka's own topics, for one node.
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # No waiting, for development and tests.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 500,
        # After a kill, the controller rejects the broker until the session of the killed one has expired.
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 3000,
        # The default of 128 MiB is allocated at the start.
        "log.cleaner.dedupe.buffer.size": 2 * 1024 * 1024,
    }


def format_properties_file(properties: Mapping[str, PropertyValue]) -> str:
    """The text of a `.properties` file, with the escapes of Java.

    Raises:
        ConfigError: a value is not text, a number or a boolean.
    """
    return "".join(
        f"{_escape_text(key, in_key=True)}={_escape_text(_format_value(key, value))}\n"
        for key, value in properties.items()
    )


def format_arguments_file(arguments: Sequence[str]) -> str:
    """The text of an argument file of Java (`java @file`)."""
    return "".join('"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"\n' for one in arguments)


def write_private_file(path: Path, text: str) -> None:
    """Write a file that only this user can read, also if the file exists and others can read it."""
    with open(path, "w", encoding="utf-8", opener=_open_private_file) as file:
        os.chmod(path, 0o600)
        file.write(text)


def _open_private_file(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _format_value(key: str, value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case _:
            raise ConfigError(f"broker property {key!r} is {value!r}: use a string, a number, True or False")


def _escape_text(text: str, *, in_key: bool = False) -> str:
    special = "\\ :=#!" if in_key else "\\"
    escaped = "".join(_escape_character(character, special) for character in text)
    # Java would ignore a leading space of a value, as it does around the "=".
    return "\\" + escaped if escaped.startswith(" ") and not in_key else escaped


def _escape_character(character: str, special: str) -> str:
    match character:
        case "\n":
            return "\\n"
        case "\r":
            return "\\r"
        case "\t":
            return "\\t"
        case _ if character in special:
            return "\\" + character
        case _ if " " <= character <= "~":
            return character
        case _:
            units = character.encode("utf-16-be")
            return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
