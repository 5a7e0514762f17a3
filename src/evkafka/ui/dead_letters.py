"""The screen of dead letters: list, dry run, replay, drop. `evkafka dlq` does the same on the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from evkafka.dlq import (
    DeadLetterFilter,
    DeadLetterRecord,
    DeadLetterTopic,
    Target,
    drop_dead_letters,
    dry_run_replay,
    replay_dead_letters,
)
from evkafka.dlq.dry_run import create_reaches_endpoint_check
from evkafka.dlq.local_handler import create_local_handler
from evkafka.dlq.replay import LocalHandler, ReplayReport
from evkafka.dlq.targets import source_topics_of
from evkafka.exceptions import ConfigError
from evkafka.serde.safe_text import escape_multiline_text
from evkafka.service.plan import DeclaredConsumer
from evkafka.service.topic_registries import registry_of_topic
from evkafka.ui.app_topics import AppTopic, dead_letter_topic_of
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.dead_letter_list import DeadLetterLists, Listed, ListQuery
from evkafka.ui.dead_letter_topics import DeadLetterTopics
from evkafka.ui.models import DeadLetterList, FailedDeadLetter, ReplayResult
from evkafka.ui.offset_ranges import ranges_as_text
from evkafka.ui.operated_app import OperatedApp

FAILED_SHOWN = 200
REASON_CHARACTERS = 1000

READ_TIMEOUT_S = 30.0
REPLAY_TIMEOUT_S = 300.0


class DeadLetterScreen:
    """Reads and replays the app's dead letters.

    Topics are read and written in the background. Only the consumer's handler runs in the app's event loop.

    Args:
        background: reads. Replays have a runner of their own, so that the page can be read during a long one.
        topics: the app's dead-letter topics.
        open_by_topic: the number of open dead letters of each topic, as last counted.
    """

    def __init__(
        self,
        app: OperatedApp,
        background: BackgroundRunner,
        topics: DeadLetterTopics,
        open_by_topic: Callable[[], Mapping[str, int]],
    ) -> None:
        self._app = app
        self._background = background
        self._topics = topics
        self._open_by_topic = open_by_topic
        self._actions = BackgroundRunner()
        self._lists = DeadLetterLists()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="evkafka-replay")

    def shut_down(self) -> None:
        self._actions.shut_down()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------------ reading

    async def list(
        self, topic: str | None, query: ListQuery, *, consumer: str = "", source: str = ""
    ) -> DeadLetterList:
        """A page of a topic's dead letters, the newest first.

        Args:
            topic: None for the one to which this consumer writes the dead letters of the topic `source`; if there is
                none, for the app's first topic with open dead letters.

        Raises:
            ConfigError: the app has no such dead-letter topic.
            TimeoutError, BrokerError, TooBusy: the topic could not be read.
        """
        topics = await self._topics.list_topics_unless_cached(topic)
        name = topic or self._default_topic(topics, consumer, source, query)
        found = Listed()
        if name is not None:
            dead_letters, registry = _require_dead_letter_topic(topics, name), registry_of_topic(self._app, name)
            found = await self._background.run(
                lambda: self._lists.find_page(dead_letters, query, registry), timeout_s=READ_TIMEOUT_S
            )
        return DeadLetterList(
            topics=list(topics),
            topic=name,
            letters=found.rows,
            counts=found.counts,
            open=found.open,
            groups=found.groups,
            other=found.other,
            within=ranges_as_text(found.within),
            older=found.older,
        )

    def _default_topic(
        self, topics: Mapping[str, AppTopic], consumer: str, source: str, query: ListQuery
    ) -> str | None:
        event_type = next(iter(query.wanted.event_types), None)
        named = dead_letter_topic_of(self._app, consumer, source, event_type) if consumer and source else None
        if named in topics:
            return named
        counted = self._open_by_topic()
        return next((name for name in topics if counted.get(name)), next(iter(topics), None))

    # ------------------------------------------------------------------ replaying and dropping

    async def replay(
        self, topic: str, wanted: DeadLetterFilter, report: ReplayReport, *, to_handler: bool, dry_run: bool
    ) -> ReplayResult:
        """Replay to the topics of origin, or to the consumer's handler in this process.

        Args:
            report: updated during the replay.
            dry_run: only decode the records and look up their endpoints; run nothing.

        Raises:
            ConfigError: there is no such topic, or no consumer of this app handles its dead letters.
            TakenOver, TimeoutError, BrokerError, TooBusy: the replay ended early; what was done is marked.
        """
        topics = await self._topics.list_topics_unless_cached(topic)
        dead_letters, source = _require_dead_letter_topic(topics, topic), topics[topic]
        target = Target(sources=source_topics_of(self._consumer_of(source).settings_with_dead_letter_topics()))
        if dry_run:
            would = create_reaches_endpoint_check(self._consumer_of(source)) if to_handler else target
            result = await self._background.run(
                lambda: dry_run_replay(dead_letters, would, wanted), timeout_s=READ_TIMEOUT_S
            )
            failed = [(dead_letter, reason) for dead_letter, reason in result.results if reason is not None]
            return _replay_result(len(result.results), 0, failed)
        to = self._local_handler(source) if to_handler else target
        await self._actions.run(
            lambda: replay_dead_letters(dead_letters, to, wanted, report=report), timeout_s=REPLAY_TIMEOUT_S
        )
        return _result_of_report(report)

    async def drop(self, topic: str, wanted: DeadLetterFilter, report: ReplayReport) -> ReplayResult:
        """Drop dead letters; raises the same errors as `replay`."""
        dead_letters = _require_dead_letter_topic(await self._topics.list_topics_unless_cached(topic), topic)
        await self._actions.run(
            lambda: drop_dead_letters(dead_letters, wanted, report=report), timeout_s=REPLAY_TIMEOUT_S
        )
        return _result_of_report(report)

    def _consumer_of(self, topic: AppTopic) -> DeclaredConsumer:
        return self._app.consumers[topic.consumer or ""]

    def _local_handler(self, topic: AppTopic) -> LocalHandler:
        """A handler that runs in the app's event loop, whichever loop awaits it: the user's resources belong to it."""
        service = self._app.service
        plan = service.plan_of_consumer(topic.consumer or "") if service is not None else None
        if service is None or plan is None:
            raise ConfigError("no running consumer of this app handles these dead letters")
        handle, loop = create_local_handler(plan, service.state, self._threads), asyncio.get_running_loop()

        async def in_background(dead_letter: DeadLetterRecord) -> str | None:
            async def in_app_loop() -> str | None:
                return await handle(dead_letter)

            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(in_app_loop(), loop))

        return in_background


def _result_of_report(report: ReplayReport) -> ReplayResult:
    failed = [(failure.dead_letter, failure.reason) for failure in report.failed]
    return _replay_result(report.chosen, report.done, failed)


def _replay_result(chosen: int, done: int, failed: Sequence[tuple[DeadLetterRecord, str]]) -> ReplayResult:
    shown = [
        FailedDeadLetter(
            id=dead_letter.id, place=str(dead_letter.position), why=escape_multiline_text(reason, REASON_CHARACTERS)
        )
        for dead_letter, reason in failed[:FAILED_SHOWN]
    ]
    return ReplayResult(chosen=chosen, done=done, failed=shown, failed_count=len(failed))


def _require_dead_letter_topic(topics: Mapping[str, AppTopic], name: str) -> DeadLetterTopic:
    """
    Raises:
        ConfigError: the app has no such dead-letter topic.
    """
    topic = topics.get(name)
    if topic is None:
        known = ", ".join(map(repr, topics)) or "none"
        raise ConfigError(f"this app writes no dead letters to {name!r}; its dead-letter topics: {known}")
    return DeadLetterTopic(topic.connection, name, type_header=topic.type_header)
