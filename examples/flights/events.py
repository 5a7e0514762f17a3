"""The events, read from the rows of the sample. Unknown values are None."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel

DATA = Path(__file__).parent.parent / "data"
TOPIC = "flights"
LATE_MIN = 15


class Flight(BaseModel):
    carrier: str
    number: int
    tail_number: str | None
    """The aircraft; None if the flight was cancelled before it had one."""
    origin: str
    destination: str
    scheduled_departure: AwareDatetime
    distance_miles: int


class FlightDeparted(Flight):
    """It left at most 15 minutes late. A negative delay means that it left early."""

    departure_delay_min: int
    arrival_delay_min: int | None
    """None if it was diverted."""
    air_time_min: int | None


class FlightDelayed(FlightDeparted):
    """It left more than 15 minutes late."""


class FlightCancelled(Flight):
    """It was cancelled: it has no departure and no arrival."""


class AirlineRegistered(BaseModel):
    """A new airline."""

    carrier: str
    name: str


def read_flights() -> Iterator[FlightDeparted | FlightDelayed | FlightCancelled]:
    """The flights of the sample, in the order of the timetable."""
    with gzip.open(DATA / "flights.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield as_event({name: None if value == "NA" else value for name, value in row.items()})


def as_event(row: dict[str, str | None]) -> FlightDeparted | FlightDelayed | FlightCancelled:
    """One row of the source as one event."""
    flight = {
        "carrier": row["carrier"],
        "number": row["flight"],
        "tail_number": row["tailnum"],
        "origin": row["origin"],
        "destination": row["dest"],
        "scheduled_departure": _scheduled(row),
        "distance_miles": row["distance"],
    }
    if row["dep_time"] is None:
        return FlightCancelled.model_validate(flight)
    flight |= {
        "departure_delay_min": row["dep_delay"],
        "arrival_delay_min": row["arr_delay"],
        "air_time_min": row["air_time"],
    }
    departed = FlightDeparted.model_validate(flight)
    return departed if departed.departure_delay_min <= LATE_MIN else FlightDelayed.model_validate(flight)


def airlines() -> dict[str, str]:
    """The airlines' names by their codes."""
    with (DATA / "airlines.csv").open(encoding="utf-8", newline="") as file:
        return {row["carrier"]: row["name"] for row in csv.DictReader(file)}


def _scheduled(row: dict[str, str | None]) -> datetime:
    return datetime.fromisoformat(str(row["time_hour"])) + timedelta(minutes=int(str(row["minute"])))
