"""Retry topics on a real Kafka: times of retries, restarts, kills and replays."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from evkafka import EVKafkaApp, Handler, Request
from tests.support.backends import RealBackend, committed_is
from tests.support.kafka_topics import read_committed
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka


class Failing:
    """An app whose records fail while `fixed` is False, and the times of their attempts by number."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.fixed = False
        self.attempts: dict[int, list[tuple[int, float]]] = {}
        self.seen: list[Request] = []
        handler, self.app = Handler(), EVKafkaApp()

        @handler.event("E")
        async def on_event(event: dict[str, Any], request: Request) -> None:
            self.attempts.setdefault(event["n"], []).append((request.attempt, time.time()))
            self.seen.append(request)
            if not self.fixed:
                raise ConnectionError(f"number {event['n']}")

        self.app.add_consumer(config, handler, "c")  # type: ignore[arg-type]


def policy(*delays_ms: int, attempts: int = 1, then: str = "dead_letter") -> dict[str, Any]:
    return {
        "on_error": {
            "max_attempts": attempts,
            "backoff_ms": 10,
            "retry_topics": list(delays_ms),
            "then": then,
            "dead_letter_limit": None,
        }
    }


class TestRecordsThatFail:
    async def test_are_retried_when_they_are_due_and_end_byte_for_byte(self, kafka: RealBackend) -> None:
        topic = await kafka.topic(3)
        config = kafka.config(topic, **policy(400, 900))
        for number in range(6):
            await kafka.send(
                topic,
                {"n": number},
                key=b"\xffk%d" % number,
                partition=number % 3,
                headers=[("own", b"\x00"), ("n", None)],
            )
        failing = Failing(config)
        group, dead = config["group_id"], f"{topic}.{config['group_id']}.dlq"
        retries = {**config, "group_id": f"{group}.retry"}
        async with kafka.running(failing.app):
            for partition in range(3):
                await committed_is(kafka, config, topic, 2, partition)
                await committed_is(kafka, retries, f"{topic}.{group}.retry.900", 2, partition)
        for attempts in failing.attempts.values():
            assert [number for number, _ in attempts] == [1, 2, 3]
            times = [at for _, at in attempts]
            assert times[1] - times[0] >= 0.399
            assert times[2] - times[1] >= 0.899
        dead_letters = [record for p in range(3) for record in await read_committed(kafka.servers, dead, p)]
        source = {record.key: record for p in range(3) for record in await read_committed(kafka.servers, topic, p)}
        assert len(dead_letters) == 6
        for dead_letter in dead_letters:
            first = source[dead_letter.key]
            assert (dead_letter.partition, dead_letter.value) == (first.partition, first.value)
            assert dead_letter.headers[: len(first.headers)] == first.headers
            headers = dict(dead_letter.headers[len(first.headers) :])
            # The id also names the cluster and the topic's id.
            id_ = rf"{group}/[^/]+/{topic}:[^/]+/{first.partition}/{first.offset}"
            assert re.fullmatch(id_, headers["evkafka-dlq-id"].decode())
            assert headers["evkafka-dlq-attempts"] == b"3"
        assert {(one.topic, one.raw_headers[1:]) for one in failing.seen} == {(topic, (("own", b"\x00"), ("n", None)))}

    async def test_are_due_at_the_same_time_after_a_restart(self, kafka: RealBackend) -> None:
        topic = await kafka.topic()
        config = kafka.config(topic, **policy(3_000))
        await kafka.send(topic, {"n": 1})
        first, second = Failing(config), Failing(config)
        async with kafka.running(first.app):
            await committed_is(kafka, config, topic, 1)
        second.fixed = True
        async with kafka.running(second.app):
            await eventually(lambda: second.attempts)
        [(_, failed_at)], [(attempt, at)] = first.attempts[1], second.attempts[1]
        assert attempt == 2
        assert at - failed_at >= 2.999

    async def test_do_not_affect_the_membership_while_they_wait(self, kafka: RealBackend) -> None:
        """They wait for longer than the session timeout of two seconds."""
        topic = await kafka.topic()
        config = kafka.config(topic, **policy(4_000), session_timeout_ms=2_000, heartbeat_interval_ms=300)
        failing = Failing(config)
        await kafka.send(topic, {"n": 1})
        async with kafka.running(failing.app):
            await eventually(lambda: len(failing.attempts.get(1, ())) == 2)
            consumers = failing.app.status().consumers
        assert [(one.name, one.membership, one.rebuilds) for one in consumers] == [
            ("c", "steady", 0),
            ("c.retry", "steady", 0),
        ]

    async def test_are_finished_in_the_retry_topic_in_which_they_succeed(self, kafka: RealBackend) -> None:
        topic = await kafka.topic()
        config = kafka.config(topic, **policy(500, 60_000))
        failing = Failing(config)
        await kafka.send(topic, {"n": 1})
        group = config["group_id"]
        async with kafka.running(failing.app):
            await committed_is(kafka, config, topic, 1)
            failing.fixed = True
            await committed_is(kafka, {"group_id": f"{group}.retry"}, f"{topic}.{group}.retry.500", 1)
        assert [number for number, _ in failing.attempts[1]] == [1, 2]
        assert await kafka.values(f"{topic}.{group}.retry.60000") == []


class TestTheTopics:
    async def test_are_created_at_the_start_with_as_many_partitions(self, kafka: RealBackend) -> None:
        topic = await kafka.topic(4)
        config = kafka.config(topic, **policy(1_000, 2_000))
        async with kafka.running(Failing(config).app):
            admin = await kafka._admin()
            names = [f"{topic}.{config['group_id']}.retry.{delay}" for delay in (1_000, 2_000)]
            described = await admin.describe_topics(names)
        assert {one["topic"]: len(one["partitions"]) for one in described} == dict.fromkeys(names, 4)


DELAYS_MS = (700, 1_500)

SHOP = """
import json, os, time
from evkafka import EVKafkaApp, Handler, Request

handler = Handler()

@handler.event("E")
async def on_event(event: dict, request: Request) -> None:
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(f"{event['n']} {request.attempt} {request.topic} {time.time()}\\n")
    if os.environ.get("BROKEN"):
        raise ConnectionError(event["n"])

app = EVKafkaApp()
app.add_consumer(json.loads(os.environ["CONFIG"]), handler)
"""


async def first_written_ms(kafka: RealBackend, topic: str) -> dict[int, int]:
    """When each record was first written to this topic, by its number."""
    written = [one for partition in range(2) for one in await read_committed(kafka.servers, topic, partition)]
    return {json.loads(one.value)["n"]: one.timestamp for one in sorted(written, key=lambda one: -one.timestamp)}


class TestKilledAndReplayed:
    @pytest.mark.long
    async def test_nothing_is_lost_or_retried_too_early_and_a_replay_empties_the_dead_letters(
        self, kafka: RealBackend, tmp_path: Path
    ) -> None:
        """Killed while records wait in each of the retry topics."""
        topic = await kafka.topic(2)
        keys = policy(*DELAYS_MS)
        config = kafka.config(topic, **keys, session_timeout_ms=1_000, heartbeat_interval_ms=300)
        group, records = config["group_id"], 400
        dead, journal = f"{topic}.{group}.dlq", tmp_path / "journal"
        (tmp_path / "shop.py").write_text(SHOP)

        def start(*command: str, **environment: str) -> subprocess.Popen[str]:
            variables = {**os.environ, "CONFIG": json.dumps(config), "JOURNAL": str(journal), **environment}
            return subprocess.Popen(
                [sys.executable, "-m", "evkafka.cli", *command],
                cwd=tmp_path,
                env=variables,
                text=True,
                stdout=subprocess.PIPE,
            )

        def attempts() -> list[list[str]]:
            return [line.split() for line in journal.read_text().splitlines()] if journal.exists() else []

        async with AIOKafkaProducer(bootstrap_servers=kafka.servers) as producer:
            for number in range(records):
                value = json.dumps({"n": number}).encode()
                await producer.send(topic, value, partition=number % 2, headers=[("Event-Type", b"E")])
        for most in (100, 500, 900):
            shop = start("run", "shop:app", BROKEN="1")
            await eventually(lambda most=most: len(attempts()) >= most)  # type: ignore[misc]
            shop.kill()
            shop.communicate()

        shop = start("run", "shop:app", BROKEN="1")

        async def all_dead() -> bool:
            dead_letters = [one for p in range(2) for one in await read_committed(kafka.servers, dead, p)]
            return {json.loads(one.value)["n"] for one in dead_letters} == set(range(records))

        await eventually(all_dead)
        shop.terminate()
        shop.communicate()

        # A kill counts as an attempt of each record in flight: the numbers of attempts may rise by more than one.
        retry_topics = [f"{topic}.{group}.retry.{delay_ms}" for delay_ms in DELAYS_MS]
        written_ms = [await first_written_ms(kafka, where) for where in (*retry_topics, dead)]
        for number in range(records):
            waited_ms = [after[number] - before[number] for before, after in pairwise(written_ms)]
            assert all(waited >= delay for waited, delay in zip(waited_ms, DELAYS_MS, strict=True))
        assert {line[0] for line in attempts() if line[1] == "1"} == {str(number) for number in range(records)}

        journal.unlink()
        replay = start("dlq", "replay", dead, "--app", "shop:app", "--to-handler", "--json")
        out, _ = replay.communicate(timeout=240)
        assert json.loads(out)["failed"] == []
        assert {(line[0], line[2]) for line in attempts()} == {(str(number), topic) for number in range(records)}
