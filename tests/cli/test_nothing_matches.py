"""Long lists, and filters and groups that match nothing: one line says so, with exit code 0."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from tests.cli.support import Call, Ended
from tests.support.kafka_topics import MakeTopic

OnCluster = Callable[..., Ended]


@pytest.fixture
async def topic_name(topic: MakeTopic) -> str:
    return await topic(partitions=2)


@pytest.fixture
def on_cluster(call: Call, kafka_broker: KafkaBroker) -> OnCluster:
    """`evkafka ARGUMENTS` on the test's cluster."""

    def done(*arguments: str) -> Ended:
        ended = call(*arguments, "--bootstrap-servers", kafka_broker.bootstrap_servers)
        assert ended.code == 0, ended.printed
        return ended

    return done


@pytest.fixture
def letters(topic_name: str, on_cluster: OnCluster, tmp_path: Path) -> str:
    """A topic with 25 dead letters. The later ones of the topic failed earlier."""
    file = tmp_path / "letters.jsonl"
    with file.open("w") as lines:
        for number in range(25):
            headers = [
                ["evkafka-dlq-failed-at", f"2026-01-31T12:00:{59 - number:02}Z"],
                ["evkafka-dlq-error-type", "builtins.ValueError"],
                ["evkafka-dlq-error-message", f"no {number}."],
            ]
            lines.write(json.dumps({"key": str(number), "headers": headers, "value": {}}) + "\n")
    on_cluster("send", topic_name, "--records", "--file", str(file))
    return topic_name


class TestTheListOfDeadLetters:
    def test_has_the_twenty_newest_and_the_number_of_all(self, letters: str, on_cluster: OnCluster) -> None:
        out = on_cluster("dlq", "list", letters).out
        assert re.findall(r"no (\d+)\.", out) == [str(number) for number in range(20)]
        assert out.endswith("20 of 25 dead letters, newest first; --limit 25 lists all\n")

    def test_with_a_limit_has_so_many(self, letters: str, on_cluster: OnCluster) -> None:
        out = on_cluster("dlq", "list", letters, "--limit", "25").out
        assert len(re.findall(r"no \d+\.", out)) == 25
        assert out.endswith("\n25 dead letters\n")

    def test_counts_those_that_match(self, letters: str, on_cluster: OnCluster) -> None:
        out = on_cluster("dlq", "list", letters, "--error", "no 1", "--limit", "2").out
        assert re.findall(r"no (\d+)\.", out) == ["1", "10"]
        assert "2 of 11 dead letters" in out

    def test_has_all_as_json(self, letters: str, on_cluster: OnCluster) -> None:
        listed = json.loads(on_cluster("dlq", "list", letters, "--json").out)
        assert [one["error_message"] for one in listed] == [f"no {number}." for number in range(25)]


class TestAFilterThatMatchesNoDeadLetter:
    def test_of_a_list(self, letters: str, on_cluster: OnCluster) -> None:
        ended = on_cluster("dlq", "list", letters, "--error", "TimeoutError")
        assert ended.printed == f"no dead letter matches, of 25 in {letters}\n"

    @pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
    @pytest.mark.parametrize("action", [["replay", "--to-topic"], ["drop"]])
    def test_of_an_action(self, letters: str, on_cluster: OnCluster, action: list[str], dry_run: list[str]) -> None:
        command, *target = action
        ended = on_cluster("dlq", command, letters, "--error", "TimeoutError", *target, *dry_run)
        assert ended.printed == "no open dead letter matches\n"

    def test_of_an_empty_topic(self, topic_name: str, on_cluster: OnCluster) -> None:
        assert on_cluster("dlq", "list", topic_name).printed == f"no dead letters in {topic_name}\n"


class TestARangeWithoutRecords:
    def test_of_tail(self, letters: str, on_cluster: OnCluster) -> None:
        ended = on_cluster("tail", letters, "--no-follow", "--type", "Unknown")
        assert (ended.out, ended.err) == ("", f"no matching records in {letters}\n")

    def test_of_replay(self, letters: str, call: Call, kafka_broker: KafkaBroker, tmp_path: Path) -> None:
        (tmp_path / "replayed.py").write_text(
            "from evkafka import EVKafkaApp, Handler\n"
            "app = EVKafkaApp()\n"
            f"config = {{'topics': ['{letters}'], 'bootstrap_servers': '{kafka_broker.bootstrap_servers}'}}\n"
            "app.add_consumer({**config, 'group_id': 'g'}, Handler(), 'letters')\n"
        )
        there = ("replayed:app", "--app-dir", str(tmp_path), "--topic", letters)
        ended = call("replay", *there, "--from", "earliest", "--type", "Unknown", "--dry-run")
        assert (ended.code, ended.printed) == (0, f"no matching records in {letters}\n")


class TestAGroupThatTheClusterDoesNotKnow:
    @pytest.mark.parametrize("command", [["lag"], ["offsets", "show"]])
    def test_is_called_unknown(self, on_cluster: OnCluster, command: list[str]) -> None:
        ended = on_cluster(*command, "nobody")
        assert ended.printed.rstrip() == "group nobody: unknown, no members, no committed offsets"

    def test_has_nothing_to_reset(self, on_cluster: OnCluster) -> None:
        ended = on_cluster("offsets", "reset", "nobody", "--to", "earliest", "--execute")
        assert "nothing to reset: group nobody has no committed offsets" in ended.printed
        assert ended.printed.count("\n") == 1

    def test_has_the_lag_of_a_topic_that_is_named(self, letters: str, on_cluster: OnCluster) -> None:
        out = on_cluster("lag", "nobody", "--topic", letters).out
        assert "group nobody: unknown, no members, no committed offsets\n" in out
        assert "lag 25" in out

    def test_does_not_hide_a_misspelt_topic(self, letters: str, call: Call, kafka_broker: KafkaBroker) -> None:
        at = ("--bootstrap-servers", kafka_broker.bootstrap_servers)
        ended = call("lag", "nobody", "--topic", letters[:-1], *at)
        assert ended.code == 2
        assert f"did you mean '{letters}'?" in ended.err
