"""Malformed and hostile records: each is one row, and none ends a command or forges a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from evkafka.broker import KafkaBroker
from evkafka.cli import output
from evkafka.cli.impl.dlq import letter_json
from evkafka.cli.impl.group_offsets import print_group_heading
from evkafka.cli.impl.tail import JsonPrinter, LinePrinter
from evkafka.dlq.dead_letter import read_dead_letter
from evkafka.kafka.admin.groups import Group
from evkafka.serde.safe_text import escape_line
from tests.cli.support import evkafka
from tests.support.kafka_topics import MakeTopic
from tests.support.odd_records import HOSTILE, VALUES, OddRecord, odd_records
from tests.support.unsafe_text import acted_on

TYPE_HEADER = "Event-Type"


class TestTail:
    @pytest.mark.parametrize("seed", range(3))
    def test_prints_a_line_for_each_record_whatever_is_in_it(
        self, seed: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        records = odd_records(60, seed=seed)
        print_record = LinePrinter(TYPE_HEADER)
        for record in records:
            print_record(record)
        printed = capsys.readouterr().out
        assert printed.count("\n") == len(records)
        assert set(acted_on(printed)) == {"\n"}
        assert max(map(len, printed.splitlines())) < 20_000

    def test_as_json_prints_a_line_with_all_fields_of_each_record(self, capsys: pytest.CaptureFixture[str]) -> None:
        records = odd_records(60)
        print_record = JsonPrinter(TYPE_HEADER)
        for record in records:
            print_record(record)
        printed = capsys.readouterr().out
        assert set(acted_on(printed)) == {"\n"}
        rows = [json.loads(line, parse_constant=pytest.fail) for line in printed.splitlines()]
        assert [one["offset"] for one in rows] == [record.offset for record in records]
        assert [one["timestamp_ms"] for one in rows] == [record.timestamp for record in records]
        assert any(one["timestamp"] is None for one in rows)

    def test_as_json_values_that_json_cannot_represent_are_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        for value in (b'{"n":NaN}', b'{"n":1e999}', b"[" * 700 + b"]" * 700, b"[" * 10_000 + b"]" * 10_000):
            JsonPrinter(TYPE_HEADER)(OddRecord("orders", 0, 0, 1, None, value, ()))
            printed = json.loads(capsys.readouterr().out)["value"]
            assert printed == value.decode() or json.dumps(printed).replace(" ", "").encode() == value


class TestDeadLetters:
    @pytest.mark.parametrize("record", [*odd_records(len(VALUES))], ids=lambda one: str(one.offset))
    def test_any_record_is_a_row_of_the_list(self, record: OddRecord, capsys: pytest.CaptureFixture[str]) -> None:
        letter = read_dead_letter(record)
        output.print_json([letter_json(letter, "open")])
        [row] = json.loads(capsys.readouterr().out)
        assert row["offset"] == record.offset


class TestNames:
    @pytest.mark.parametrize("name", [*HOSTILE, "grp[/bold]", "[red]x", "x\\", "a:smile:b"])
    def test_of_groups_are_printed_as_they_are_written(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        print_group_heading(name, Group("Stable", ()), [])
        output.print_table(["group", "what"], [[name, name]])
        printed = capsys.readouterr().out
        assert printed.count("\n") == 3
        assert acted_on(printed.replace("\n", "")) == []
        assert printed.startswith(f"group {escape_line(name)}: ")

    def test_a_screen_reads_no_markup_in_what_it_prints(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.stdout_console().print("[/bold] :smile: [red]x")
        assert capsys.readouterr().out == "[/bold] :smile: [red]x\n"

    def test_a_block_of_several_lines_looks_like_no_next_field(self) -> None:
        assert output.escape_indented_after_first("a\nid: forged\x1b") == "a\n    id: forged\\u001b"


class TestOnARealKafka:
    @pytest.fixture
    async def odd(self, kafka_broker: KafkaBroker, topic: MakeTopic) -> str:
        """A topic with a lone surrogate, deep nesting, a time that no calendar has, and a newline in type and key."""
        name = await topic(config={"message.timestamp.after.max.ms": 2**63 - 1})
        headers = [("Event-Type", b"a\n1  forged")]
        async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:
            for value in (rb'{"currency":"\ud800"}', b'{"a":' + b"[" * 700 + b"]" * 700 + b"}", b"{}"):
                await producer.send_and_wait(name, value, key=b"k\nforged", headers=headers)
            await producer.send_and_wait(name, b"{}", timestamp_ms=9 * 10**17, headers=headers)
        return name

    @pytest.mark.parametrize(
        "command",
        [("tail", "--from", "earliest", "--no-follow"), ("tail", "--from", "earliest", "--no-follow", "--json")],
    )
    async def test_tail_shows_each(self, odd: str, kafka_broker: KafkaBroker, tmp_path: Path, command: Any) -> None:
        verb, *options = command
        ended = evkafka(tmp_path, verb, odd, *options, "--bootstrap-servers", kafka_broker.bootstrap_servers)
        assert ended.returncode == 0, ended.stderr
        assert len(ended.stdout.splitlines()) == 4

    async def test_dlq_list_and_show_take_each(self, odd: str, kafka_broker: KafkaBroker, tmp_path: Path) -> None:
        servers = ("--bootstrap-servers", kafka_broker.bootstrap_servers)
        listed = evkafka(tmp_path, "dlq", "list", odd, "--json", *servers)
        assert listed.returncode == 0, listed.stderr
        assert sorted(one["offset"] for one in json.loads(listed.stdout)) == [0, 1, 2, 3]
        for offset in range(4):
            shown = evkafka(tmp_path, "dlq", "show", odd, "--partition", "0", "--offset", str(offset), *servers)
            assert shown.returncode == 0, shown.stderr
            assert "\n1  forged" not in shown.stdout

    async def test_lag_of_a_group_whose_name_looks_like_markup(self, kafka_broker: KafkaBroker, tmp_path: Path) -> None:
        servers = ("--bootstrap-servers", kafka_broker.bootstrap_servers)
        ended = evkafka(tmp_path, "lag", "grp[/bold]", *servers)
        assert ended.returncode == 0, ended.stderr
        assert "group grp[/bold]: unknown, no members, no committed offsets" in ended.stdout
