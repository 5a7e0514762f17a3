"""The options that several commands take, each defined once, and the groups in which they are taken together."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from evkafka.exceptions import ConfigError

DEVELOP, RUN, INSPECT, OPERATE = "Develop", "Run", "Inspect", "Operate"
"""Panels of the list of commands."""

APP, CLUSTER, CONSUMERS, PROCESSES, WEB = "App", "Cluster", "Consumers", "Processes", "HTTP server"
EVENT, INPUT, FILTERS, RANGE = "Event", "Input", "Filters", "Range"
"""Panels of a command's help."""


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
    typer.Option(
        help="The directory that is searched first for the module.",
        envvar="EVKAFKA_APP_DIR",
        metavar="DIR",
        rich_help_panel=APP,
    ),
]
Factory = Annotated[
    bool,
    typer.Option(
        "--factory", help="APP is a function that returns the app.", envvar="EVKAFKA_FACTORY", rich_help_panel=APP
    ),
]
EnvFile = Annotated[
    Path | None,
    typer.Option(
        help="Set environment variables from this file before the app is imported; variables that are set already win.",
        envvar="EVKAFKA_ENV_FILE",
        metavar="FILE",
        rich_help_panel=APP,
    ),
]
Consumer = Annotated[str | None, typer.Option(help="One of the app's consumers.", metavar="NAME", rich_help_panel=APP)]


@dataclass(frozen=True, slots=True)
class AppOptions:
    """The app that a command runs or looks into."""

    target: Target
    app_dir: AppDir = Path()
    factory: Factory = False
    env_file: EnvFile = None


# ---------------------------------------------------------------------------- the cluster

AppOfCluster = Annotated[
    str | None, typer.Option("--app", metavar="MODULE:APP", help="Use the cluster of this app.", rich_help_panel=APP)
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Use the cluster of this file: a consumer's keys in TOML, YAML or JSON.",
        rich_help_panel=CLUSTER,
    ),
]
Servers = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        metavar="HOST:PORT",
        help="The brokers. Default: the environment, then pyproject.toml.",
        rich_help_panel=CLUSTER,
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
    typer.Option(
        help="Watch this directory; may be repeated. Default: --app-dir.",
        metavar="DIR",
        envvar="EVKAFKA_RELOAD_DIR",
        rich_help_panel=PROCESSES,
    ),
]
EventLoop = Annotated[
    Loop,
    typer.Option(
        help="The event loop; auto is uvloop if it is installed, else asyncio.",
        envvar="EVKAFKA_LOOP",
        case_sensitive=False,
        rich_help_panel=PROCESSES,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        help="Run only this consumer; may be repeated.",
        metavar="NAME",
        envvar="EVKAFKA_ONLY",
        rich_help_panel=CONSUMERS,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        help="Do not run this consumer; may be repeated.",
        metavar="NAME",
        envvar="EVKAFKA_EXCLUDE",
        rich_help_panel=CONSUMERS,
    ),
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
    typer.Option(
        "--web/--no-web",
        help="Serve dashboard, API docs, health and metrics. Default: as the app is configured.",
        envvar="EVKAFKA_WEB",
        rich_help_panel=WEB,
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        help="The address to listen on; 0.0.0.0 for all networks. Default: as the app is configured.",
        metavar="HOST",
        envvar="EVKAFKA_HOST",
        rich_help_panel=WEB,
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        help="The port; 0 for a free one. Default: the variable PORT, else as the app is configured.",
        metavar="PORT",
        envvar="EVKAFKA_PORT",
        min=0,
        max=65535,
        rich_help_panel=WEB,
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
    list[str] | None,
    typer.Option(
        "--type", "-t", metavar="TYPE", help="Only this event type; may be repeated.", rich_help_panel=FILTERS
    ),
]
FilteredPartition = Annotated[
    int | None, typer.Option(min=0, help="Only this partition.", metavar="N", rich_help_panel=FILTERS)
]


# ---------------------------------------------------------------------------- events to send

Payload = Annotated[str | None, typer.Argument(metavar="[PAYLOAD]", help="The value; - reads stdin, @FILE a file.")]
SentType = Annotated[
    str | None, typer.Option("--type", "-t", metavar="TYPE", help="The event type.", rich_help_panel=EVENT)
]
SentKey = Annotated[str | None, typer.Option("--key", "-k", metavar="KEY", help="The key.", rich_help_panel=EVENT)]
KeyField = Annotated[
    str | None, typer.Option(metavar="FIELD", help="Use this field of the payload as the key.", rich_help_panel=EVENT)
]
SentHeaders = Annotated[
    list[str] | None,
    typer.Option("--header", "-H", metavar="NAME=VALUE", help="A header; may be repeated.", rich_help_panel=EVENT),
]
SentPartition = Annotated[
    int | None, typer.Option(min=0, help="The partition. Default: by the key.", metavar="N", rich_help_panel=EVENT)
]
Tombstone = Annotated[
    bool, typer.Option("--tombstone", help="Send a tombstone: a record without a value.", rich_help_panel=EVENT)
]
SourceFile = Annotated[
    str | None,
    typer.Option(
        "--file", "-f", metavar="FILE", help="Read the payload from this file; - is stdin.", rich_help_panel=INPUT
    ),
]
SourceLines = Annotated[bool, typer.Option("--lines", "-l", help="Each line is one payload.", rich_help_panel=INPUT)]
SourceRecords = Annotated[
    bool,
    typer.Option(
        "--records",
        help="Each line is one record as `evkafka tail --json` prints it: type, key, headers and value.",
        rich_help_panel=INPUT,
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
