"""`evkafka send`, `tail`, `lag`, `topics`, `offsets` and `replay`, as processes on a real Kafka."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConnectionSettings
from evkafka.kafka.admin.topic_ids import look_up_topic_ids
from evkafka.records import TopicPartition as Partition
from evkafka.runtime.commit_metadata import CommitMetadata, group_and_partition_text_for_checksum
from evkafka.runtime.completed_offsets import OffsetRange
from tests.cli.support import as_json, evkafka, stderr_of, write_app
from tests.support.kafka_topics import MakeTopic

ORDERS = '{"id": "a", "cents": 1}\n{"id": "b", "cents": 2}\n{"id": "a", "cents": 3}\n'


@pytest.fixture
async def orders(kafka_broker: KafkaBroker, topic: MakeTopic, tmp_path: Path) -> str:
    """A topic, and the app `shop:app` that reads it."""
    name = await topic(partitions=2)
    write_app(tmp_path, servers=kafka_broker.bootstrap_servers, topic=name)
    return name


@pytest.fixture
def at(kafka_broker: KafkaBroker) -> tuple[str, str]:
    return "--bootstrap-servers", kafka_broker.bootstrap_servers


@pytest.fixture
def filled(orders: str, tmp_path: Path) -> str:
    """The topic, with three orders in it."""
    ended = evkafka(
        tmp_path,
        *("send", orders, "-", "--lines", "--type", "OrderPlaced", "--key-field", "id", "--app", "shop:app", "--json"),
        stdin=ORDERS,
    )
    assert len(as_json(ended)) == 3
    return orders


class TestSendAndTail:
    def test_a_sent_event_is_shown(self, filled: str, tmp_path: Path, at: tuple[str, str]) -> None:
        ended = evkafka(tmp_path, "tail", filled, "--no-follow", *at)
        assert ended.returncode == 0, ended.stderr
        lines = ended.stdout.splitlines()
        assert len(lines) == 3
        assert f"{filled}[" in lines[0]
        assert 'OrderPlaced  key=a  {"id": "a", "cents": 1}' in ended.stdout

    def test_lines_of_json_make_a_round_trip(self, filled: str, tmp_path: Path, at: tuple[str, str]) -> None:
        shown = evkafka(tmp_path, "tail", filled, "--from", "earliest", "--no-follow", "--json", *at)
        records = [json.loads(line) for line in shown.stdout.splitlines()]
        assert sorted(one["value"]["cents"] for one in records) == [1, 2, 3]
        again = evkafka(tmp_path, "send", filled, "--records", *at, stdin=shown.stdout)
        assert again.stdout == f"3 sent to {filled}\n"
        twice = evkafka(tmp_path, "tail", filled, "--from", "earliest", "--no-follow", "--json", *at)
        both = [json.loads(line) for line in twice.stdout.splitlines()]

        def essence(record: dict[str, object]) -> str:
            return json.dumps([record[name] for name in ("partition", "type", "key", "headers", "value")])

        assert sorted(map(essence, both)) == sorted([*map(essence, records), *map(essence, records)])

    @pytest.mark.long
    def test_filters_select_records(self, filled: str, tmp_path: Path, at: tuple[str, str]) -> None:
        wanted = ("--type", "OrderPlaced", "--key", "a", "--where", "cents=3")
        ended = evkafka(tmp_path, "tail", filled, "--from", "1h", "--no-follow", "--json", *wanted, *at)
        [record] = [json.loads(line) for line in ended.stdout.splitlines()]
        assert record["value"] == {"id": "a", "cents": 3}

    @pytest.mark.long
    def test_a_tombstone_has_no_value(self, orders: str, tmp_path: Path, at: tuple[str, str]) -> None:
        sent = evkafka(tmp_path, "send", orders, "--tombstone", "--key", "a", "-H", "why=gone", *at)
        assert sent.stdout.startswith(f"sent to {orders}["), sent.stderr
        shown = evkafka(tmp_path, "tail", orders, "--limit", "1", "--json", *at)
        record = json.loads(shown.stdout)
        assert (record["key"], record["value"], record["headers"]) == ("a", None, [["why", "gone"]])

    def test_no_event_is_sent_if_the_app_refuses_one(self, orders: str, tmp_path: Path, at: tuple[str, str]) -> None:
        lines = '{"id": "a", "cents": 1}\n{"id": "b"}\n'
        ended = evkafka(
            tmp_path, "send", orders, "-", "--lines", "--type", "OrderPlaced", "--app", "shop:app", stdin=lines
        )
        assert "line 2 of stdin is not the Order" in stderr_of(ended, 1)
        assert "cents: Field required" in ended.stderr
        assert evkafka(tmp_path, "tail", orders, "--no-follow", *at).stdout == ""

    def test_mistakes_are_one_sentence_with_the_fix(self, orders: str, tmp_path: Path, at: tuple[str, str]) -> None:
        app = ("--app", "shop:app")
        assert "did you mean 'OrderPlaced'" in stderr_of(
            evkafka(tmp_path, "send", orders, "{}", "-t", "OrderPlacd", *app), 2
        )
        assert f"did you mean '{orders}'" in stderr_of(evkafka(tmp_path, "send", orders[:-1], "{}", *at), 2)
        assert "topic 'nothing' does not exist" in stderr_of(evkafka(tmp_path, "tail", "nothing", *at), 2)
        assert "give earliest, latest, an offset" in stderr_of(
            evkafka(tmp_path, "tail", orders, "--from", "soon", *at), 2
        )
        assert "name the cluster" in stderr_of(evkafka(tmp_path, "tail", orders), 2)
        assert "NAME=VALUE" in stderr_of(evkafka(tmp_path, "send", orders, "{}", "-H", "oops", *at), 2)

    @pytest.mark.long
    def test_the_environment_names_the_cluster(self, filled: str, tmp_path: Path, kafka_broker: KafkaBroker) -> None:
        (tmp_path / "pyproject.toml").write_text('[tool.evkafka]\nbootstrap_servers = "127.0.0.1:1"\n')
        env = {"EVKAFKA_BOOTSTRAP_SERVERS": kafka_broker.bootstrap_servers}
        assert evkafka(tmp_path, "tail", filled, "--limit", "1", env=env).stdout.count("\n") == 1


class TestLagAndOffsets:
    def test_lag_and_reset(self, filled: str, tmp_path: Path, at: tuple[str, str]) -> None:
        group = f"{filled}.group"
        before = evkafka(tmp_path, "lag", "--app", "shop:app", "--consumer", "orders", "--max", "2", "--json")
        assert before.returncode == 1
        assert as_json(before)["lag"] == 3

        plan = evkafka(tmp_path, "offsets", "reset", group, "--topic", filled, "--to", "latest", *at)
        assert "nothing was changed; --execute commits the new offsets" in plan.stdout
        assert as_json(evkafka(tmp_path, "lag", group, "--topic", filled, "--json", *at))["lag"] == 3

        done = evkafka(tmp_path, "offsets", "reset", group, "--topic", filled, "--to", "latest", "--execute", *at)
        assert done.returncode == 0, done.stderr
        after = evkafka(tmp_path, "lag", "--app", "shop:app", "--consumer", "orders", "--max", "2")
        assert after.returncode == 0
        assert "lag 0" in after.stdout

        back = ("offsets", "reset", group, "--to", "1h", "--execute", "--json", *at)
        changes = as_json(evkafka(tmp_path, *back))["partitions"]
        assert sum(change["committed"] - change["new"] for change in changes) == 3
        shown = as_json(evkafka(tmp_path, "offsets", "show", group, "--json", *at))
        assert [one["committed"] for one in shown[0]["partitions"]] == [0, 0]

    async def test_lag_shows_what_is_done_ahead_of_the_committed_offset(
        self, filled: str, tmp_path: Path, at: tuple[str, str], kafka_broker: KafkaBroker
    ) -> None:
        group = f"{filled}.group"
        connection = ConnectionSettings(bootstrap_servers=(kafka_broker.bootstrap_servers,))
        topic_id = (await look_up_topic_ids(connection, [filled])).topics[filled]
        finished = (OffsetRange(2, 5), OffsetRange(7, 8))
        text = CommitMetadata(1, topic_id, finished=finished).as_text(
            3_500, group_and_partition_text_for_checksum(group, Partition(filled, 0))
        )
        metadata = {0: text, 1: "another program's"}
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka_broker.bootstrap_servers,
            group_id=group,
            enable_auto_commit=False,  # at the stop it would commit the same offset again, without the metadata
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(filled, 0), TopicPartition(filled, 1)])
            await consumer.commit({TopicPartition(filled, number): (1, text) for number, text in metadata.items()})
        finally:
            await consumer.stop()
        report = as_json(await asyncio.to_thread(evkafka, tmp_path, "lag", group, "--json", *at))
        assert [one["done_ahead"] for one in report["groups"][0]["partitions"]] == [4, 0]
        shown = await asyncio.to_thread(evkafka, tmp_path, "lag", group, *at)
        assert "done ahead" in shown.stdout
        for to, effect in (("1", "4 to read again"), ("0", "5 to read again"), ("3", "2 skipped, 3 to read again")):
            plan = ("offsets", "reset", group, "--topic", filled, "--partition", "0", "--to", to, *at)
            assert effect in (await asyncio.to_thread(evkafka, tmp_path, *plan)).stdout


class TestTopics:
    def test_missing_topics_are_listed_and_created(self, orders: str, tmp_path: Path) -> None:
        plan = evkafka(tmp_path, "topics", "plan", "shop:app", "--json")
        assert plan.returncode == 1
        assert as_json(plan)["missing"] == [f"{orders}.invoices"]
        created = evkafka(
            tmp_path, "topics", "create", "shop:app", "--partitions", "4", "--setting", "retention.ms=86400000"
        )
        assert created.stdout == f"created {orders}.invoices\n", created.stderr
        there = evkafka(tmp_path, "topics", "plan", "shop:app")
        assert there.returncode == 0
        assert "all topics exist" in there.stdout
        assert evkafka(tmp_path, "topics", "create", "shop:app").stdout == "nothing to create: all topics exist\n"


class TestReplay:
    def test_a_dry_run_and_then_a_run(self, filled: str, tmp_path: Path, at: tuple[str, str]) -> None:
        evkafka(tmp_path, "send", filled, '{"id": "c"}', "--type", "OrderPlaced", *at)
        evkafka(tmp_path, "send", filled, "{}", "--type", "Other", *at)
        what = ("replay", "shop:app", "--consumer", "orders", "--topic", filled, "--from", "earliest")
        dry = evkafka(tmp_path, *what, "--dry-run", "--json")
        assert dry.returncode == 1
        report = as_json(dry)
        assert report["outcomes"] == {"would run": 3, "would fail": 1, "no endpoint for Other": 1}
        assert "cents: Field required" in report["failures"][0]["why"]

        evkafka(tmp_path, "topics", "create", "shop:app")
        real = evkafka(tmp_path, *what, "--type", "OrderPlaced", env={"FAIL": "b"})
        assert real.returncode == 1
        assert "order a by" in real.stdout
        assert "4 records: 2 done, 2 failed" in real.stdout
        assert "no b today" in real.stderr
        assert as_json(evkafka(tmp_path, "offsets", "show", f"{filled}.group", "--json", *at))[0]["partitions"] == []
        one = evkafka(tmp_path, *what, "--dry-run", "--limit", "1")
        assert one.stdout.startswith("1 record: 1 ")  # any of them: the topic has several partitions

    @pytest.mark.long
    def test_the_consumer_must_be_named_if_several_read_the_topic(self, orders: str, tmp_path: Path) -> None:
        ended = evkafka(tmp_path, "replay", "shop:app", "--topic", orders, "--from", "earliest", "--dry-run")
        assert "'orders', 'audit' read" in stderr_of(ended, 2)
        assert "--consumer" in ended.stderr

    async def test_lag_of_an_open_transaction_shows_both_ends_and_says_so(
        self, orders: str, tmp_path: Path, at: tuple[str, str], kafka_broker: KafkaBroker
    ) -> None:
        group = (f"{orders}.group", "--topic", orders, *at)
        producer = AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers, transactional_id=f"{orders}-tx")
        await producer.start()
        try:
            await producer.begin_transaction()
            await producer.send_and_wait(orders, b"undecided", partition=1)
            shown = await asyncio.to_thread(evkafka, tmp_path, "lag", *group)
            report = as_json(await asyncio.to_thread(evkafka, tmp_path, "lag", *group, "--json"))
            await producer.abort_transaction()
        finally:
            await producer.stop()
        assert "open transaction at offset 0; the records up to offset 1" in " ".join(shown.stdout.split())
        [_, partition] = report["groups"][0]["partitions"]
        assert (partition["end"], partition["high_watermark"], partition["lag"]) == (0, 1, 0)
