"""Injects the faults of a schedule. Each fault has a task of its own, so that a long one does not delay the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from evkafka.broker import KafkaBroker
from evkafka.verify.fault_schedule import Fault
from evkafka.verify.history import History
from evkafka.verify.processes import Workers


class Nemesis:
    """Injects faults.

    Attributes:
        outages: beginning and end of each outage of the broker.
    """

    def __init__(
        self, workers: Workers, broker: KafkaBroker | None, history: History, progress: Callable[[str], object]
    ) -> None:
        self._workers = workers
        self._broker = broker
        self._history = history
        self._progress = progress
        self._broker_lock = asyncio.Lock()
        self.outages: list[tuple[float, float]] = []

    async def inject_scheduled_faults(self, schedule: Sequence[Fault]) -> None:
        """Returns when the last fault is over, and everything runs again."""
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for fault in schedule:
                await asyncio.sleep(max(0.0, began_s + fault.at_s - time.monotonic()))
                tasks.create_task(self._inject_fault(fault))

    async def _inject_fault(self, fault: Fault) -> None:
        match fault.kind:
            case "broker":
                await self._restart_broker(fault)
            case "members":
                await self._start_extra_member(fault)
            case "cancel":
                self._cancel_a_task(fault)
            case _:
                await self._inject_process_fault(fault)

    async def _inject_process_fault(self, fault: Fault) -> None:
        worker = self._workers.pick_worker_without_fault(fault.pick)
        if worker is None:
            self._progress(f"no process is free for the fault {fault.kind!r} at {fault.at_s:.1f} s: skipping it")
            return
        worker.busy = True
        self._progress(f"{fault.at_s:6.1f} s  {fault.kind:<8} process {worker.who}, for {fault.lasts_s:.1f} s")
        match fault.kind:
            case "kill":
                await self._workers.kill_worker(worker)
            case "stop":
                self._history.write_entry("fault", who=worker.who, kind="stop")
                await self._workers.stop_worker(worker)
            case _:
                self._workers.freeze_worker(worker)
        await asyncio.sleep(fault.lasts_s)
        if fault.kind == "freeze":
            self._workers.thaw_worker(worker)
            worker.busy = False
        else:
            self._workers.start_replacement_worker(worker)

    def _cancel_a_task(self, fault: Fault) -> None:
        worker = self._workers.pick_worker_without_fault(fault.pick)
        if worker is not None:
            self._progress(f"{fault.at_s:6.1f} s  {fault.kind:<8} a task of process {worker.who}")
            self._workers.cancel_a_task(worker)

    async def _start_extra_member(self, fault: Fault) -> None:
        worker = self._workers.start_worker(self._workers.fresh_slot())
        worker.busy = True
        self._history.write_entry("fault", who=worker.who, kind="members")
        self._progress(f"{fault.at_s:6.1f} s  {fault.kind:<8} process {worker.who}, for {fault.lasts_s:.1f} s")
        await asyncio.sleep(fault.lasts_s)
        if worker.exit_code is None:
            await self._workers.stop_worker(worker)

    async def _restart_broker(self, fault: Fault) -> None:
        broker = self._broker
        assert broker is not None
        async with self._broker_lock:
            how = "crash and restart" if fault.crash else "restart"
            self._progress(f"{fault.at_s:6.1f} s  {fault.kind:<8} {how}")
            self._history.write_entry("fault", who="broker", kind="broker", how=how)
            from_s = time.monotonic()
            if fault.crash:
                await asyncio.to_thread(broker.kill)
            await asyncio.to_thread(broker.restart)
            self.outages.append((from_s, time.monotonic()))
