"""EVKafka with tracing on: each attempt a span of OpenTelemetry's SDK, all of them sampled, and none exported."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from bench.rows.evkafka_default import make_app

if __name__ == "__main__":
    trace.set_tracer_provider(TracerProvider())
    make_app(tracing=True).run()
