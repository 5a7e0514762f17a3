"""The instructions for a worker process. They are in a module of their own, because the run must not import the program
that it starts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """The instructions for a worker process.

    Attributes:
        who: the name of the process in the history.
        history: the path of the history file.
        app_topic: the app's own topic that the run's topic replaces; None if there is only one, or it does not matter.
        output_topic: where the built-in app writes one record for each that it handles; None for nowhere.
        own_broker: True if the run has started its own broker: the app's login for its own cluster is removed.
    """

    who: str
    history: str
    topic: str
    group_id: str
    bootstrap_servers: str
    config: dict[str, Any] = field(default_factory=dict)
    event_type: str = "Verify"
    work_ms: float = 0.0
    app: str | None = None
    app_dir: str = ""
    consumer: str | None = None
    app_topic: str | None = None
    output_topic: str | None = None
    own_broker: bool = True

    def as_argument(self) -> str:
        return json.dumps(asdict(self))
