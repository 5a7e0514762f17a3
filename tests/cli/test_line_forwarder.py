"""The output of several processes is copied a whole line at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from evkafka.cli.impl.line_forwarder import LineForwarder


@pytest.fixture
def forwarder() -> Iterator[LineForwarder]:
    forwarder = LineForwarder()
    yield forwarder
    forwarder.wait_for_last_lines()


def read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def test_long_lines_of_two_processes_do_not_mix(forwarder: LineForwarder) -> None:
    reading, target = os.pipe()
    lines = {letter: letter * 100_000 + b"\n" for letter in (b"a", b"b")}

    def print_lines(letter: bytes, pipe: int) -> None:
        for _ in range(20):
            half = len(lines[letter]) // 2
            os.write(pipe, lines[letter][:half])
            os.write(pipe, lines[letter][half:])
        os.close(pipe)

    threads = [threading.Thread(target=print_lines, args=(letter, forwarder.create_pipe(target))) for letter in lines]
    for thread in threads:
        thread.start()
    with os.fdopen(reading, "rb") as out:
        printed = [out.readline() for _ in range(40)]
    assert sorted(printed) == sorted([*lines.values()] * 20)
    os.close(target)


def test_a_last_line_without_an_end_gets_one(forwarder: LineForwarder) -> None:
    reading, target = os.pipe()
    for text in (b"whole\nhalf", b"other\n"):
        pipe = forwarder.create_pipe(target)
        os.write(pipe, text)
        os.close(pipe)
    forwarder.wait_for_last_lines()
    os.close(target)
    assert sorted(read_all(reading).splitlines()) == [b"half", b"other", b"whole"]


def test_a_reader_that_is_gone_does_not_hold_up_the_processes(forwarder: LineForwarder) -> None:
    reading, target = os.pipe()
    os.close(reading)
    pipe = forwarder.create_pipe(target)
    for _ in range(100):
        os.write(pipe, b"x" * 9_999 + b"\n")
    os.close(pipe)
    forwarder.wait_for_last_lines()
    os.close(target)


def test_a_reader_that_stands_still_does_not_hold_up_the_end() -> None:
    forwarder = LineForwarder()
    reading, target = os.pipe()
    pipe = forwarder.create_pipe(target)
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 999 + b"\n")
    os.close(pipe)
    forwarder.wait_for_last_lines()  # returns
    os.set_blocking(target, False)
    os.close(reading)
