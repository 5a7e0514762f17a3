"""EVKafka with tracing: OpenTelemetry's SDK samples a span for each attempt and exports none."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from bench.rows.evkafka_default import measured_app

if __name__ == "__main__":
    trace.set_tracer_provider(TracerProvider())
    measured_app(tracing=True).run()
