"""The demo of the example sends, handles and commits every flight of the sample."""

from __future__ import annotations

import csv
import gzip
import re
import signal
import socket
import subprocess
import sys
import webbrowser
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from examples.flights import produce
from examples.flights.board import Board
from examples.flights.browser import open_in_browser
from examples.flights.events import FlightCancelled, FlightDelayed, FlightDeparted, airlines, read_flights

from evkafka.exceptions import BrokerUnavailable

ROOT = Path(__file__).parents[2]
DATA = ROOT / "examples" / "data" / "flights.csv.gz"


class TestSample:
    def test_has_every_kind_of_flight(self) -> None:
        assert Counter(type(flight) for flight in read_flights()) == {
            FlightDeparted: 3191,
            FlightDelayed: 1038,
            FlightCancelled: 976,
        }

    def test_has_none_for_unknown_values(self) -> None:
        flights = list(read_flights())

        assert sum(flight.tail_number is None for flight in flights) == 368
        assert sum(isinstance(flight, FlightDeparted) and flight.arrival_delay_min is None for flight in flights) == 17

    def test_calls_a_flight_delayed_after_fifteen_minutes(self) -> None:
        departed = [flight for flight in read_flights() if isinstance(flight, FlightDeparted)]

        assert all(isinstance(flight, FlightDelayed) == (flight.departure_delay_min > 15) for flight in departed)

    def test_is_in_the_order_of_the_timetable(self) -> None:
        scheduled = [flight.scheduled_departure for flight in read_flights()]

        assert scheduled == sorted(scheduled)

    def test_names_every_airline(self) -> None:
        assert {flight.carrier for flight in read_flights()} <= airlines().keys()


class TestWorstDelays:
    def test_have_each_flight_once_if_the_flights_are_sent_again(self) -> None:
        board = Board()
        delayed = [flight for flight in read_flights() if isinstance(flight, FlightDelayed)]
        for flight in delayed * 3:
            board.delayed(flight)
        worst = sorted({flight.departure_delay_min for flight in board.worst}, reverse=True)
        assert len({(flight.carrier, flight.number, flight.scheduled_departure) for flight in board.worst}) == 5
        assert worst[0] == max(flight.departure_delay_min for flight in delayed)


class TestBrowser:
    @pytest.fixture
    def opened(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The addresses that were opened; a terminal of a Linux desktop."""
        addresses: list[str] = []
        monkeypatch.setattr(webbrowser, "open", lambda url: addresses.append(url) or True)
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("DISPLAY", ":0")
        for name in ("CI", "SSH_CONNECTION", "WAYLAND_DISPLAY"):
            monkeypatch.delenv(name, raising=False)
        return addresses

    def test_is_opened_on_a_desktop(self, opened: list[str]) -> None:
        assert open_in_browser("http://127.0.0.1:8080/ui") is True
        assert opened == ["http://127.0.0.1:8080/ui"]

    @pytest.mark.parametrize(
        ("name", "value"), [("DISPLAY", ""), ("CI", "true"), ("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")]
    )
    def test_is_not_opened_without_a_display_in_ci_or_over_ssh(
        self, opened: list[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        assert open_in_browser("http://127.0.0.1:8080/ui") is False
        assert opened == []

    def test_is_not_opened_if_the_output_is_no_terminal(
        self, opened: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
        assert open_in_browser("http://127.0.0.1:8080/ui") is False


def test_sending_without_a_broker_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(*_: object, **__: object) -> int:
        raise BrokerUnavailable("no Kafka broker could be reached within 30 s")

    monkeypatch.setattr(produce, "produce", unavailable)
    monkeypatch.setattr(sys, "argv", ["produce"])
    with pytest.raises(SystemExit) as ended:
        produce.main()
    assert ended.value.code == "not sent: no Kafka broker could be reached within 30 s"


@pytest.mark.kafka
class TestDemo:
    @pytest.fixture
    def demo(self, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", *request.param, "--port", "0"]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            yield process
            process.kill()

    @pytest.mark.parametrize("demo", [["evkafka.cli", "demo", "--once", "--rate", "3000"]], indirect=True)
    def test_sends_handles_and_commits_every_flight_and_ends_with_0(self, demo: subprocess.Popen[str]) -> None:
        output, _ = demo.communicate()

        counts = _count_flights()
        assert (
            f"{counts['departed']:,} departed in time, {counts['delayed']:,} delayed, "
            f"{counts['cancelled']:,} cancelled."
        ) in output
        flights = f"{counts.total():,}"
        others = 3  # two flights of an unknown airline, and its registration
        assert f"{flights} flights sent, {flights} handled, {counts.total() + others:,} events committed" in output
        assert "2 flights of an unknown airline are dead letters, in flights.departures-board.dlq." in output
        assert "GoJet Airlines (G7) is registered now" in output
        assert re.search(r"Dashboard  http://127\.0\.0\.1:\d+/ui\n", output)
        assert demo.returncode == 0

    @pytest.mark.parametrize("demo", [["examples.flights.demo", "--rate", "500"]], indirect=True)
    def test_stops_kafka_too_when_it_is_interrupted(self, demo: subprocess.Popen[str]) -> None:
        assert demo.stdout is not None
        shown = _read_until(demo.stdout, "500 flights:")

        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate()

        assert output.rstrip().endswith("Stopped.")
        assert "Traceback" not in output
        assert demo.returncode == 130
        assert not _answers(shown)


def _count_flights() -> Counter[str]:
    """Count the flights of the data without the example's code."""
    counts: Counter[str] = Counter()
    with gzip.open(DATA, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["dep_time"] == "NA":
                counts["cancelled"] += 1
            else:
                counts["delayed" if int(row["dep_delay"]) > 15 else "departed"] += 1
    return counts


def _read_until(lines: Iterable[str], text: str) -> str:
    """Return the output up to the line that contains the text, or to the end."""
    shown = []
    for line in lines:
        shown.append(line)
        if text in line:
            break
    return "".join(shown)


def _answers(output: str) -> bool:
    """Return True if the demo's Kafka still accepts connections."""
    port = re.search(r"127\.0\.0\.1:(\d+)", output)
    assert port is not None
    with socket.socket() as client:
        client.settimeout(2.0)
        return client.connect_ex(("127.0.0.1", int(port[1]))) == 0
