"""Whether a broker is in its own metadata."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from evkafka.broker import KafkaBroker
from evkafka.broker.readiness import is_in_own_metadata
from tests.support.ports import closed_port

Answering = Callable[[bytes], int]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """A server that answers the first request with these bytes and closes the connection; returns its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def start(answer: bytes) -> int:
        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        port: int = listening.getsockname()[1]
        return port

    yield start
    for thread in threads:
        thread.join(10)
    listening.close()


class TestABroker:
    def test_that_is_ready_is_in_its_metadata(self, kafka_broker: KafkaBroker) -> None:
        assert is_in_own_metadata(kafka_broker.port) is True

    @pytest.mark.parametrize(("brokers", "ready"), [(0, False), (1, True)])
    def test_that_is_not_in_its_metadata_is_not_ready(self, answering: Answering, brokers: int, ready: bool) -> None:
        assert is_in_own_metadata(answering(struct.pack(">iiii", 12, 1, 0, brokers))) is ready

    def test_that_hangs_up_cannot_be_asked(self, answering: Answering) -> None:
        assert is_in_own_metadata(answering(b"\x15\x03")) is None  # as TLS does where plain text comes

    def test_that_does_not_run_cannot_be_asked(self) -> None:
        with closed_port() as port:
            assert is_in_own_metadata(port) is None
