"""`make bench`: starts Kafka, fills a topic, runs every row, and prints the tables."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import replace

from bench import app_costs, curves, lanes, plots, rebalance, report, transactions, workers
from bench.compare import EVENTS, PRODUCING, WATCHED, compare, consuming_tables
from bench.event import ENVIRONMENT, PROFILE, PROFILES
from bench.latency import latencies
from bench.progress import print_progress
from bench.topics import create_topic, fill
from evkafka.broker import KafkaBroker

MEMORY_EVENTS = 5_000_000


def main() -> None:
    options = _parse_arguments()
    if PROFILES[options.profile] is not PROFILE:  # the rows, and the modules here, read the environment at their import
        os.environ[ENVIRONMENT] = options.profile
        os.execv(sys.executable, [sys.executable, "-m", "bench", *sys.argv[1:]])
    with KafkaBroker() as broker:
        for part in options.parts:
            print(part(broker.bootstrap_servers, options))
    print(f"\n{report.machine()}\nWritten to bench/results/.")


def _measure_consuming(servers: str, options: argparse.Namespace) -> str:
    """All figures of consuming; of the profile `real` only the tables."""
    events = EVENTS[options.profile]
    print_progress(f"Filling a topic with {PROFILE.records(events):,} records")
    asyncio.run(_prepare(servers, events))
    tables = [compare(table, servers, "orders", pairs=options.pairs) for table in consuming_tables(options.profile)]
    figures = report.Figures(report.today(), report.machine(), tables)
    if options.profile == "small":
        print_progress("First record, idle")
        figures = replace(
            figures,
            import_s=app_costs.import_s(),
            first=app_costs.first_record(servers, "orders"),
            idle_percent=app_costs.idle_percent(servers, "orders"),
        )
    if options.memory:
        print_progress(f"Memory over {MEMORY_EVENTS:,} events")
        figures = replace(figures, memory=app_costs.memory(servers, "memory", MEMORY_EVENTS))
    report.write("latest" if options.profile == "small" else options.profile, figures, report.markdown(figures))
    return f"\n{report.text(figures)}"


def _measure_watching(servers: str, options: argparse.Namespace) -> str:
    events = EVENTS["small"]
    print_progress(f"Filling a topic with {events:,} events")
    asyncio.run(_prepare(servers, events))
    tables = [compare(table, servers, "orders", pairs=options.pairs) for table in WATCHED]
    figures = report.Figures(report.today(), report.machine(), tables)
    report.write("viewed", figures, report.markdown(figures, report.WATCHED_METHOD))
    return f"\n{report.text(figures)}"


def _measure_producing(servers: str, options: argparse.Namespace) -> str:
    results = []
    for number, table in enumerate(PRODUCING):
        topic = f"sent-{number}"
        asyncio.run(create_topic(servers, topic))
        results += compare(table, servers, topic, pairs=options.pairs)
    latency = latencies(servers, runs=options.pairs)
    figures = report.SendingFigures(report.today(), report.machine(), results, latency)
    report.write("producing", figures, report.sending_markdown(figures))
    return f"\n{report.sending_text(figures)}"


def _measure_lanes(servers: str, options: argparse.Namespace) -> str:
    figures = lanes.measure_all(servers, runs=options.pairs)
    report.write("lanes", figures, lanes.markdown(figures))
    return f"\n{lanes.markdown(figures)}"


def _measure_curves(servers: str, options: argparse.Namespace) -> str:
    runs = min(options.pairs, 3)
    figures = curves.measure_all(servers, runs=runs)
    report.write("curves", figures, curves.markdown(figures))
    plots.draw(figures.curves)
    return f"\n{curves.markdown(figures)}"


def _measure_workers(servers: str, options: argparse.Namespace) -> str:
    figures = workers.measure_all(servers, runs=options.pairs)
    report.write("workers", figures, workers.markdown(figures))
    return f"\n{workers.markdown(figures)}"


def _measure_rebalances(servers: str, options: argparse.Namespace) -> str:
    figures = rebalance.measure_all(servers)
    report.write("rebalance", figures, rebalance.markdown(figures))
    plots.draw_pauses(figures.rows)
    return f"\n{rebalance.markdown(figures)}"


def _measure_transactions(servers: str, options: argparse.Namespace) -> str:
    figures = transactions.measure_all(servers, runs=options.pairs)
    report.write("transactions", figures, transactions.markdown(figures))
    return f"\n{transactions.markdown(figures)}"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=9, help="pairs of a row with the baseline (9)")
    parser.add_argument("--profile", choices=list(PROFILES), default="small", help="what the topic of --consume holds")
    parser.add_argument("--memory", action="store_true", help=f"also memory over {MEMORY_EVENTS:,} events")
    parser.set_defaults(parts=(_measure_consuming, _measure_producing))
    only = parser.add_mutually_exclusive_group()
    for option, part, help_text in (
        ("--consume", _measure_consuming, "only consuming"),
        ("--lanes", _measure_lanes, "only records in flight, batches, and a blocked handler"),
        ("--curves", _measure_curves, "only the cost by partitions, handlers, keys and size; draws pictures"),
        ("--workers", _measure_workers, "only two workers compared with one"),
        ("--rebalance", _measure_rebalances, "only a rolling restart with each group protocol; draws a picture"),
        ("--transactions", _measure_transactions, "only exactly once against at least once, with the same sends"),
        ("--viewers", _measure_watching, "only the cost of metrics and of the open dashboard"),
        ("--produce", _measure_producing, "only producing, and end-to-end latency"),
    ):
        only.add_argument(option, dest="parts", action="store_const", const=(part,), help=help_text)
    return parser.parse_args()


async def _prepare(servers: str, events: int) -> None:
    for topic in ("orders", "memory"):
        await create_topic(servers, topic)
    await fill(servers, "orders", events)


if __name__ == "__main__":
    main()
