"""`make bench`: a Kafka, a topic filled once, every row in turn; then the tables."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime

from bench import curves, lanes, plots, report, single, workers
from bench.compare import CONSUMING, SENDING, VIEWED, compare
from bench.latency import latencies
from bench.load import fill, make_topic
from evkafka.broker import KafkaBroker

MEMORY_EVENTS = 5_000_000


def main() -> None:
    asked = _arguments()
    with KafkaBroker() as broker:
        if asked.lanes:
            print(_lanes(broker.bootstrap_servers, asked))
        elif asked.curves:
            print(_curves(broker.bootstrap_servers, asked))
        elif asked.workers:
            print(_workers(broker.bootstrap_servers, asked))
        elif asked.viewers:
            print(_viewed(broker.bootstrap_servers, asked))
        elif not asked.produce:
            print(_consuming(broker.bootstrap_servers, asked))
        if not (asked.consume or asked.lanes or asked.curves or asked.workers or asked.viewers):
            print(_producing(broker.bootstrap_servers, asked))
    print(f"\n{report.machine()}\nWritten to bench/results/.")


def _consuming(servers: str, asked: argparse.Namespace) -> str:
    _say(f"Filling a topic with {CONSUMING.baseline.events:,} events")
    asyncio.run(_prepare(servers))
    results = compare(CONSUMING, servers, "orders", pairs=asked.pairs, progress=_say)
    _say("First record, idle")
    import_s, first = single.import_s(), single.first(servers, "orders")
    idle_percent = single.idle_percent(servers, "orders")
    memory = None
    if asked.memory:
        _say(f"Memory over {MEMORY_EVENTS:,} events")
        memory = single.memory(servers, "memory", MEMORY_EVENTS)
    figures = report.Figures(_today(), report.machine(), results, first, idle_percent, memory, import_s)
    report.write("latest", figures, report.markdown(figures))
    return f"\n{report.text(figures)}"


def _viewed(servers: str, asked: argparse.Namespace) -> str:
    _say(f"Filling a topic with {CONSUMING.baseline.events:,} events")
    asyncio.run(_prepare(servers))
    results = []
    for table in VIEWED:
        results += compare(table, servers, "orders", pairs=asked.pairs, progress=_say)
    figures = report.Figures(_today(), report.machine(), results, None, None, None)
    report.write("viewed", figures, report.markdown(figures, report.VIEWED_METHOD))
    return f"\n{report.text(figures)}"


def _producing(servers: str, asked: argparse.Namespace) -> str:
    results = []
    for number, table in enumerate(SENDING):
        topic = f"sent-{number}"
        asyncio.run(make_topic(servers, topic))
        results += compare(table, servers, topic, pairs=asked.pairs, progress=_say)
    latency = latencies(servers, runs=asked.pairs, progress=_say)
    figures = report.SendingFigures(_today(), report.machine(), results, latency)
    report.write("producing", figures, report.sending_markdown(figures))
    return f"\n{report.sending_text(figures)}"


def _lanes(servers: str, asked: argparse.Namespace) -> str:
    figures = lanes.measure_all(servers, runs=asked.pairs, date=_today(), machine=report.machine(), progress=_say)
    report.write("lanes", figures, lanes.markdown(figures))
    return f"\n{lanes.markdown(figures)}"


def _curves(servers: str, asked: argparse.Namespace) -> str:
    runs = min(asked.pairs, 3)
    figures = curves.measure_all(servers, runs=runs, date=_today(), machine=report.machine(), progress=_say)
    report.write("curves", figures, curves.markdown(figures))
    plots.draw(figures.curves)
    return f"\n{curves.markdown(figures)}"


def _workers(servers: str, asked: argparse.Namespace) -> str:
    figures = workers.measure_all(servers, runs=asked.pairs, date=_today(), machine=report.machine(), progress=_say)
    report.write("workers", figures, workers.markdown(figures))
    return f"\n{workers.markdown(figures)}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="pairs of a row with the baseline (5)")
    parser.add_argument("--memory", action="store_true", help=f"also memory over {MEMORY_EVENTS:,} events")
    half = parser.add_mutually_exclusive_group()
    half.add_argument("--consume", action="store_true", help="only what is about consuming")
    half.add_argument("--lanes", action="store_true", help="only what is about lanes, batches and their bounds")
    half.add_argument(
        "--curves", action="store_true", help="only the cost by partitions, handlers, keys and size, with pictures"
    )
    half.add_argument("--workers", action="store_true", help="only two workers against one")
    half.add_argument("--viewers", action="store_true", help="only what metrics and the open operations page cost")
    half.add_argument("--produce", action="store_true", help="only what is about producing, and end-to-end latency")
    return parser.parse_args()


async def _prepare(servers: str) -> None:
    for topic in ("orders", "memory"):
        await make_topic(servers, topic)
    await fill(servers, "orders", CONSUMING.baseline.events)


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
