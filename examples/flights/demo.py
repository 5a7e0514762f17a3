"""`make demo`: a real Kafka, the app, and a week of flights, in one process that cleans up after itself."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.console import Console
from rich.live import Live

from evkafka.broker import KafkaBroker
from evkafka.exceptions import EVKafkaError

from .app import make_app
from .board import Board
from .events import TOPIC, read_flights
from .produce import FLIGHTS_PER_S, produce
from .table import LiveTable

PARTITIONS = 4
REDRAW_S = 0.25

console = Console()


def main() -> None:
    asked = _arguments()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
    # A group that starts for the first time, on a Kafka that does, is told so by log lines that need no answer.
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        asyncio.run(demo(asked.rate, keep_running=asked.keep_running))
    except KeyboardInterrupt:
        console.print("Stopped.")
        sys.exit(0 if asked.keep_running else 130)
    except EVKafkaError as error:
        sys.exit(f"evkafka: {error}")


async def demo(flights_per_s: float, *, keep_running: bool) -> None:
    began_s = time.monotonic()
    console.print("Starting Apache Kafka")
    async with KafkaBroker() as broker:
        servers = broker.bootstrap_servers
        console.print(f"Apache Kafka is ready at {servers}, after {time.monotonic() - began_s:.1f} s")
        await create_topic(servers)
        app = make_app(servers)
        task = asyncio.current_task()
        assert task is not None
        async with app.running(on_failure=lambda error: task.cancel()) as state:
            board = state["board"]
            sent = await produce_and_show(servers, board, flights_per_s)
            if keep_running:
                console.print(f"Kafka and the app go on at {servers}. Ctrl-C stops them.")
                await asyncio.Event().wait()
        summarize(board, sent, await committed(servers), time.monotonic() - began_s)


async def create_topic(servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    finally:
        await admin.close()


async def produce_and_show(servers: str, board: Board, flights_per_s: float) -> int:
    """Send the flights, with the table redrawn meanwhile; returns how many were sent, once all are handled."""
    table = LiveTable(board, sum(1 for _ in read_flights()))
    with Live(table.render(), console=console, auto_refresh=False) as live:

        async def redraw() -> None:
            while True:
                live.update(table.render(), refresh=True)
                await asyncio.sleep(REDRAW_S)

        drawing = asyncio.ensure_future(redraw())
        try:
            sent = await produce(servers, flights_per_s=flights_per_s, sent=table.sent)
            await board.handles(sent)
        finally:
            drawing.cancel()
            live.update(table.render(), refresh=True)
    return sent


async def committed(servers: str) -> int:
    """How far the app's group has committed, all partitions together."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets("departures-board")
    finally:
        await admin.close()
    return sum(offset.offset for offset in offsets.values())


def summarize(board: Board, sent: int, committed: int, took_s: float) -> None:
    total = board.total()
    console.print(f"\n{total.departed:,} departed in time, {total.delayed:,} delayed, {total.cancelled:,} cancelled.")
    console.print(f"{sent:,} flights sent, {board.handled:,} handled, {committed:,} committed, in {took_s:.0f} s.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.flights.demo", description=__doc__)
    parser.add_argument("--rate", type=float, default=FLIGHTS_PER_S, help="flights per second (400)")
    parser.add_argument("--keep-running", action="store_true", help="leave Kafka and the app on until Ctrl-C")
    return parser.parse_args()


if __name__ == "__main__":
    main()
