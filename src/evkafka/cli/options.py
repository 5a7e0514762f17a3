"""The options that several commands take, each defined once, and the groups in which they are taken together."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from evkafka.exceptions import ConfigError

DEVELOP, RUN, INSPECT, OPERATE = "Develop", "Run", "Inspect", "Operate"
"""Panels of the list of commands."""

app_option = partial(typer.Option, rich_help_panel="App")
cluster_option = partial(typer.Option, rich_help_panel="Cluster")
consumer_option = partial(typer.Option, rich_help_panel="Consumers")
process_option = partial(typer.Option, rich_help_panel="Processes")
web_option = partial(typer.Option, rich_help_panel="HTTP server")
event_option = partial(typer.Option, rich_help_panel="Event")
input_option = partial(typer.Option, rich_help_panel="Input")
filter_option = partial(typer.Option, rich_help_panel="Filters")
range_option = partial(typer.Option, rich_help_panel="Range")
"""An option in that panel of a command's help."""


class LogFormat(enum.StrEnum):
    CONSOLE = "console"
    JSON = "json"


class LogLevel(enum.StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Loop(enum.StrEnum):
    AUTO = "auto"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

# ---------------------------------------------------------------------------- the app

Target = Annotated[
    str,
    typer.Argument(metavar="MODULE:APP", help="The app: module, colon, name.", envvar="EVKAFKA_APP"),
]
AppDir = Annotated[
    Path,
    app_option(help="The directory that is searched first for the module.", envvar="EVKAFKA_APP_DIR", metavar="DIR"),
]
Factory = Annotated[
    bool, app_option("--factory", help="APP is a function that returns the app.", envvar="EVKAFKA_FACTORY")
]
EnvFile = Annotated[
    Path | None,
    app_option(
        help="Set environment variables from this file before the app is imported; variables that are set already win.",
        envvar="EVKAFKA_ENV_FILE",
        metavar="FILE",
    ),
]
Consumer = Annotated[str | None, app_option(help="One of the app's consumers.", metavar="NAME")]


@dataclass(frozen=True, slots=True)
class AppOptions:
    """The app that a command runs or looks into."""

    target: Target
    app_dir: AppDir = Path()
    factory: Factory = False
    env_file: EnvFile = None


# ---------------------------------------------------------------------------- the cluster

AppOfCluster = Annotated[str | None, app_option("--app", metavar="MODULE:APP", help="Use the cluster of this app.")]
ConfigFile = Annotated[
    Path | None,
    cluster_option(
        "--config", metavar="FILE", help="Use the cluster of this file: a consumer's keys in TOML, YAML or JSON."
    ),
]
Servers = Annotated[
    str | None,
    cluster_option(
        "--bootstrap-servers", metavar="HOST:PORT", help="The brokers. Default: the environment, then pyproject.toml."
    ),
]


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The cluster that a command connects to: an app's, a file's, or the one at an address."""

    app: AppOfCluster = None
    consumer: Consumer = None
    app_dir: AppDir = Path()
    factory: Factory = False
    env_file: EnvFile = None
    config: ConfigFile = None
    bootstrap_servers: Servers = None


# ---------------------------------------------------------------------------- running an app

ReloadDir = Annotated[
    list[Path] | None,
    process_option(
        help="Watch this directory; may be repeated. Default: --app-dir.", metavar="DIR", envvar="EVKAFKA_RELOAD_DIR"
    ),
]
EventLoop = Annotated[
    Loop,
    process_option(
        help="The event loop; auto is uvloop if it is installed, else asyncio.",
        envvar="EVKAFKA_LOOP",
        case_sensitive=False,
    ),
]
Only = Annotated[
    list[str] | None,
    consumer_option(help="Run only this consumer; may be repeated.", metavar="NAME", envvar="EVKAFKA_ONLY"),
]
Exclude = Annotated[
    list[str] | None,
    consumer_option(help="Do not run this consumer; may be repeated.", metavar="NAME", envvar="EVKAFKA_EXCLUDE"),
]


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """How an app is run, and which of its consumers."""

    reload_dir: ReloadDir = None
    loop: EventLoop = Loop.AUTO
    only: Only = None
    exclude: Exclude = None


Web = Annotated[
    bool | None,
    web_option(
        "--web/--no-web",
        help="Serve dashboard, API docs, health and metrics. Default: as the app is configured.",
        envvar="EVKAFKA_WEB",
    ),
]
Host = Annotated[
    str | None,
    web_option(
        "--host",
        help="The address to listen on; 0.0.0.0 for all networks. Default: as the app is configured.",
        metavar="HOST",
        envvar="EVKAFKA_HOST",
    ),
]
Port = Annotated[
    int | None,
    web_option(
        "--port",
        help="The port; 0 for a free one. Default: the variable PORT, else as the app is configured.",
        metavar="PORT",
        envvar="EVKAFKA_PORT",
        min=0,
        max=65535,
    ),
]
Level = Annotated[
    LogLevel, typer.Option(help="The lowest level that is logged.", envvar="EVKAFKA_LOG_LEVEL", case_sensitive=False)
]
Format = Annotated[
    LogFormat,
    typer.Option(help="Log as text, or one JSON object per line.", envvar="EVKAFKA_LOG_FORMAT", case_sensitive=False),
]


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What a running app shows of itself: pages and logs."""

    web: Web = None
    host: Host = None
    port: Port = None
    log_level: Level = LogLevel.INFO
    log_format: Format = LogFormat.CONSOLE


# ---------------------------------------------------------------------------- records and offsets

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="The topic.")]
Group = Annotated[
    str | None,
    typer.Argument(metavar="[GROUP]", help="The consumer group. Default: the groups of the app's consumers."),
]
Topics = Annotated[list[str] | None, typer.Option("--topic", help="Only this topic; may be repeated.", metavar="TOPIC")]
EventTypes = Annotated[
    list[str] | None, filter_option("--type", "-t", metavar="TYPE", help="Only this event type; may be repeated.")
]
FilteredPartition = Annotated[int | None, filter_option(min=0, help="Only this partition.", metavar="N")]


# ---------------------------------------------------------------------------- events to send

Payload = Annotated[str | None, typer.Argument(metavar="[PAYLOAD]", help="The value; - reads stdin, @FILE a file.")]
SentType = Annotated[str | None, event_option("--type", "-t", metavar="TYPE", help="The event type.")]
SentKey = Annotated[str | None, event_option("--key", "-k", metavar="KEY", help="The key.")]
KeyField = Annotated[str | None, event_option(metavar="FIELD", help="Use this field of the payload as the key.")]
SentHeaders = Annotated[
    list[str] | None, event_option("--header", "-H", metavar="NAME=VALUE", help="A header; may be repeated.")
]
SentPartition = Annotated[int | None, event_option(min=0, help="The partition. Default: by the key.", metavar="N")]
Tombstone = Annotated[bool, event_option("--tombstone", help="Send a tombstone: a record without a value.")]
SourceFile = Annotated[
    str | None, input_option("--file", "-f", metavar="FILE", help="Read the payload from this file; - is stdin.")
]
SourceLines = Annotated[bool, input_option("--lines", "-l", help="Each line is one payload.")]
SourceRecords = Annotated[
    bool,
    input_option(
        "--records", help="Each line is one record as `evkafka tail --json` prints it: type, key, headers and value."
    ),
]


@dataclass(frozen=True, slots=True)
class EventOptions:
    """The events that `evkafka send` sends, and where it reads them from."""

    payload: Payload = None
    event_type: SentType = None
    key: SentKey = None
    key_field: KeyField = None
    header: SentHeaders = None
    partition: SentPartition = None
    tombstone: Tombstone = False
    file: SourceFile = None
    lines: SourceLines = False
    records: SourceRecords = False


# ---------------------------------------------------------------------------- values


def name_value_pairs(option: str, texts: list[str] | None) -> tuple[tuple[str, str], ...]:
    """Split each NAME=VALUE.

    Raises:
        ConfigError: one has no `=`, or no name.
    """
    pairs = []
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise ConfigError(f"{option} {text}: write NAME=VALUE")
        pairs.append((name, value))
    return tuple(pairs)


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_time(option: str, text: str) -> datetime:
    """A time as `2026-01-31T12:00:00Z` (UTC if it has no zone), or an age as `2h`, `30m`, `7d`.

    Raises:
        ConfigError: the text is neither.
    """
    number, unit = text[:-1], _UNITS.get(text[-1:])
    try:
        if unit is not None:
            return datetime.now(UTC) - timedelta(**{unit: float(number)})
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigError(f"{option} {text}: give a time as 2026-01-31T12:00:00Z, or an age as 2h") from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
