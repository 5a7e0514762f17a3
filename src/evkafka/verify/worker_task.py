"""What a process of a run is told. A module of its own: the conductor must not import the program that it starts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is told.

    Attributes:
        who: the process's name in the journal.
        own_broker: the brokers are this run's own: what the app logs in to its own cluster with is left away.
    """

    who: str
    journal: str
    topic: str
    group_id: str
    bootstrap_servers: str
    config: dict[str, Any] = field(default_factory=dict)
    event_type: str = "Verify"
    work_ms: float = 0.0
    app: str | None = None
    app_dir: str = ""
    consumer: str | None = None
    own_broker: bool = True

    def as_argument(self) -> str:
        return json.dumps(asdict(self))
