"""What tests need is built once, before the first test, with a message; after a failure the tests try themselves."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.prerequisites import Prerequisite, build


def item(*fixtures: str, marks: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(fixturenames=fixtures, iter_markers=lambda: [SimpleNamespace(name=mark) for mark in marks])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


class Thing:
    """Something to build; `built` counts the builds."""

    def __init__(self, build_it: Callable[[], object] = lambda: None) -> None:
        self.built = 0
        self._build = build_it

    def prerequisite(self, name: str = "thing") -> Prerequisite:
        return Prerequisite(
            f"building the {name}", frozenset({name, "marked"}), lambda: self.built > 0, self._count_build
        )

    def _count_build(self) -> None:
        self._build()
        self.built += 1


@pytest.mark.parametrize("one", [item("topic", "thing"), item(marks=("marked",))], ids=["fixture", "mark"])
def test_what_a_test_needs_is_built_with_a_message(one: Any) -> None:
    thing, messages = Thing(), list[str]()
    build([item(), one], messages.append, [thing.prerequisite()])
    assert thing.built == 1
    assert messages[0] == "Once on this machine: building the thing ..."
    assert re.fullmatch(r"\.\.\. building the thing: done in \d+ s", messages[1])


def test_what_exists_or_no_test_needs_is_not_built() -> None:
    existing, unwanted, messages = Thing(), Thing(), list[str]()
    existing.built = 1
    build([item("thing")], messages.append, [existing.prerequisite()])
    build([item("topic", marks=("kafka",))], messages.append, [unwanted.prerequisite()])
    assert (existing.built, unwanted.built, messages) == (1, 0, [])


def test_different_things_are_built_at_the_same_time() -> None:
    both = threading.Barrier(2)
    one, other = Thing(lambda: both.wait(60)), Thing(lambda: both.wait(60))
    build([item(marks=("marked",))], lambda _: None, [one.prerequisite("one"), other.prerequisite("other")])
    assert (one.built, other.built) == (1, 1)


def test_one_of_several_processes_builds_it_while_the_others_wait() -> None:
    both, go_on = threading.Event(), threading.Event()
    thing, messages = Thing(lambda: go_on.wait(60)), list[str]()

    def ask() -> None:
        if messages:
            both.set()
        build([item("thing")], messages.append, [thing.prerequisite()])

    first = threading.Thread(target=ask)
    first.start()
    while not messages:
        first.join(0.01)
    second = threading.Thread(target=ask)
    second.start()
    assert both.wait(60)
    go_on.set()
    for thread in (first, second):
        thread.join(60)
    assert thing.built == 1


def test_a_failure_is_reported_and_does_not_raise() -> None:
    def fail() -> None:
        raise OSError("no network")

    messages: list[str] = []
    build([item("thing")], messages.append, [Thing(fail).prerequisite()])
    assert re.fullmatch(r"\.\.\. building the thing: failed after \d+ s: no network", messages[1])
