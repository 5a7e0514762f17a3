"""The command line of a row: BOOTSTRAP TOPIC EVENTS [OPTION...]. Each run has a new group."""

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
    """Return the arguments after EVENTS."""
    return sys.argv[4:]
