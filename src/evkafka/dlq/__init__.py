"""Dead letters afterwards: look at them, handle them again, let them go.

`letters.py` reads a dead letter, `marks.py` what was done with it, `targets.py` says where it may go; `desk.py` puts
them together. `again.py` has one handled in this process, `dry_run.py` says whether it would be.
"""

from __future__ import annotations

from evkafka.dlq.dead_letter import Letter, Place, Wanted, read_letter
from evkafka.dlq.replay import Desk, Report, TakenOver
from evkafka.dlq.targets import SourceTopics, Target

__all__ = ["Desk", "Letter", "Place", "Report", "SourceTopics", "TakenOver", "Target", "Wanted", "read_letter"]
