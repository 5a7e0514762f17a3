"""Proves the guarantees: runs an app in several processes with numbered records, injects faults by a seeded schedule,
and checks the result.

`run.py` has the steps of a run. `checker.py` judges what a run has recorded, and `report.py` describes the result.
These two and `fault_schedule.py` know nothing of processes and brokers.
"""

from __future__ import annotations

from evkafka.verify.options import Options
from evkafka.verify.report import Report
from evkafka.verify.run import verify

__all__ = ["Options", "Report", "verify"]
