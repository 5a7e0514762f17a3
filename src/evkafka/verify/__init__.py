"""The proof: an app in several processes, numbered records, faults on a seeded schedule, and what is left to say.

Read `run.py` first: it is the course of one run. `checker.py` judges what the run left behind, `report.py` says
it; both, and `fault_schedule.py`, know neither processes nor brokers.
"""

from __future__ import annotations

from evkafka.verify.options import Options
from evkafka.verify.report import Report
from evkafka.verify.run import verify

__all__ = ["Options", "Report", "verify"]
