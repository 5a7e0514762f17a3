"""The app. Run it on your own Kafka, and then run `python -m examples.flights.produce`:

BOOTSTRAP_SERVERS=localhost:9092 evkafka run examples.flights.app:app

The dashboard is http://127.0.0.1:8080/ui. A flight of an airline that is not registered becomes a dead letter.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from evkafka import EVKafkaApp, Handler, Request

from .board import Board, UnknownAirline
from .events import TOPIC, AirlineRegistered, FlightCancelled, FlightDelayed, FlightDeparted

SHOW_EVERY = 500

handler = Handler()


class State(TypedDict):
    """`request.state` of every endpoint."""

    board: Board


@asynccontextmanager
async def lifespan() -> AsyncIterator[State]:
    yield {"board": Board()}


@handler.event("FlightDeparted", summary="A flight left, at most 15 minutes late")
async def on_departed(flight: FlightDeparted, request: Request[State]) -> None:
    board = request.state["board"]
    board.departed(flight)
    show_progress(board)


@handler.event("FlightDelayed", summary="A flight left, more than 15 minutes late")
async def on_delayed(flight: FlightDelayed, request: Request[State]) -> None:
    board = request.state["board"]
    board.delayed(flight)
    show_progress(board)


@handler.event("FlightCancelled", summary="A flight was cancelled")
async def on_cancelled(flight: FlightCancelled, request: Request[State]) -> None:
    board = request.state["board"]
    board.cancelled(flight)
    show_progress(board)


@handler.event("AirlineRegistered", summary="A new airline")
async def on_registered(airline: AirlineRegistered, request: Request[State]) -> None:
    request.state["board"].registered(airline)


def show_progress(board: Board) -> None:
    if board.handled % SHOW_EVERY == 0:
        total = board.total()
        print(
            f"{total.flights:,} flights: {total.departed:,} departed in time, "
            f"{total.delayed:,} delayed, {total.cancelled:,} cancelled",
            flush=True,
        )


def make_app(bootstrap_servers: str, *, web_port: int = 8080, ui_token: str | None = None) -> EVKafkaApp:
    app = EVKafkaApp(title="Flights", lifespan=lifespan, web=True, web_port=web_port, ui_token=ui_token)
    app.add_consumer(
        {
            "topics": [TOPIC],
            "bootstrap_servers": bootstrap_servers,
            "group_id": "departures-board",
            "auto_offset_reset": "earliest",
            "on_error": {"non_retryable": [UnknownAirline], "then": "dead_letter"},
        },
        handler,
        name="board",
    )
    return app


app = make_app(os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092"))
