"""`InMemoryKafka`, the test's interface: it runs apps, advances their time, and asserts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from typing import Any, Self

from evkafka.app import EVKafkaApp
from evkafka.exceptions import EVKafkaError
from evkafka.records import TopicPartition
from evkafka.runtime.backend import Backend, use_backend
from evkafka.testing.cluster_ids import ClusterIds, declared_connections
from evkafka.testing.memory import assertions
from evkafka.testing.memory.apps import ClusterView, RunningApp
from evkafka.testing.memory.clock_driver import Attempt, ClockDriver
from evkafka.testing.memory.cluster import MemoryCluster
from evkafka.testing.memory.group import Group
from evkafka.testing.memory.partition_log import MemoryRecord

LONGEST_REBALANCE_S = 600.0


class NotSettled(EVKafkaError, AssertionError):
    """Virtual time ran out and there was still something to do; the message says what."""


class InMemoryKafka(MemoryCluster):
    """A Kafka without a network. Use as `async with InMemoryKafka() as kafka, kafka.running(app):`.

    It belongs to the event loop that it is used in; it is not thread-safe.

    Args:
        seed: seed of all random decisions (how many turns of the loop an answer takes, the partition of a record
            without a key, the jitter of a backoff): the same seed gives the same run.
        partitions: partitions of an automatically created topic.
        auto_create_topics: create a topic when something is sent to it or subscribes to it. False: sends to an unknown
            topic fail, and a consumer waits for its topic, as on a cluster without automatic creation.
    """

    def __init__(self, *, seed: int = 0, partitions: int = 1, auto_create_topics: bool = True) -> None:
        super().__init__(seed=seed, partitions=partitions, auto_create_topics=auto_create_topics)
        self._driver = ClockDriver(self.clock, self._running_attempts)
        self._apps: dict[EVKafkaApp, RunningApp] = {}
        self._has_run = False
        self._backend = ExitStack()

    async def __aenter__(self) -> Self:
        """Inside, every `EVKafkaProducer` that is started writes to this Kafka."""
        self._backend.enter_context(
            use_backend(Backend(ClusterView(self, ClusterIds()), self.clock, self.random.random))
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._backend.close()
        await self.close()

    # ------------------------------------------------------------------ running an app

    @asynccontextmanager
    async def running(self, app: EVKafkaApp, *, joined: bool = True) -> AsyncIterator[Mapping[str, Any]]:
        """Run the app on this Kafka, with its virtual clock; stopped (drained, committed) at the exit.

        Its producers write here, and so does every `EVKafkaProducer` that is started inside.

        Args:
            joined: enter when its consumers have their partitions (default); False: as soon as it has started.

        Raises:
            StartFailed: at the entry.
            StopApp: at the exit, if a record has stopped the app.
            BrokerError: at the exit, if a consumer could not be restarted.
            RuntimeError: it is running already.
        """
        if app in self._apps:
            raise RuntimeError(f"app {app.title!r} is already running on this Kafka")
        running = RunningApp(app, ClusterView(self, ClusterIds(partial(declared_connections, app))))
        self._apps[app] = running
        self._has_run = True
        ending = asyncio.Event()
        self.run_in_background(self._advance_while_starting_or_ending(running, ending))
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(use_backend(Backend(running.view, self.clock, self.random.random)))
                starts = app.running(cluster=running.view, clock=self.clock, on_failure=lambda _: None)
                state = await stack.enter_async_context(starts)
                running.service, running.phase = app.service, "running"
                if joined and not self.is_in_outage:
                    await self._driver.advance_until_condition(lambda: running.has_joined, most_s=LONGEST_REBALANCE_S)
                try:
                    yield state
                finally:
                    running.phase = "ending"
                    ending.set()
                    if running.service is not None:
                        running.service.begin_stop()
        finally:
            running.phase = "ended"
            ending.set()
            running.stop_listening()
            if self._apps.get(app) is running:
                del self._apps[app]

    async def _advance_while_starting_or_ending(self, running: RunningApp, ending: asyncio.Event) -> None:
        """Advance the clock while the app starts, or ends (at the exit, by `stop()`, by a fatal record)."""
        while running.phase == "starting":
            await self._advance_to_next_timer(needed=bool(self.sending))
        if running.service is not None:
            await running.service.wait_until_stop_is_needed()
            while running.service.draining:
                await self._advance_to_next_timer(needed=True)
        await ending.wait()
        while running.phase != "ended":
            # Of a failed app with two consumers, one may end before the exit, and the other may need time after it.
            draining = running.service is not None and running.service.draining
            await self._advance_to_next_timer(needed=draining or bool(self.sending))

    async def _advance_to_next_timer(self, *, needed: bool) -> None:
        if not needed:
            await asyncio.sleep(0.001)
            return
        await self._driver.run_until_only_timers_left()
        if (due := self.clock.next_due()) is not None:
            self.clock.jump(due)

    def _running_app_or_raise(self, app: EVKafkaApp) -> RunningApp:
        if app not in self._apps:
            raise RuntimeError(f"app {app.title!r} does not run on this Kafka: use `async with kafka.running(app):`")
        return self._apps[app]

    async def crash(self, app: EVKafkaApp) -> None:
        """Like `kill -9`: no drain, no commit, no leave request. The group notices it when the session has expired.

        Raises:
            RuntimeError: the app is not running here.
        """
        running = self._running_app_or_raise(app)
        running.crash()
        del self._apps[app]
        await self._driver.run_ready_tasks()

    async def expire(self, app: EVKafkaApp) -> None:
        """Let the sessions of the app's members expire without their knowledge, as in a frozen process.

        Raises:
            RuntimeError: the app is not running here.
        """
        for source in self._running_app_or_raise(app).view.sources:
            source.expire()
        await self._driver.run_ready_tasks()

    def rebalance(self, group: str | None = None) -> Awaitable[None]:
        """Rebalance the group (None: every group): all partitions are revoked and assigned again, with either group
        protocol. It begins at once; awaiting it lets time pass until it ends.

        Raises:
            NotSettled: when awaited: it has not ended within ten minutes of virtual time.
            RuntimeError: there is no such group.
        """
        groups = list(self._groups.values()) if group is None else [self._require_group(group)]
        for one in groups:
            one.start_full_rebalance()
        return _LazyAwaitable(lambda: self._wait_until_rebalanced(groups))

    async def _wait_until_rebalanced(self, groups: list[Group]) -> None:
        ended = await self._driver.advance_until_condition(
            lambda: all(group.settled for group in groups), most_s=LONGEST_REBALANCE_S
        )
        if not ended:
            raise NotSettled(f"the rebalance has not finished: {'; '.join(self._unfinished_work_with_reasons())}")

    # ------------------------------------------------------------------ time

    async def advance(self, *, ms: float) -> None:
        """Let this much virtual time pass, timer by timer. Endpoints' own awaits are waited for, in real time, for a
        second at most.
        """
        await self._driver.advance(ms / 1000)

    async def settle(self, *, max_ms: float = 3_600_000) -> None:
        """Let time pass until every record is handled and committed. Endpoints' own awaits take their real time.

        Raises:
            NotSettled: this much virtual time has passed and there is still something to do.
            RuntimeError: no app has run here yet.
        """
        if not self._has_run:
            raise RuntimeError("no app has run on this Kafka yet: use `async with kafka.running(app):`")
        settled = await self._driver.advance_until_condition(lambda: not self.unfinished(), most_s=max_ms / 1000)
        self.raise_background_task_error()
        if not settled:
            words = "\n- ".join(self._unfinished_work_with_reasons())
            raise NotSettled(f"not settled after {max_ms / 1000:g} s on the virtual clock:\n- {words}")

    def unfinished(self) -> list[str]:
        """Describe what is still to be done; empty if nothing."""
        words = [f"group {group.name} rebalances" for group in self._groups.values() if not group.settled]
        for running in self._apps.values():
            words += running.describe_unfinished_work()
        for source in self._members:
            words += source.describe_unfinished_work()
        if self.sending:
            words.append(f"{len(self.sending)} sends are not confirmed yet")
        return words

    def _unfinished_work_with_reasons(self) -> list[str]:
        because = [word for running in self._apps.values() for word in running.explain_why_unfinished()]
        away = ["the in-memory Kafka is unavailable: `come_back()` ends the outage"] if self.is_in_outage else []
        return [*because, *away, *self.unfinished()]

    def _running_attempts(self) -> list[Attempt]:
        tasks: set[object] = {record.task for record in self.sending}
        return [attempt for running in self._apps.values() for attempt in running.running_attempts(tasks)]

    @asynccontextmanager
    async def outage(self, *, ms: float = 0) -> AsyncIterator[None]:
        """An outage inside; at its end, this much virtual time passes before the cluster is back."""
        self.go_away()
        try:
            yield
            await self.advance(ms=ms)
        finally:
            self.come_back()

    # ------------------------------------------------------------------ groups and assertions

    def _require_group(self, name: str) -> Group:
        if name not in self._groups:
            raise RuntimeError(assertions.no_group_text(name, self._groups))
        return self._groups[name]

    def committed(self, group: str, topic: str, partition: int = 0) -> int | None:
        """The group's committed offset; None if there is none."""
        return self.group(group).committed.get(TopicPartition(topic, partition))

    def committed_metadata(self, group: str, topic: str, partition: int = 0) -> str:
        """The metadata committed with the offset; empty if there is none."""
        return self.group(group).metadata.get(TopicPartition(topic, partition), "")

    def commit(self, group: str, topic: str, partition: int = 0, *, offset: int, metadata: str = "") -> None:
        """Set a group's offset, as an admin tool does while no member of the group runs."""
        tp = TopicPartition(topic, partition)
        self.topics.log(tp)
        self.group(group).store_commit({tp: offset}, {tp: metadata} if metadata else {})

    def assert_committed(self, *, group: str, topic: str, partition: int = 0, offset: int | None) -> None:
        """Assert the group's committed offset (None: there is none); the error shows the actual one."""
        assertions.assert_committed(self._groups, self.topics, group, TopicPartition(topic, partition), offset)

    def assert_sent(
        self,
        topic: str,
        event_type: str | None = None,
        *,
        event: Any = assertions.ANY,
        key: Any = assertions.ANY,
        headers: Mapping[str, bytes | str | None] | None = None,
        times: int | None = None,
    ) -> list[MemoryRecord]:
        """Assert that an app has written such a record, and return the matching ones; the error lists the topic's.

        Args:
            event: its value, encoded as by a producer; JSON values are compared by content. Of a CloudEvent, its data.
            headers: headers that it must have, among others.
            times: the exact number of records; None: one or more; 0: none.
        """
        return assertions.assert_sent(self, topic, event_type, event=event, key=key, headers=headers, times=times)


class _LazyAwaitable:
    """An awaitable that starts when it is awaited; not awaiting it causes no warning."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, None]:
        return self._work().__await__()
