"""Dead letters afterwards: look at them, handle them again, let them go.

`dead_letter.py` reads a dead letter, `state_topic.py` what was done with it, `targets.py` says where it may go; `replay.py` puts
them together. `local_handler.py` has one handled in this process, `dry_run.py` says whether it would be.
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
