"""The worker processes of a run: start, kill, stop, freeze. A process that ends unexpectedly is recorded."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from evkafka.broker.process import ChildProcess
from evkafka.verify.history import History
from evkafka.verify.task_canceller import SIGNAL
from evkafka.verify.worker_task import WorkerTask

STOP_S = 30.0
"""How long a stop of a process may take: drain, last commit, leaving the group."""


class Worker:
    """One worker process.

    Attributes:
        busy: a fault of it is being injected.
        stopping: its end is expected.
        frozen: it was stopped by SIGSTOP.
        up: it has recorded that it runs: from then on it handles the signals of faults.
    """

    def __init__(self, who: str, command: list[str], log: Path) -> None:
        self.who = who
        self.log = log
        self.busy = False
        self.stopping = False
        self.frozen = False
        self.up = False
        self._process = ChildProcess(command, log)

    @property
    def exit_code(self) -> int | None:
        return self._process.exit_code

    def send_signal(self, signum: signal.Signals) -> None:
        if self.exit_code is None:
            os.kill(self._process.pid, signum)

    async def wait_for_end(self, timeout_s: float) -> bool:
        return await asyncio.to_thread(self._process.has_ended_within, timeout_s)

    def log_tail(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.rstrip().splitlines()[-15:])


class Workers:
    """The workers, in slots. When a worker has ended, another one is started in its slot.

    Attributes:
        unclean: descriptions of workers that did not end as requested.
    """

    def __init__(self, task: WorkerTask, home: Path, history: History, progress: Callable[[str], object]) -> None:
        self._task = task
        self._home = home
        self._history = history
        self._progress = progress
        self._slots: dict[int, Worker] = {}
        self._starts: dict[int, int] = {}  # how many workers each slot has had
        self.unclean: list[str] = []

    # ------------------------------------------------------------------ choosing

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self._slots.values() if worker.exit_code is None]

    def pick_worker_without_fault(self, fraction: float) -> Worker | None:
        """A worker without a running fault; None if there is none."""
        free = [worker for worker in self.alive if not worker.busy and not worker.stopping]
        return free[int(fraction * len(free))] if free else None

    def fresh_slot(self) -> int:
        return max(self._starts, default=-1) + 1

    # ------------------------------------------------------------------ starting and ending

    def start_worker(self, slot: int) -> Worker:
        """Start a worker in this slot."""
        number = self._starts[slot] = self._starts.get(slot, 0) + 1
        who = f"{slot + 1}.{number}"
        task = replace(self._task, who=who)
        command = [sys.executable, "-m", "evkafka.verify.worker", task.as_argument()]
        worker = self._slots[slot] = Worker(who, command, self._home / f"process-{who}.log")
        return worker

    def start_replacement_worker(self, worker: Worker) -> Worker:
        """Start another worker in the slot of this one."""
        return self.start_worker(int(worker.who.partition(".")[0]) - 1)

    async def kill_worker(self, worker: Worker) -> None:
        """Send SIGKILL and wait for the end. The line in the history precedes those of the next owner of its
        partitions, because they are reassigned only after its session."""
        worker.stopping = True
        worker.send_signal(signal.SIGKILL)
        await worker.wait_for_end(10)
        self._history.write_entry("killed", who=worker.who, kind="kill")

    async def stop_worker(self, worker: Worker) -> None:
        """Send SIGTERM and wait for the end. A worker that does not end in time, or ends with an error, is unclean."""
        worker.stopping = True
        self.thaw_worker(worker)
        worker.send_signal(signal.SIGTERM)
        if not await worker.wait_for_end(STOP_S):
            self._record_unclean(f"process {worker.who} had not stopped {STOP_S:g} s after SIGTERM", worker)
            worker.send_signal(signal.SIGKILL)
            await worker.wait_for_end(10)
        elif worker.exit_code not in (0, -signal.SIGTERM):  # the latter if it did not handle signals yet
            self._record_unclean(f"process {worker.who} exited with code {worker.exit_code} after SIGTERM", worker)
        self._history.write_entry("down", who=worker.who)

    def freeze_worker(self, worker: Worker) -> None:
        worker.frozen = True
        worker.send_signal(signal.SIGSTOP)
        self._history.write_entry("frozen", who=worker.who, kind="freeze")

    def thaw_worker(self, worker: Worker) -> None:
        if worker.frozen:
            self._history.write_entry("thawed", who=worker.who)
            worker.frozen = False
            worker.send_signal(signal.SIGCONT)

    def mark_named_workers_running(self, names: Collection[str]) -> None:
        """These processes have recorded that they run."""
        for worker in self._slots.values():
            worker.up = worker.up or worker.who in names

    def cancel_a_task(self, worker: Worker) -> None:
        """The process records which task it was. A process that is not up yet would be ended by the signal."""
        if worker.up and SIGNAL is not None:
            worker.send_signal(SIGNAL)

    def replace_ended_workers(self) -> None:
        """Replace workers that have ended by themselves. That is a finding, and must not hide others."""
        for worker in list(self._slots.values()):
            if worker.exit_code is not None and not worker.stopping:
                worker.stopping = True
                self._record_unclean(f"process {worker.who} exited unexpectedly with code {worker.exit_code}", worker)
                self._history.write_entry("down", who=worker.who)
                self.start_replacement_worker(worker)

    def kill_all(self) -> None:
        """Kill all workers: none may outlive the run."""
        for worker in self.alive:
            worker.send_signal(signal.SIGKILL)

    def _record_unclean(self, what: str, worker: Worker) -> None:
        self.unclean.append(f"{what} (log: {worker.log})")
        self._progress(what)
