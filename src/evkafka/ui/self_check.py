"""The self-check: what the app finds wrong in its own state and in its clusters, and how to fix it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from evkafka.exceptions import BrokerError
from evkafka.kafka.admin.topic_reader import partition_numbers_by_topic
from evkafka.service.config_checks import config_findings, metadata_findings
from evkafka.service.plan import DeclaredConsumer
from evkafka.ui.app_topics import configured_dead_letter_topics
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.models import CheckRow, SelfCheckResult
from evkafka.ui.operated_app import OperatedApp
from evkafka.ui.status_text import plural

READ_TIMEOUT_S = 20.0

Result = Literal["note", "warn", "bad"]
RESULTS: Mapping[str, Result] = {"note": "note", "warning": "warn", "error": "bad"}
Partitions = Mapping[str, Sequence[int]]


async def run_self_check(app: OperatedApp, background: BackgroundRunner) -> SelfCheckResult:
    """
    Raises:
        TooBusy: too many requests wait.
    """
    found = list(_health_rows(app))
    dead_letter_topics = configured_dead_letter_topics(app)
    for declared in app.consumers.values():
        own = [name for name, topic in dead_letter_topics.items() if topic.consumer == declared.name]
        found += await _rows_of_consumer_cluster(declared, own, background)
        found += config_rows(declared)
    return SelfCheckResult(at_ms=int(time.time() * 1000), checks=found)


def _health_rows(app: OperatedApp) -> Iterator[CheckRow]:
    status = app.status()
    for name, health in (("Liveness", app.health.live(status)), ("Readiness", app.health.ready(status))):
        reasons = [f"{check.name}: {reason}".lstrip(": ") for check in health.checks for reason in check.reasons]
        if health.ok and not reasons:
            yield _ok_row(name, "")
        else:
            yield _problem_row(name, "bad" if not health.ok else "warn", "; ".join(reasons), None)


async def _rows_of_consumer_cluster(
    declared: DeclaredConsumer, dead_letter_topics: list[str], background: BackgroundRunner
) -> list[CheckRow]:
    settings, name = declared.settings, declared.name
    servers = ",".join(settings.connection.bootstrap_servers)
    wanted = [*(topic.name for topic in settings.topics), *declared.retry_topics(), *dead_letter_topics]
    try:
        known = await background.run(
            lambda: partition_numbers_by_topic(settings.connection, wanted), timeout_s=READ_TIMEOUT_S
        )
    except (BrokerError, TimeoutError) as error:
        reason = str(error) or f"no answer within {READ_TIMEOUT_S:g} s"
        return [
            _problem_row(
                f"{name}: connection",
                "bad",
                f"{servers}: {reason}",
                "Check that the brokers run, and that this host can connect to them.",
            )
        ]
    return [
        _ok_row(f"{name}: connection", f"{servers}: connection OK"),
        *_consumer_topic_rows(declared, dead_letter_topics, known),
    ]


def _consumer_topic_rows(
    declared: DeclaredConsumer, dead_letter_topics: list[str], known: Partitions
) -> Iterator[CheckRow]:
    settings, name = declared.settings, declared.name
    for topic in settings.topics:
        if topic.name in known:
            yield _ok_row(f"{name}: topic {topic.name}", plural(len(known[topic.name]), "partition"))
        else:
            yield _missing_topic_row(name, topic.name, "The consumer reads nothing until it exists.")
    for topic_name in (*declared.retry_topics(), *dead_letter_topics):
        if topic_name in known:
            yield _ok_row(f"{name}: topic {topic_name}", plural(len(known[topic_name]), "partition"))
        else:
            yield _missing_topic_row(
                name,
                topic_name,
                "The app creates it when it starts, and for the next record that needs it, if the brokers allow that.",
                "note",
            )
    numbers = sum(len(known.get(topic.name, ())) for topic in settings.topics)
    if settings.ordering == "partition" and settings.concurrency > numbers > 0:
        yield _problem_row(
            f"{name}: concurrency",
            "warn",
            f"Concurrency is {settings.concurrency}: with ordering by partition, at most {numbers} records run at once",
            'Set ordering to "key", or lower concurrency.',
        )


def config_rows(declared: DeclaredConsumer) -> Iterator[CheckRow]:
    settings, name = declared.settings, f"{declared.name}: configuration"
    findings = [*config_findings(declared), *metadata_findings(settings, None)]
    rows = [_problem_row(name, RESULTS[found.level], found.problem, found.fix) for found in findings]
    yield from rows or [_ok_row(name, "Timeouts are consistent")]
    if settings.auto_offset_reset == "latest":
        yield _problem_row(
            f"{declared.name}: auto_offset_reset",
            "note",
            'auto_offset_reset is "latest": a group without committed offsets skips the records that exist',
            'Set auto_offset_reset to "earliest" if the group needs them.',
        )


def _missing_topic_row(consumer: str, topic: str, sentence: str, result: Result = "bad") -> CheckRow:
    return CheckRow(
        name=f"{consumer}: topic {topic}",
        result=result,
        sentence=f"It does not exist. {sentence}",
        fix="Create it.",
        command="evkafka topics create MODULE:APP",
    )


def _ok_row(name: str, sentence: str) -> CheckRow:
    return CheckRow(name=name, result="ok", sentence=sentence, fix=None, command=None)


def _problem_row(name: str, result: Result, sentence: str, fix: str | None) -> CheckRow:
    return CheckRow(name=name, result=result, sentence=sentence, fix=fix, command=None)
