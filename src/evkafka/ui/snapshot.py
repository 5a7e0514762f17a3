"""The state of the app at one moment, for all viewers of the page."""

from __future__ import annotations

import time
from collections.abc import Callable

from evkafka.runtime.dead_letters.retry_topics import retry_consumer_name
from evkafka.runtime.status import AppStatus
from evkafka.ui.consumer_rows import ConsumerRows
from evkafka.ui.history import total_lag
from evkafka.ui.models import ConsumerRow, CurrentFigures, EventRow, OpenDeadLetters, PageSnapshot
from evkafka.ui.operated_app import EndpointName, OperatedApp, endpoint_names
from evkafka.ui.problems import ProblemList
from evkafka.ui.process_figures import ProcessFigures
from evkafka.ui.quantile import quantile
from evkafka.ui.statistics import EventTypeStatistics, Statistics

EVENT_TYPES_SHOWN = 500
ERRORS_SHOWN = 40
PROBLEMS_SHOWN = 50


class Snapshots:
    """Creates the snapshots of one app, without asking the cluster."""

    def __init__(
        self, app: OperatedApp, statistics: Statistics, open_dead_letters: Callable[[], OpenDeadLetters]
    ) -> None:
        self._app = app
        self._statistics = statistics
        self._open_dead_letters = open_dead_letters
        self._problems = ProblemList()
        self._process = ProcessFigures(app.version)

    def create(self) -> PageSnapshot:
        status, health, statistics = self._app.status(), self._app.health, self._statistics
        ready, live = health.ready(status), health.live(status)
        rows = ConsumerRows(status, health, statistics).create(ready, live)
        dead_letters = self._open_dead_letters()
        statistics.sample_status(status)
        return PageSnapshot(
            at_ms=int(time.time() * 1000),
            now=_current_figures(statistics, status, rows),
            history=statistics.app_history(),
            problems=self._problems.update(status, ready, live, rows, dead_letters)[:PROBLEMS_SHOWN],
            consumers=rows,
            events=_event_rows(self._app, statistics),
            unmatched=statistics.unmatched_rows(),
            errors=statistics.error_groups()[:ERRORS_SHOWN],
            letters=dead_letters,
            process=self._process.measure(),
        )


def _current_figures(statistics: Statistics, status: AppStatus, rows: list[ConsumerRow]) -> CurrentFigures:
    handled_per_s, failed_per_s = statistics.current_app_rates()
    durations_s = statistics.recent_durations_of_app_s()
    attempts = [attempt for consumer in status.consumers for attempt in consumer.attempts]
    return CurrentFigures(
        handled_per_s=handled_per_s,
        handled=statistics.handled,
        failed_per_s=failed_per_s,
        failed=statistics.failed,
        lag=total_lag(status.consumers),
        lag_s=max((row["lag_s"] for row in rows if row["lag_s"] is not None), default=None),
        p50_s=quantile(durations_s, 0.5),
        p95_s=quantile(durations_s, 0.95),
        in_flight=len(attempts),
        oldest_s=max((attempt.age_s for attempt in attempts), default=None),
        dead_lettered=statistics.dead_lettered,
    )


# ---------------------------------------------------------------------------- event types


def _event_rows(app: OperatedApp, statistics: Statistics) -> list[EventRow]:
    """A row for each declared endpoint, with its statistics.

    Event types that no endpoint declares belong to the default endpoint, which took them.
    """
    rows = []
    for declared in app.consumers.values():
        endpoints = endpoint_names(declared)
        named = {endpoint.event_type for endpoint in endpoints}
        consumers = (declared.name, retry_consumer_name(declared.name))  # the second one reads the retry topics
        all_counts = [
            (event_type, counts) for (name, event_type), counts in statistics.event_types.items() if name in consumers
        ]
        for endpoint in endpoints:
            wanted = endpoint.event_type
            own = [counts for name, counts in all_counts if name == wanted or (wanted is None and name not in named)]
            rows.append(_event_row(declared.name, endpoint, own, statistics))
    return rows[:EVENT_TYPES_SHOWN]


def _event_row(
    consumer: str, endpoint: EndpointName, counts: list[EventTypeStatistics], statistics: Statistics
) -> EventRow:
    durations_s = sorted(s for event_type in counts for s in event_type.durations_s)
    failed = [event_type for event_type in counts if event_type.error_at_ms is not None]
    last = max(failed, key=lambda event_type: event_type.error_at_ms or 0, default=EventTypeStatistics())
    return EventRow(
        consumer=consumer,
        event_type=endpoint.event_type,
        endpoint=endpoint.name,
        handled=sum(event_type.handled for event_type in counts),
        handled_per_s=sum(statistics.rate_of_event_type(event_type) for event_type in counts),
        p50_s=quantile(durations_s, 0.5),
        p95_s=quantile(durations_s, 0.95),
        p99_s=quantile(durations_s, 0.99),
        failed=sum(event_type.failed for event_type in counts),
        last_error=last.error,
        last_error_at_ms=last.error_at_ms,
    )
