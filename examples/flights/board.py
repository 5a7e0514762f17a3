"""The app's state: statistics of the flights so far."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from heapq import nlargest

from .events import AirlineRegistered, Flight, FlightCancelled, FlightDelayed, FlightDeparted, airlines

WORST = 5


class UnknownAirline(Exception):
    """The airline of a flight is not registered. A retry would fail too."""


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
        self.new_airlines: list[AirlineRegistered] = []
        self.handled = 0
        self._counted = asyncio.Event()

    def registered(self, airline: AirlineRegistered) -> None:
        self.airlines[airline.carrier] = airline.name
        self.new_airlines.append(airline)

    def departed(self, flight: FlightDeparted) -> None:
        self._carrier(flight).departed += 1
        self._count()

    def delayed(self, flight: FlightDelayed) -> None:
        carrier = self._carrier(flight)
        carrier.delayed += 1
        carrier.delay_min += flight.departure_delay_min
        if flight not in self.worst:  # the demo sends each flight again and again
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
