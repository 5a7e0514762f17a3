"""Dead letters afterwards: look at them, handle them again, let them go.

`letters.py` reads a dead letter, `marks.py` what was done with it, `desk.py` puts the two together.
"""

from __future__ import annotations

from evkafka.dlq.desk import Desk, Report, TakenOver, Target
from evkafka.dlq.letters import Letter, Wanted, read_letter

__all__ = ["Desk", "Letter", "Report", "TakenOver", "Target", "Wanted", "read_letter"]
