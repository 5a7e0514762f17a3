"""What a process reports to its supervisor."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from evkafka.cli.impl.lifeline import SIGNALS_READY, STOP_LIMIT_S, WEB_PORT, ReportReceiver, ReportSender

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class TestReports:
    def test_arrive_with_their_names_in_any_order(self, ends: Ends) -> None:
        receiver, sender = ReportReceiver(ends[0]), ReportSender(ends[1])
        assert receiver.receive_newest_reports() == {}
        sender.send(WEB_PORT, (8080, 8081))
        sender.send(SIGNALS_READY)
        assert receiver.receive_newest_reports() == {WEB_PORT: [8080, 8081], SIGNALS_READY: True}

    def test_a_later_one_replaces_an_earlier_one_of_its_name(self, ends: Ends) -> None:
        receiver, sender = ReportReceiver(ends[0]), ReportSender(ends[1])
        sender.send(STOP_LIMIT_S, 35.0)
        assert receiver.receive_newest_reports() == {STOP_LIMIT_S: 35.0}
        sender.send(STOP_LIMIT_S, 12.5)
        assert receiver.receive_newest_reports() == {STOP_LIMIT_S: 12.5}

    def test_half_a_line_does_not_count_yet(self, ends: Ends) -> None:
        receiver = ReportReceiver(ends[0])
        ends[1].sendall(b'{"signals_ready": true}\n{"stop_li')
        assert receiver.receive_newest_reports() == {SIGNALS_READY: True}
        ends[1].sendall(b'mit_s": 3.0}\n')
        assert receiver.receive_newest_reports() == {SIGNALS_READY: True, STOP_LIMIT_S: 3.0}

    def test_stay_known_after_the_end_of_the_process(self, ends: Ends) -> None:
        receiver = ReportReceiver(ends[0])
        ReportSender(ends[1]).send(STOP_LIMIT_S, 3.0)
        ends[1].close()
        receiver.close()
        assert receiver.receive_newest_reports() == {STOP_LIMIT_S: 3.0}

    def test_without_a_supervisor_are_not_sent(self, ends: Ends) -> None:
        sender = ReportSender(ends[1])
        ends[0].close()
        sender.send(STOP_LIMIT_S, 3.0)
        sender.wait_for_end()
