"""Work on dead letters: list them, replay them, drop them.

`dead_letter.py` reads a dead letter, `state_topic.py` the state of each, `targets.py` chooses where it is replayed to.
`replay.py` uses all three. `local_handler.py` runs a handler in this process, `dry_run.py` checks whether one would.
"""

from __future__ import annotations

from evkafka.dlq.dead_letter import DeadLetterRecord, LetterFilter, LetterPosition, read_dead_letter
from evkafka.dlq.replay import DeadLetterReplay, ReplayReport, TakenOver
from evkafka.dlq.targets import SourceTopics, Target

__all__ = [
    "DeadLetterReplay",
    "DeadLetterRecord",
    "LetterPosition",
    "ReplayReport",
    "SourceTopics",
    "TakenOver",
    "Target",
    "LetterFilter",
    "read_dead_letter",
]
