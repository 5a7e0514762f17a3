"""A stop, and a revoke, end by their deadlines: a commit without an answer does not add to them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from evkafka.exceptions import CommitUnknown
from evkafka.ports import TopicPartition
from evkafka.runtime.clock import sleep
from evkafka.testing import InMemoryKafka
from evkafka.testing.memory.source import MemorySource
from tests.memory.apps import make_app


class Unanswered:
    """Commits get no answer while `on`; `begun` is the first of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kafka: InMemoryKafka) -> None:
        self.on, self.begun = True, asyncio.Event()
        answered = MemorySource.commit

        async def commit(
            source: MemorySource, offsets: Mapping[TopicPartition, int], *, timeout_s: float, **options: Any
        ) -> None:
            if not self.on:
                return await answered(source, offsets, timeout_s=timeout_s, **options)
            self.begun.set()
            await sleep(kafka.clock, timeout_s)
            raise CommitUnknown("no answer")

        monkeypatch.setattr(MemorySource, "commit", commit)


class TestACommitWithoutAnAnswer:
    async def test_does_not_hold_up_the_stop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app, seen = make_app(auto_commit_interval_ms=100)
        async with InMemoryKafka() as kafka:
            commits = Unanswered(monkeypatch, kafka)
            async with kafka.running(app):
                await kafka.send("orders", b"x", "E")
                await kafka.advance(ms=200)
                assert commits.begun.is_set()
                began_s = kafka.clock.now()
            assert kafka.clock.now() - began_s < 5
        assert seen == [(0, 0)]

    async def test_holds_up_a_revoke_only_for_one_commit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (one, _), (two, _) = make_app(auto_commit_interval_ms=100), make_app()
        async with InMemoryKafka(partitions=2) as kafka:
            commits = Unanswered(monkeypatch, kafka)
            async with kafka.running(one):
                await kafka.send("orders", b"x", "E")
                await kafka.advance(ms=200)
                assert commits.begun.is_set()
                began_s = kafka.clock.now()
                async with kafka.running(two):
                    assert kafka.clock.now() - began_s <= 10.5
                    commits.on = False

    async def test_of_records_handed_over_at_most_once_does_not_hold_up_the_stop(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app, seen = make_app(auto_commit_mode="pre-commit", auto_commit_interval_ms=0, drain_timeout_ms=1000)
        async with InMemoryKafka() as kafka:
            commits = Unanswered(monkeypatch, kafka)
            async with kafka.running(app):
                await kafka.send("orders", b"x", "E")
                await kafka.advance(ms=200)
                assert commits.begun.is_set()
                began_s = kafka.clock.now()
            assert kafka.clock.now() - began_s < 6
        assert seen == []
