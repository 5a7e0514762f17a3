"""`make bench`: starts Kafka, fills a topic, runs every row, and prints the tables."""

from __future__ import annotations

import argparse
import asyncio

from bench import app_costs, curves, lanes, plots, report, workers
from bench.compare import CONSUMING, PRODUCING, WATCHED, compare
from bench.latency import latencies
from bench.progress import print_progress
from bench.topics import create_topic, fill
from evkafka.broker import KafkaBroker

MEMORY_EVENTS = 5_000_000


def main() -> None:
    options = _arguments()
    with KafkaBroker() as broker:
        for part in options.parts:
            print(part(broker.bootstrap_servers, options))
    print(f"\n{report.machine()}\nWritten to bench/results/.")


def _consume(servers: str, options: argparse.Namespace) -> str:
    print_progress(f"Filling a topic with {CONSUMING.baseline.events:,} events")
    asyncio.run(_prepare(servers))
    results = compare(CONSUMING, servers, "orders", pairs=options.pairs)
    print_progress("First record, idle")
    import_s, first = app_costs.import_s(), app_costs.first_record(servers, "orders")
    idle_percent = app_costs.idle_percent(servers, "orders")
    memory = None
    if options.memory:
        print_progress(f"Memory over {MEMORY_EVENTS:,} events")
        memory = app_costs.memory(servers, "memory", MEMORY_EVENTS)
    figures = report.Figures(report.today(), report.machine(), results, first, idle_percent, memory, import_s)
    report.write("latest", figures, report.markdown(figures))
    return f"\n{report.text(figures)}"


def _watch(servers: str, options: argparse.Namespace) -> str:
    print_progress(f"Filling a topic with {CONSUMING.baseline.events:,} events")
    asyncio.run(_prepare(servers))
    results = []
    for table in WATCHED:
        results += compare(table, servers, "orders", pairs=options.pairs)
    figures = report.Figures(report.today(), report.machine(), results, None, None, None)
    report.write("viewed", figures, report.markdown(figures, report.WATCHED_METHOD))
    return f"\n{report.text(figures)}"


def _produce(servers: str, options: argparse.Namespace) -> str:
    results = []
    for number, table in enumerate(PRODUCING):
        topic = f"sent-{number}"
        asyncio.run(create_topic(servers, topic))
        results += compare(table, servers, topic, pairs=options.pairs)
    latency = latencies(servers, runs=options.pairs)
    figures = report.SendingFigures(report.today(), report.machine(), results, latency)
    report.write("producing", figures, report.sending_markdown(figures))
    return f"\n{report.sending_text(figures)}"


def _lanes(servers: str, options: argparse.Namespace) -> str:
    figures = lanes.measure_all(servers, runs=options.pairs)
    report.write("lanes", figures, lanes.markdown(figures))
    return f"\n{lanes.markdown(figures)}"


def _curves(servers: str, options: argparse.Namespace) -> str:
    runs = min(options.pairs, 3)
    figures = curves.measure_all(servers, runs=runs)
    report.write("curves", figures, curves.markdown(figures))
    plots.draw(figures.curves)
    return f"\n{curves.markdown(figures)}"


def _workers(servers: str, options: argparse.Namespace) -> str:
    figures = workers.measure_all(servers, runs=options.pairs)
    report.write("workers", figures, workers.markdown(figures))
    return f"\n{workers.markdown(figures)}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="pairs of a row with the baseline (5)")
    parser.add_argument("--memory", action="store_true", help=f"also memory over {MEMORY_EVENTS:,} events")
    parser.set_defaults(parts=(_consume, _produce))
    only = parser.add_mutually_exclusive_group()
    for option, part, help_text in (
        ("--consume", _consume, "only consuming"),
        ("--lanes", _lanes, "only records in flight, batches, and a blocked handler"),
        ("--curves", _curves, "only the cost by partitions, handlers, keys and size; draws pictures"),
        ("--workers", _workers, "only two workers compared with one"),
        ("--viewers", _watch, "only the cost of metrics and of the open dashboard"),
        ("--produce", _produce, "only producing, and end-to-end latency"),
    ):
        only.add_argument(option, dest="parts", action="store_const", const=(part,), help=help_text)
    return parser.parse_args()


async def _prepare(servers: str) -> None:
    for topic in ("orders", "memory"):
        await create_topic(servers, topic)
    await fill(servers, "orders", CONSUMING.baseline.events)


if __name__ == "__main__":
    main()
