"""`make demo`, `evkafka demo`: a real Kafka, the app with its dashboard, and a week of flights, in one process.

Some flights are of an airline that is not registered: they become dead letters. Later the airline is registered, as if
somebody had fixed the cause, and from then on they can be replayed. Everything is deleted at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import signal
import socket
import sys
import time
from collections.abc import Sequence
from itertools import cycle

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.console import Console
from rich.live import Live

from evkafka import EVKafkaApp
from evkafka.broker import KafkaBroker
from evkafka.exceptions import EVKafkaError

from .app import make_app
from .board import Board
from .browser import open_in_browser
from .events import TOPIC, AirlineRegistered, Flight, read_flights
from .produce import FLIGHTS_PER_S, produce
from .table import LiveTable

PARTITIONS = 4
REDRAW_S = 0.25
WEB_PORT = 8080

GROUP = "departures-board"
DEAD_LETTERS = f"{TOPIC}.{GROUP}.dlq"

STRANGERS = (
    AirlineRegistered(carrier="G7", name="GoJet Airlines"),
    AirlineRegistered(carrier="C5", name="CommutAir"),
    AirlineRegistered(carrier="QX", name="Horizon Air"),
    AirlineRegistered(carrier="ZW", name="Air Wisconsin"),
    AirlineRegistered(carrier="PT", name="Piedmont Airlines"),
    AirlineRegistered(carrier="CP", name="Compass Airlines"),
)
"""Airlines that are not registered, one for each time that the flights are sent."""

STRANGE_AT = (500, 1500)
"""Before these flights, one of the unregistered airline is sent."""
REGISTERED_AT = 3000
"""Before this flight, the airline is registered."""

console = Console()


def main() -> None:
    asked = _arguments()
    run_demo(asked.rate, port=asked.port, keep_running=asked.keep_running)


def run_demo(flights_per_s: float = FLIGHTS_PER_S, *, port: int | None = None, keep_running: bool) -> None:
    """Run the demo. Returns when all flights are handled, unless it keeps running.

    Args:
        port: of the dashboard; None for 8080, or a free one if 8080 is taken.

    Raises:
        SystemExit: it was interrupted, or failed.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
    # A new group on a new Kafka logs warnings that mean nothing here.
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        asyncio.run(demo(flights_per_s, port=port, keep_running=keep_running))
    except KeyboardInterrupt:
        console.print("Stopped.")
        sys.exit(0 if keep_running else 130)
    except EVKafkaError as error:
        sys.exit(f"evkafka: {error}")


async def demo(flights_per_s: float, *, port: int | None, keep_running: bool) -> None:
    began_s = time.monotonic()
    console.print("Starting Apache Kafka")
    async with KafkaBroker() as broker:
        servers = broker.bootstrap_servers
        console.print(f"Apache Kafka is ready at {servers}, after {time.monotonic() - began_s:.1f} s")
        await create_topic(servers)
        token = secrets.token_urlsafe(6)
        app = make_app(servers, web_port=_free(WEB_PORT) if port is None else port, ui_token=token)
        task = asyncio.current_task()
        assert task is not None
        async with app.running(on_failure=lambda error: task.cancel()) as state:
            board = state["board"]
            await show_where(app, token, keep_running=keep_running)
            sent = await produce_and_show(servers, board, flights_per_s, keep_running=keep_running)
        summarize(board, sent, await committed(servers), time.monotonic() - began_s)


async def show_where(app: EVKafkaApp, token: str, *, keep_running: bool) -> None:
    """Open the dashboard, and print its address and what to try."""
    url = f"{app.web_url}ui"
    opened = await asyncio.to_thread(open_in_browser, url)
    console.print(f"\n  Dashboard  [bold]{url}[/bold]{' (opened in your browser)' if opened else ''}", highlight=False)
    console.print(f"  Token      [bold]{token}[/bold]\n", highlight=False)
    console.print("  Some flights are of an airline that is not registered: they become dead letters.")
    console.print("  The demo registers the airline after a while and says so here. Then replay them on the dashboard,")
    console.print("  under Dead letters, with the token.\n")
    if keep_running:
        console.print("  The flights are sent in a loop. Ctrl-C stops it.\n")


async def create_topic(servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    finally:
        await admin.close()


async def produce_and_show(servers: str, board: Board, flights_per_s: float, *, keep_running: bool) -> int:
    """Send the flights while the table is redrawn. Returns how many were sent, when all are handled."""
    flights = list(read_flights())
    table, sent = LiveTable(board, len(flights)), 0
    with Live(table.render(), console=console, auto_refresh=False) as live:

        async def redraw() -> None:
            while True:
                show_new_airlines(board)
                live.update(table.render(), refresh=True)
                await asyncio.sleep(REDRAW_S)

        async def send(stranger: AirlineRegistered) -> int:
            return await produce(
                servers, flights_per_s=flights_per_s, sent=table.sent, between=_between(flights, stranger)
            )

        drawing = asyncio.ensure_future(redraw())
        try:
            sent = await send(STRANGERS[0])
            await board.handles(sent)
            for stranger in cycle(STRANGERS[1:]) if keep_running else ():
                table.more(len(flights))
                sent += await send(stranger)
                await board.handles(sent)
        finally:
            drawing.cancel()
            live.update(table.render(), refresh=True)
    return sent


def show_new_airlines(board: Board) -> None:
    """Say above the table which airlines were registered."""
    while board.new_airlines:
        airline = board.new_airlines.pop(0)
        console.print(f"{airline.name} ({airline.carrier}) is registered now: replay its flights, under Dead letters.")


def _between(flights: Sequence[Flight], stranger: AirlineRegistered) -> dict[int, Flight | AirlineRegistered]:
    strange = {at: flights[at].model_copy(update={"carrier": stranger.carrier}) for at in STRANGE_AT}
    return {**strange, REGISTERED_AT: stranger}


def _free(port: int) -> int:
    """This port, or 0 for a free one if it is taken."""
    with socket.socket() as probe:
        return port if probe.connect_ex(("127.0.0.1", port)) else 0


async def committed(servers: str) -> int:
    """The number of records that the app's group has committed, in all partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(GROUP)
    finally:
        await admin.close()
    return sum(offset.offset for offset in offsets.values())


def summarize(board: Board, sent: int, committed: int, took_s: float) -> None:
    total = board.total()
    console.print(f"\n{total.departed:,} departed in time, {total.delayed:,} delayed, {total.cancelled:,} cancelled.")
    console.print(
        f"{sent:,} flights sent, {board.handled:,} handled, {committed:,} events committed, in {took_s:.0f} s."
    )
    console.print(
        f"{len(STRANGE_AT)} flights of an unknown airline are dead letters, in {DEAD_LETTERS}.", soft_wrap=True
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.flights.demo", description=__doc__)
    parser.add_argument("--rate", type=float, default=FLIGHTS_PER_S, help="flights per second (400)")
    parser.add_argument("--port", type=int, help="the dashboard's port (8080, or a free one if it is taken)")
    parser.add_argument(
        "--keep-running",
        action=argparse.BooleanOptionalAction,
        default=sys.stdout.isatty(),
        help="send the flights in a loop until Ctrl-C (on a terminal), or once (elsewhere)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
