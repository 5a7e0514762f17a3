"""What tests need is built before the first of them, once, and said; what fails is left to the tests themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.needed import Need, build


def item(*fixtures: str, marks: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(fixturenames=fixtures, iter_markers=lambda: [SimpleNamespace(name=mark) for mark in marks])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


class Thing:
    """Something that is there once it was made; `made` counts how often that was."""

    def __init__(self, make: Callable[[], object] = lambda: None) -> None:
        self.made = 0
        self._make = make

    def need(self) -> Need:
        return Need("making the thing", frozenset({"thing", "marked"}), lambda: self.made > 0, self._count)

    def _count(self) -> None:
        self._make()
        self.made += 1


@pytest.mark.parametrize("one", [item("topic", "thing"), item(marks=("marked",))], ids=["fixture", "mark"])
def test_what_a_test_asks_for_is_made_and_said(one: Any) -> None:
    thing, said = Thing(), list[str]()
    build([item(), one], said.append, [thing.need()])
    assert thing.made == 1
    assert said[0] == "Once on this machine: making the thing ..."
    assert said[1].startswith("... done in ")


def test_what_is_there_or_no_test_asks_for_is_not_made() -> None:
    there, unwanted, said = Thing(), Thing(), list[str]()
    there.made = 1
    build([item("thing")], said.append, [there.need()])
    build([item("topic", marks=("kafka",))], said.append, [unwanted.need()])
    assert (there.made, unwanted.made, said) == (1, 0, [])


def test_one_of_several_processes_makes_it_while_the_others_wait() -> None:
    both, go_on = threading.Event(), threading.Event()
    thing, said = Thing(lambda: go_on.wait(60)), list[str]()

    def ask() -> None:
        if said:
            both.set()
        build([item("thing")], said.append, [thing.need()])

    first = threading.Thread(target=ask)
    first.start()
    while not said:
        first.join(0.01)
    second = threading.Thread(target=ask)
    second.start()
    assert both.wait(60)
    go_on.set()
    for thread in (first, second):
        thread.join(60)
    assert thing.made == 1


def test_a_failure_is_said_and_left_to_the_tests_that_need_the_thing() -> None:
    def fail() -> None:
        raise OSError("no network")

    said: list[str] = []
    build([item("thing")], said.append, [Thing(fail).need()])
    assert said[1].startswith("... failed after ")
    assert said[1].endswith(" s: no network")
