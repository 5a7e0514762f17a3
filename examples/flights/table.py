"""The board as a table for the terminal."""

from __future__ import annotations

from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from .board import Board
from .events import FlightDelayed

SHOWN = 8


class LiveTable:
    """Progress, the busiest airlines and the worst delays."""

    def __init__(self, board: Board, flights: int) -> None:
        self._board = board
        self._flights = flights
        self._sent_before = 0
        self._progress = Progress(TextColumn("{task.description:8}"), BarColumn(40), MofNCompleteColumn())
        self._sent = self._progress.add_task("sent", total=flights)
        self._handled = self._progress.add_task("handled", total=flights)

    def sent(self, flights: int) -> None:
        """Show how many flights have been sent this time."""
        self._progress.update(self._sent, completed=self._sent_before + flights)

    def more(self, flights: int) -> None:
        """So many flights more will be sent."""
        self._sent_before = self._flights
        self._flights += flights
        for task in (self._sent, self._handled):
            self._progress.update(task, total=self._flights)

    def render(self) -> Group:
        self._progress.update(self._handled, completed=self._board.handled)
        return Group(self._progress, self._carriers(), self._worst())

    def _carriers(self) -> Table:
        table = Table(title="Airlines", title_justify="left", box=None, padding=(0, 2, 0, 0))
        table.add_column("", min_width=28)
        for heading in ("flights", "in time", "delayed", "cancelled", "mean delay"):
            table.add_column(heading, justify="right")
        busiest = sorted(self._board.carriers.items(), key=lambda item: item[1].flights, reverse=True)
        for code, carrier in busiest[:SHOWN]:
            mean = f"{carrier.delay_min / carrier.delayed:.0f} min" if carrier.delayed else ""
            counts = (carrier.flights, carrier.departed, carrier.delayed, carrier.cancelled)
            table.add_row(self._board.airlines[code], *(f"{count:,}" for count in counts), mean)
        return table

    def _worst(self) -> Table:
        table = Table(title="Worst delays", title_justify="left", box=None, padding=(0, 2, 0, 0), show_header=False)
        for flight in self._board.worst:
            table.add_row(*_shown(flight))
        return table


def _shown(flight: FlightDelayed) -> tuple[str, ...]:
    hours, minutes = divmod(flight.departure_delay_min, 60)
    return (
        f"{flight.carrier} {flight.number}",
        f"{flight.origin} to {flight.destination}",
        f"{flight.scheduled_departure:%d %b}",
        f"{hours} h {minutes:02} min",
    )
