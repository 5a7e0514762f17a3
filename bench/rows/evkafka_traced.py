"""EVKafka with tracing: OpenTelemetry's SDK samples a span for each attempt, or for none (option 1 or 0)."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from bench.arguments import options
from bench.rows.evkafka_default import measured_app

if __name__ == "__main__":
    (sampled,) = options()
    trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_ON if sampled == "1" else ALWAYS_OFF))
    measured_app(tracing=True).run()
