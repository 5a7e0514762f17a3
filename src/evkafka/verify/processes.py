"""The processes of a run: started, killed, stopped, frozen. What ends without having been asked to is remembered."""

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
from evkafka.verify.worker_task import Task

STOP_S = 30.0
"""How long a process that was asked to stop may take: its drain, its last commit, its leaving."""


class Worker:
    """One life of one process.

    Attributes:
        busy: a fault is being carried out on it.
        asked: it was told to end.
        frozen: it is stopped by SIGSTOP.
        up: it has said that it runs: from then on it takes the signals of faults.
    """

    def __init__(self, who: str, command: list[str], log: Path) -> None:
        self.who = who
        self.log = log
        self.busy = False
        self.asked = False
        self.frozen = False
        self.up = False
        self._process = ChildProcess(command, log)

    @property
    def exit_code(self) -> int | None:
        return self._process.exit_code

    def signal(self, signum: signal.Signals) -> None:
        if self.exit_code is None:
            os.kill(self._process.pid, signum)

    async def ended(self, timeout_s: float) -> bool:
        return await asyncio.to_thread(self._process.wait, timeout_s)

    def tail(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.rstrip().splitlines()[-15:])


class Workers:
    """All of them, in slots: a slot's process is replaced by the next life of it.

    Attributes:
        unclean: what ended otherwise than it was asked to, in words.
    """

    def __init__(self, task: Task, home: Path, journal: History, tell: Callable[[str], object]) -> None:
        self._task = task
        self._home = home
        self._journal = journal
        self._tell = tell
        self._slots: dict[int, Worker] = {}
        self._lives: dict[int, int] = {}
        self.unclean: list[str] = []

    # ------------------------------------------------------------------ which there are

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self._slots.values() if worker.exit_code is None]

    def pick(self, fraction: float) -> Worker | None:
        """One of those that no fault is being carried out on; None where there is none."""
        free = [worker for worker in self.alive if not worker.busy and not worker.asked]
        return free[int(fraction * len(free))] if free else None

    def fresh_slot(self) -> int:
        return max(self._lives, default=-1) + 1

    # ------------------------------------------------------------------ lives

    def start(self, slot: int) -> Worker:
        """The slot's next life."""
        life = self._lives[slot] = self._lives.get(slot, 0) + 1
        who = f"{slot + 1}.{life}"
        task = replace(self._task, who=who)
        command = [sys.executable, "-m", "evkafka.verify.worker", task.as_argument()]
        worker = self._slots[slot] = Worker(who, command, self._home / f"process-{who}.log")
        return worker

    def restart(self, worker: Worker) -> Worker:
        """The next life of this one's slot."""
        return self.start(int(worker.who.partition(".")[0]) - 1)

    async def kill(self, worker: Worker) -> None:
        """SIGKILL, and wait for the end. The line in the journal stands before any heir's: a dead member's partitions
        are given away when its session is over."""
        worker.asked = True
        worker.signal(signal.SIGKILL)
        await worker.ended(10)
        self._journal.note("killed", who=worker.who, kind="kill")

    async def stop(self, worker: Worker) -> None:
        """SIGTERM, and wait for the end; what is not at an end in time, or ends with an error, is unclean."""
        worker.asked = True
        self.thaw(worker)
        worker.signal(signal.SIGTERM)
        if not await worker.ended(STOP_S):
            self._unclean(f"process {worker.who} had not stopped {STOP_S:g} s after SIGTERM", worker)
            worker.signal(signal.SIGKILL)
            await worker.ended(10)
        elif worker.exit_code not in (0, -signal.SIGTERM):  # the latter: it had not come as far as taking signals
            self._unclean(f"process {worker.who} ended with code {worker.exit_code} after SIGTERM", worker)
        self._journal.note("down", who=worker.who)

    def freeze(self, worker: Worker) -> None:
        worker.frozen = True
        worker.signal(signal.SIGSTOP)
        self._journal.note("frozen", who=worker.who, kind="freeze")

    def thaw(self, worker: Worker) -> None:
        if worker.frozen:
            self._journal.note("thawed", who=worker.who)
            worker.frozen = False
            worker.signal(signal.SIGCONT)

    def note_up(self, names: Collection[str]) -> None:
        """These processes have said that they run."""
        for worker in self._slots.values():
            worker.up = worker.up or worker.who in names

    def cancel_a_task(self, worker: Worker) -> None:
        """The process notes which one it was. One that is not up yet has none, and the signal would end it."""
        if worker.up and SIGNAL is not None:
            worker.signal(SIGNAL)

    def revive(self) -> None:
        """Replace what has ended by itself: it is a finding, and must not hide others."""
        for worker in list(self._slots.values()):
            if worker.exit_code is not None and not worker.asked:
                worker.asked = True
                self._unclean(f"process {worker.who} ended by itself with code {worker.exit_code}", worker)
                self._journal.note("down", who=worker.who)
                self.restart(worker)

    def end(self) -> None:
        """Whatever became of the run: none of them outlives it."""
        for worker in self.alive:
            worker.signal(signal.SIGKILL)

    def _unclean(self, what: str, worker: Worker) -> None:
        self.unclean.append(f"{what} (log: {worker.log})")
        self._tell(what)
