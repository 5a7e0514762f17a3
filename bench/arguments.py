"""What a row is told on its command line: BOOTSTRAP TOPIC EVENTS; its group is one that nobody else has."""

from __future__ import annotations

import sys
import uuid
from typing import NamedTuple


class Arguments(NamedTuple):
    bootstrap_servers: str
    topic: str
    events: int
    group_id: str


def arguments() -> Arguments:
    bootstrap_servers, topic, events = sys.argv[1:4]
    return Arguments(bootstrap_servers, topic, int(events), f"bench-{uuid.uuid4().hex[:12]}")


def options() -> list[str]:
    """What else the row is told."""
    return sys.argv[4:]
