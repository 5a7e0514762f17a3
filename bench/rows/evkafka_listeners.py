"""EVKafka with listeners for every telemetry event, which count what a metrics page needs."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict

from bench.rows.evkafka_default import measured_app
from evkafka import telemetry

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters by event class; for attempts also a histogram of the duration by event type and status."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.attempts: dict[tuple[str, str, str], list[int]] = {}
        self.seconds: defaultdict[tuple[str, str, str], float] = defaultdict(float)

    def count(self, event: telemetry.Event) -> None:
        self.events[type(event).__name__] += 1

    def observe(self, event: telemetry.RecordsProcessed) -> None:
        for (event_type, status), durations_s in event.durations_s.items():
            series = event.topic, event_type, status
            buckets = self.attempts.setdefault(series, [0] * (len(BOUNDS_S) + 1))
            for duration_s in durations_s:
                buckets[bisect_left(BOUNDS_S, duration_s)] += 1
            self.seconds[series] += sum(durations_s)


if __name__ == "__main__":
    app, metrics = measured_app(), Metrics()
    for kind in telemetry.Event.__subclasses__():
        app.telemetry.listen(kind, metrics.count)
    app.telemetry.listen(telemetry.RecordsProcessed, metrics.observe)
    app.run()
