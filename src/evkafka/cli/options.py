"""Options that several commands share, and what they are made into."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from evkafka.exceptions import ConfigError


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


# ---------------------------------------------------------------------------- which app

DEVELOP, RUN, LOOK, OPERATE = "Develop", "Run", "Look", "Operate"
"""Where a command stands in the list of commands."""

APP = "The app"
CLUSTER = "The cluster"

Target = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:APP", help="Where the app is: module, colon, name.", envvar="EVKAFKA_APP", show_default=False
    ),
]
AppDir = Annotated[
    Path,
    typer.Option(
        help="Where the module is looked for first.", envvar="EVKAFKA_APP_DIR", metavar="DIR", rich_help_panel=APP
    ),
]
Factory = Annotated[
    bool,
    typer.Option(
        "--factory", help="APP is a function that makes the app.", envvar="EVKAFKA_FACTORY", rich_help_panel=APP
    ),
]
EnvFile = Annotated[
    Path | None,
    typer.Option(
        help="Variables for the environment, read before the app is; those that are set already win.",
        envvar="EVKAFKA_ENV_FILE",
        metavar="FILE",
        show_default=False,
        rich_help_panel=APP,
    ),
]
OnlyApp = Annotated[
    str | None,
    typer.Option(
        "--app", metavar="MODULE:APP", help="Take the cluster from this app.", show_default=False, rich_help_panel=APP
    ),
]
Consumer = Annotated[
    str | None,
    typer.Option(help="Which of the app's consumers is meant.", show_default=False, rich_help_panel=APP),
]

# ---------------------------------------------------------------------------- which cluster

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Take it from this file: a consumer's keys as TOML, YAML or JSON.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
Servers = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        metavar="HOST:PORT",
        help="The brokers. Without any of these: what the environment and pyproject.toml say.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]

# ---------------------------------------------------------------------------- what is said, and how

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Level = Annotated[
    LogLevel, typer.Option(help="What is logged at least.", envvar="EVKAFKA_LOG_LEVEL", case_sensitive=False)
]
Format = Annotated[
    LogFormat,
    typer.Option(help="Lines for people, or a JSON object a line.", envvar="EVKAFKA_LOG_FORMAT", case_sensitive=False),
]


@dataclass(frozen=True, slots=True)
class Where:
    """Which app or cluster was named on the command line, as it was said.

    Attributes:
        app: MODULE:APP, None where none was named.
        config, bootstrap_servers: the other ways to name a cluster.
        consumer: which of the app's consumers.
    """

    app: str | None = None
    app_dir: Path = Path()
    factory: bool = False
    config: Path | None = None
    bootstrap_servers: str | None = None
    consumer: str | None = None


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(option: str, text: str) -> datetime:
    """A moment: `2026-01-31T12:00:00Z` (UTC where no zone is said), or how long ago, `2h`, `30m`, `7d`.

    Raises:
        ConfigError: it is neither.
    """
    number, unit = text[:-1], _UNITS.get(text[-1:])
    try:
        if unit is not None:
            return datetime.now(UTC) - timedelta(**{unit: float(number)})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigError(f"{option} {text}: give a time as 2026-01-31T12:00:00Z, or how long ago as 2h") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


PROCESSES = "Processes"


PARTS = "Parts of the app"


WEB = "The web part"


Only = Annotated[
    list[str] | None,
    typer.Option(
        help="Run this consumer; may be repeated. Default: all.",
        metavar="CONSUMER",
        envvar="EVKAFKA_ONLY",
        show_default=False,
        rich_help_panel=PARTS,
    ),
]


Exclude = Annotated[
    list[str] | None,
    typer.Option(
        help="Do not run this consumer; may be repeated.",
        metavar="CONSUMER",
        envvar="EVKAFKA_EXCLUDE",
        show_default=False,
        rich_help_panel=PARTS,
    ),
]


Web = Annotated[
    bool | None,
    typer.Option(
        "--web/--no-web",
        help="Serve contract page, health and metrics. Default: what the app says.",
        envvar="EVKAFKA_WEB",
        show_default=False,
        rich_help_panel=WEB,
    ),
]


Host = Annotated[
    str | None,
    typer.Option(
        help="The address to listen on; 0.0.0.0 for every network. Default: what the app says.",
        envvar="EVKAFKA_HOST",
        show_default=False,
        rich_help_panel=WEB,
    ),
]


Port = Annotated[
    int | None,
    typer.Option(
        help="The port; 0 takes a free one. Default: PORT in the environment, else what the app says.",
        envvar="EVKAFKA_PORT",
        min=0,
        max=65535,
        show_default=False,
        rich_help_panel=WEB,
    ),
]


ReloadDir = Annotated[
    list[Path] | None,
    typer.Option(
        help="Watch this directory; may be repeated. Default: --app-dir.",
        metavar="DIR",
        envvar="EVKAFKA_RELOAD_DIR",
        show_default=False,
        rich_help_panel=PROCESSES,
    ),
]


EventLoop = Annotated[
    Loop,
    typer.Option(
        help="The event loop; auto is uvloop where that is installed.",
        envvar="EVKAFKA_LOOP",
        case_sensitive=False,
        rich_help_panel=PROCESSES,
    ),
]


EVENT, SOURCE, FILTERS, PLACE = "The event", "Where it comes from", "Which records", "From where to where"


Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="The topic.", show_default=False)]


def pairs(option: str, given: list[str] | None) -> tuple[tuple[str, str], ...]:
    """`NAME=VALUE`, so many as there are.

    Raises:
        ConfigError: one has no `=`.
    """
    found = []
    for text in given or ():
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise ConfigError(f"{option} {text}: write NAME=VALUE")
        found.append((name, value))
    return tuple(found)
