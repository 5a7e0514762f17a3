"""Work on dead letters: list, replay and drop them.

`dead_letter.py` reads one dead letter. `dead_letter_topic.py` reads a whole topic of them, with their states from
`state_topic.py`. `replay.py` sends or handles them again, to where `targets.py` allows. `local_handler.py` runs a
consumer's handler in this process; `dry_run.py` predicts what it would do.
"""

from __future__ import annotations

from evkafka.dlq.dead_letter import DeadLetterFilter, DeadLetterPosition, DeadLetterRecord, read_dead_letter
from evkafka.dlq.dead_letter_topic import DeadLetterTopic
from evkafka.dlq.replay import ReplayReport, TakenOver, drop_dead_letters, dry_run_replay, replay_dead_letters
from evkafka.dlq.targets import SourceTopics, Target

__all__ = [
    "DeadLetterFilter",
    "DeadLetterPosition",
    "DeadLetterRecord",
    "DeadLetterTopic",
    "ReplayReport",
    "SourceTopics",
    "TakenOver",
    "Target",
    "drop_dead_letters",
    "dry_run_replay",
    "read_dead_letter",
    "replay_dead_letters",
]
