"""`make bench`: a Kafka, a topic filled once, every row in turn; then the table."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime

from bench import report, single
from bench.compare import BASELINE, compare
from bench.load import fill, make_topic
from evkafka.broker import KafkaBroker

MEMORY_EVENTS = 5_000_000


def main() -> None:
    asked = _arguments()
    with KafkaBroker() as broker:
        servers = broker.bootstrap_servers
        _say(f"Filling a topic with {BASELINE.events:,} events")
        asyncio.run(_prepare(servers))
        results = compare(servers, "orders", pairs=asked.pairs, progress=_say)
        _say("First record, idle")
        first, idle_percent = single.first(servers, "orders"), single.idle_percent(servers, "orders")
        memory = None
        if asked.memory:
            _say(f"Memory over {MEMORY_EVENTS:,} events")
            memory = single.memory(servers, "memory", MEMORY_EVENTS)
    figures = report.Figures(f"{datetime.now(UTC):%Y-%m-%d}", report.machine(), results, first, idle_percent, memory)
    report.write(figures)
    print(f"\n{report.text(figures)}\n\n{figures.machine}\nWritten to bench/results/.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="pairs of a row with the baseline (5)")
    parser.add_argument("--memory", action="store_true", help=f"also memory over {MEMORY_EVENTS:,} events")
    return parser.parse_args()


async def _prepare(servers: str) -> None:
    for topic in ("orders", "memory"):
        await make_topic(servers, topic)
    await fill(servers, "orders", BASELINE.events)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
