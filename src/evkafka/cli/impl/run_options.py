"""The options of `evkafka run` as plain values, which a supervisor passes on to its worker processes."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple


class WebPort(NamedTuple):
    """The port that an app wants for its web server, and the one that it got: another program may have the first."""

    wanted: int
    got: int


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is run, and how.

    Attributes:
        loop: `auto`, `asyncio` or `uvloop`.
        only, exclude: names of consumers.
        web: whether to serve the web part; None for what the app says.
        host, port: where the web part listens; None for what the app says.
        bootstrap_servers: replaces the app's own brokers, for all of its consumers and producers.
        worker, workers: the number of this process, and how many there are; 1 of 1 without workers.
        new_topic_partitions: of `evkafka dev`: create missing topics with so many partitions; None creates none.
        last_web_port: of `evkafka dev`: the port before a reload, to listen there again.
    """

    target: str
    app_dir: Path = Path()
    factory: bool = False
    log_level: str = "info"
    json_log: bool = False
    loop: str = "auto"
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    web: bool | None = None
    host: str | None = None
    port: int | None = None
    bootstrap_servers: str | None = None
    reset_dead_letter_limit: bool = False
    worker: int = 1
    workers: int = 1
    new_topic_partitions: int | None = None
    last_web_port: WebPort | None = None

    @property
    def app_options_for_other_commands(self) -> str:
        """The options that name the same app in other commands."""
        directory = [] if self.app_dir == Path() else ["--app-dir", shlex.quote(str(self.app_dir))]
        return " ".join(["--app", self.target, *directory, *(["--factory"] if self.factory else [])])

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "app_dir": str(self.app_dir)})

    @classmethod
    def from_json(cls, text: str) -> RunOptions:
        values: dict[str, Any] = json.loads(text)
        values["app_dir"] = Path(values["app_dir"])
        values["only"], values["exclude"] = tuple(values["only"]), tuple(values["exclude"])
        if values["last_web_port"] is not None:
            values["last_web_port"] = WebPort(*values["last_web_port"])
        return cls(**values)
