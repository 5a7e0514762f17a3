"""From failing records to their replay, on a real Kafka. Commands run in their own processes, and some are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from evkafka import EVKafkaApp, Handler
from tests.cli.support import Call, evkafka
from tests.support.backends import RealBackend, committed_is
from tests.support.kafka_topics import read_committed
from tests.support.waiting import eventually

SHOP = """
import json, os
from contextlib import asynccontextmanager
from evkafka import EVKafkaApp, Handler, Request

handler = Handler()

@asynccontextmanager
async def lifespan():
    with open(os.environ["JOURNAL"], "a", buffering=1) as journal:
        yield {"journal": journal}

@handler.event("E")
async def on_event(event: dict, request: Request) -> None:
    if event["n"] in json.loads(os.environ.get("STILL_BROKEN", "[]")):
        raise ValueError(f"still broken: {event['n']}")
    request.state.journal.write(f"{event['n']} {request.topic} {request.offset}\\n")

app = EVKafkaApp(lifespan=lifespan)
app.add_consumer(json.loads(os.environ["CONFIG"]), handler)
"""

RECORDS = 10_000
PARTITIONS = 4


class Shop:
    """A topic, and an app that reads it, written to a file for the command line."""

    def __init__(self, home: Path, kafka: RealBackend, topic: str) -> None:
        self.home, self.kafka, self.topic = home, kafka, topic
        self.config = kafka.config(topic)
        self.limit(None)
        self.dead = f"{topic}.{self.config['group_id']}.dlq"
        self.journal = home / "journal"
        (home / "shop.py").write_text(SHOP)

    def at(self, partition: int, *, dead: bool = False) -> tuple[str, str, int]:
        return self.kafka.servers, self.dead if dead else self.topic, partition

    async def fill(self, records: int) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka.servers, linger_ms=5)
        async with producer:
            sent = [
                await producer.send(
                    self.topic,
                    json.dumps({"n": number}).encode(),
                    key=b"%d" % number,
                    partition=number % PARTITIONS,
                    headers=[("Event-Type", b"E"), ("n", b"%d" % number)],
                )
                for number in range(records)
            ]
            for one in sent:
                await one

    async def run(self, records: int, *, poison: set[int]) -> None:
        """Run the app before the fix, until all records are committed."""
        handler, app = Handler(), EVKafkaApp()

        @handler.event("E")
        async def on_event(event: dict[str, Any]) -> None:
            if event["n"] in poison:
                raise ValueError(f"poison {event['n']}")

        app.add_consumer(self.config, handler)  # type: ignore[arg-type]
        async with self.kafka.running(app):
            for partition in range(PARTITIONS):
                await committed_is(self.kafka, self.config, self.topic, records // PARTITIONS, partition)

    def limit(self, limit: object) -> None:
        self.config["on_error"] = {"max_attempts": 1, "then": "dead_letter", "dead_letter_limit": limit}

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return self._evkafka("dlq", arguments[0], self.dead, *arguments[1:], **environment)

    def run_app(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return self._evkafka("run", "shop:app", *arguments, **environment)

    def _evkafka(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "evkafka.cli", *arguments],
            cwd=self.home,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **self._variables(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _variables(self) -> dict[str, str]:
        return {"CONFIG": json.dumps(self.config), "JOURNAL": str(self.journal)}

    def dlq(self, *arguments: str, code: int = 0, **environment: str) -> str:
        variables = self._variables() | environment
        ended = evkafka(self.home, "dlq", arguments[0], self.dead, *arguments[1:], env=variables)
        assert ended.returncode == code, (ended.stdout, ended.stderr)
        return ended.stdout

    def json(self, *arguments: str, code: int = 0, **environment: str) -> Any:
        return json.loads(self.dlq(*arguments, "--json", code=code, **environment))

    def handled(self) -> Counter[int]:
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return Counter(int(line.split()[0]) for line in lines)


@pytest.fixture
async def shop(kafka: RealBackend, tmp_path: Path) -> Shop:
    return Shop(tmp_path, kafka, await kafka.topic(partitions=PARTITIONS))


class TestATopicWithOnePercentFailingRecords:
    @pytest.mark.slow
    async def test_ends_with_exactly_those_in_the_dead_letter_topic_and_a_replay_empties_it(self, shop: Shop) -> None:
        poison = set(range(7, RECORDS, 100))
        await shop.fill(RECORDS)
        await shop.run(RECORDS, poison=poison)

        source = {record.key: record for p in range(PARTITIONS) for record in await read_committed(*shop.at(p))}
        dead_letters = [record for p in range(PARTITIONS) for record in await read_committed(*shop.at(p, dead=True))]
        assert {int(dead_letter.key) for dead_letter in dead_letters} == poison
        assert len(dead_letters) == len(poison)
        for dead_letter in dead_letters:
            record = source[dead_letter.key]
            assert (dead_letter.partition, dead_letter.value) == (record.partition, record.value)
            assert list(dead_letter.headers)[: len(record.headers)] == list(record.headers)

        report = shop.json("replay", "--app", "shop:app", "--to-handler")
        assert report == {"chosen": len(poison), "replayed": len(poison), "failed": []}
        assert shop.handled() == Counter(poison)
        assert shop.json("list", "--app", "shop:app") == []


class TestTheCommands:
    async def test_list_show_replay_and_drop(self, shop: Shop) -> None:
        await shop.fill(40)
        await shop.run(40, poison={3, 4, 5})
        at = ("--app", "shop:app")

        assert "ValueError: poison 3" in shop.dlq("list", *at)
        [three, *_] = dead_letters = sorted(shop.json("list", *at), key=lambda one: one["error_message"])
        assert [dead_letter["error_message"] for dead_letter in dead_letters] == ["poison 3", "poison 4", "poison 5"]
        assert three["origin"]["topic"] == shop.topic

        shown = shop.json("show", *at, "--id", three["id"])
        assert (shown["value"], shown["key"]) == ('{"n": 3}', "3")
        assert "Traceback" in shown["traceback"]
        text = shop.dlq("show", *at, "--partition", "3", "--offset", str(three["offset"]))
        assert "\ntraceback:\n    Traceback (most recent call last):\n" in text
        assert "\n    ValueError: poison 3\n" in text

        assert "3 dead letters would be tried; nothing was done" in shop.dlq("replay", *at, "--to-handler", "--dry-run")
        still = shop.json("replay", *at, "--to-handler", code=1, STILL_BROKEN="[3]")
        assert (still["replayed"], [one["why"] for one in still["failed"]]) == (2, ["ValueError: still broken: 3"])
        assert [dead_letter["id"] for dead_letter in shop.json("list", *at)] == [three["id"]]

        assert shop.json("drop", *at, "--error", "Value*") == {"chosen": 1, "discarded": 1, "failed": []}
        assert shop.json("list", *at) == []
        assert Counter(one["status"] for one in shop.json("list", *at, "--all")) == {"replayed": 2, "discarded": 1}
        assert shop.handled() == Counter([4, 5])

    async def test_with_a_limit_print_the_total(self, shop: Shop) -> None:
        await shop.fill(40)
        await shop.run(40, poison=set(range(8)))
        at = ("--app", "shop:app")
        for arguments, expected in (
            (("list", *at, "--limit", "3"), "3 of 8 dead letters"),
            (("list", *at), "\n8 dead letters"),
            (("replay", *at, "--to-handler", "--dry-run", "--limit", "3"), "3 of 8 dead letters would be tried"),
            (("replay", *at, "--to-topic", "--dry-run", "--limit", "3"), "3 of 8 dead letters would be sent"),
            (("drop", *at, "--all", "--dry-run", "--limit", "1"), "1 of 8 dead letters would be discarded"),
            (("replay", *at, "--to-topic", "--limit", "3"), "3 of 3 replayed"),
            (("list", *at, "--limit", "3"), "3 of 5 dead letters"),
        ):
            process = shop.start(*arguments)
            out, err = process.communicate(timeout=240)
            assert (process.returncode, err) == (0, "")
            assert expected in out
        answer = shop.json("replay", *at, "--to-handler", "--dry-run", "--limit", "2")
        assert (answer["chosen"], answer["open"], [one["would"] for one in answer["letters"]]) == (2, 5, ["tried"] * 2)

    async def test_a_dry_run_decodes_finds_the_endpoint_and_runs_nothing(self, shop: Shop) -> None:
        async with AIOKafkaProducer(bootstrap_servers=shop.kafka.servers) as producer:
            await shop.kafka.topic(name=shop.dead)
            for number, (event_type, value) in enumerate([(b"E", b'{"n": 1}'), (b"E", b"[1]"), (b"Gone", b"{}")]):
                origin = [("evkafka-dlq-topic", shop.topic.encode()), ("evkafka-dlq-offset", b"%d" % number)]
                headers = [("Event-Type", event_type), *origin]
                await producer.send_and_wait(shop.dead, value, key=b"k", partition=0, headers=headers)
        out = shop.dlq("replay", "--app", "shop:app", "--to-handler", "--dry-run")
        assert "@0  would be tried" in out
        assert "@1  would not be tried: not the dict of" in out
        assert "@2  would not be tried: no endpoint for Gone" in out
        assert "1 of 3 dead letters would be tried; nothing was done\n2 would not be tried, and stay open" in out
        assert shop.handled() == Counter()
        assert len(shop.json("list", "--app", "shop:app")) == 3

    async def test_at_selects_one_dead_letter(self, shop: Shop) -> None:
        await shop.fill(8)
        await shop.run(8, poison={1, 2})
        at = ("--app", "shop:app")
        place = "{partition}@{offset}".format(**shop.json("list", *at, "--error", "poison 1")[0])
        assert shop.json("show", *at, "--at", place)["error_message"] == "poison 1"
        assert shop.json("drop", *at, "--at", place) == {"chosen": 1, "discarded": 1, "failed": []}
        assert [one["error_message"] for one in shop.json("list", *at)] == ["poison 2"]

    async def test_without_an_app(self, shop: Shop) -> None:
        await shop.fill(8)
        await shop.run(8, poison={1, 2})
        (shop.home / "kafka.toml").write_text(f'bootstrap_servers = "{shop.kafka.servers}"\n')
        at = ("--config", "kafka.toml")
        assert shop.json("replay", *at, "--to-topic", "--error", "poison 1")["replayed"] == 1
        assert "1 dead letter" in shop.dlq("list", "--bootstrap-servers", shop.kafka.servers)
        [*_, last] = await read_committed(*shop.at(1))
        assert dict(last.headers)["evkafka-dlq-replays"] == b"1"

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (("replay", "--app", "shop:app"), "name the target: --to-handler"),
            (("list",), "name the cluster: --app MODULE:APP"),
            (("show", "--app", "shop:app"), "the first two columns of `evkafka dlq list`"),
            (("show", "--at", "17", "--app", "shop:app"), "--at: '17' is not the address of a dead letter"),
            (("drop", "--app", "shop:app"), "discard all with --all"),
            (("list", "--app", "shop:app", "--since", "soon"), "--since soon: give a time"),
        ],
    )
    def test_missing_arguments_are_errors(
        self,
        call_here: Call,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: tuple[str, ...],
        expected: str,
    ) -> None:
        (tmp_path / "shop.py").write_text(SHOP)
        monkeypatch.setenv("CONFIG", json.dumps({"topics": ["orders"], "group_id": "billing"}))
        ended = call_here("dlq", arguments[0], "orders.billing.dlq", *arguments[1:])
        assert ended.code == 2
        assert expected in ended.err


class TestReplayThatIsKilled:
    LETTERS = 200

    @pytest.mark.slow
    async def test_to_a_topic_sends_each_record_exactly_once(self, shop: Shop) -> None:
        poison = await self._poison(shop)

        async def replayed() -> Counter[int]:
            records = [record for p in range(PARTITIONS) for record in await read_committed(*shop.at(p))]
            return Counter(int(one.key) for one in records if "evkafka-dlq-replays" in dict(one.headers))

        process = shop.start("replay", "--bootstrap-servers", shop.kafka.servers, "--to-topic", "--rate", "20")

        async def begun() -> bool:
            return len(await replayed()) >= 20

        await eventually(begun)
        process.kill()
        process.communicate(timeout=240)
        before = await replayed()
        assert 0 < len(before) < self.LETTERS
        report = shop.json("replay", "--bootstrap-servers", shop.kafka.servers, "--to-topic")
        assert report["replayed"] <= self.LETTERS - len(before)
        assert await replayed() == Counter(poison)

    @pytest.mark.slow
    async def test_to_the_handler_loses_no_record_and_repeats_at_most_one(self, shop: Shop) -> None:
        poison = await self._poison(shop)
        process = shop.start("replay", "--app", "shop:app", "--to-handler", "--rate", "20")
        await eventually(lambda: shop.handled().total() >= 20)
        process.kill()
        process.communicate(timeout=240)
        assert shop.handled().total() < self.LETTERS
        assert shop.json("replay", "--app", "shop:app", "--to-handler")["failed"] == []
        handled = shop.handled()
        assert set(handled) == poison
        assert handled.total() <= self.LETTERS + 1

    async def _poison(self, shop: Shop) -> set[int]:
        poison = set(range(self.LETTERS))
        await shop.fill(self.LETTERS)
        await shop.run(self.LETTERS, poison=poison)
        return poison


class TestTheLimit:
    async def test_ends_the_process_with_code_1_until_it_is_reset(self, shop: Shop) -> None:
        shop.limit({"consecutive": 3})
        await shop.fill(40)
        broken = json.dumps(list(range(40)))
        for _ in range(2):
            process = shop.run_app(STILL_BROKEN=broken)
            _, err = process.communicate(timeout=240)
            assert process.returncode == 1, err
            assert "run `evkafka run shop:app --reset-dead-letter-limit`" in err
        assert shop.handled() == Counter()
        mended = shop.run_app("--reset-dead-letter-limit")
        try:
            await eventually(lambda: shop.handled().total() + len(shop.json("list", "--app", "shop:app")) >= 40)
        finally:
            mended.terminate()
            _, err = mended.communicate(timeout=240)
        assert mended.returncode == 0, err
        dead = {dead_letter["origin"]["offset"] for dead_letter in shop.json("list", "--app", "shop:app")}
        assert dead <= {0, 1, 2}
