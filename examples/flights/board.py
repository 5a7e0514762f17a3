"""What the app knows of the flights so far: a board, like the one in the hall."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from heapq import nlargest

from .events import AirlineRegistered, Flight, FlightCancelled, FlightDelayed, FlightDeparted, airlines

WORST = 5


class UnknownAirline(Exception):
    """A flight of an airline that nobody has registered: to try again would change nothing."""


@dataclass
class Carrier:
    """One airline's flights so far."""

    departed: int = 0
    delayed: int = 0
    cancelled: int = 0
    delay_min: int = 0

    @property
    def flights(self) -> int:
        return self.departed + self.delayed + self.cancelled


class Board:
    """Running statistics. The app's endpoints write it, on the app's loop."""

    def __init__(self) -> None:
        self.airlines = airlines()
        self.carriers: defaultdict[str, Carrier] = defaultdict(Carrier)
        self.worst: list[FlightDelayed] = []
        self.handled = 0
        self._counted = asyncio.Event()

    def registered(self, airline: AirlineRegistered) -> None:
        self.airlines[airline.carrier] = airline.name

    def departed(self, flight: FlightDeparted) -> None:
        self._carrier(flight).departed += 1
        self._count()

    def delayed(self, flight: FlightDelayed) -> None:
        carrier = self._carrier(flight)
        carrier.delayed += 1
        carrier.delay_min += flight.departure_delay_min
        self.worst = nlargest(WORST, [*self.worst, flight], key=lambda late: late.departure_delay_min)
        self._count()

    def cancelled(self, flight: FlightCancelled) -> None:
        self._carrier(flight).cancelled += 1
        self._count()

    def _carrier(self, flight: Flight) -> Carrier:
        if flight.carrier not in self.airlines:
            raise UnknownAirline(f"flight {flight.carrier} {flight.number}: no airline has the code {flight.carrier!r}")
        return self.carriers[flight.carrier]

    def total(self) -> Carrier:
        """All airlines together."""
        known = self.carriers.values()
        return Carrier(
            sum(carrier.departed for carrier in known),
            sum(carrier.delayed for carrier in known),
            sum(carrier.cancelled for carrier in known),
            sum(carrier.delay_min for carrier in known),
        )

    async def handles(self, flights: int) -> None:
        """Wait until so many flights have been handled."""
        while self.handled < flights:
            self._counted.clear()
            await self._counted.wait()

    def _count(self) -> None:
        self.handled += 1
        self._counted.set()
