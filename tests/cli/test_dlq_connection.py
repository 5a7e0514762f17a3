"""How `evkafka dlq` finds its topic, app and cluster. No broker is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from evkafka.cli.connection import FoundDeadLetterTopic, find_cluster_by_options, find_dead_letter_topic_and_cluster
from evkafka.cli.options import ClusterOptions
from evkafka.exceptions import ConfigError

APP = """
from evkafka import EVKafkaApp, Handler

handler = Handler()

@handler.event("OrderPlaced"{event})
async def on_order(order: dict) -> None: ...

app = EVKafkaApp()
app.add_consumer(
    {{"{key}": {topics}, "group_id": "billing", "on_error": {{"max_attempts": 3, "then": "{then}"}}{more}}}, handler
)
"""


def found_by(
    directory: Path,
    topic: str | None = None,
    *,
    app: str | None = None,
    servers: str | None = None,
    source: str = APP,
    **values: str,
) -> FoundDeadLetterTopic:
    text = source.format(
        **{"event": "", "key": "topics", "topics": ["orders"], "then": "dead_letter", "more": "", **values}
    )
    (directory / f"{directory.name.replace('-', '_')}.py").write_text(text)
    return find_dead_letter_topic_and_cluster(ClusterOptions(app, app_dir=directory, bootstrap_servers=servers), topic)


@pytest.fixture
def app(tmp_path: Path) -> str:
    """A module's name of its own: what was imported once is not imported again."""
    return f"{tmp_path.name.replace('-', '_')}:app"


class TestTheTopic:
    def test_may_be_left_out_where_the_app_has_but_one(self, tmp_path: Path, app: str) -> None:
        assert found_by(tmp_path, app=app).topic == "orders.billing.dlq"

    def test_must_be_named_where_there_are_several(self, tmp_path: Path, app: str) -> None:
        with pytest.raises(ConfigError, match=r"name .*: this app has 'orders\.billing\.dlq', 'refunds\.billing\.dlq'"):
            found_by(tmp_path, app=app, topics='["orders", "refunds"]')

    def test_of_an_event_type_is_found_too(self, tmp_path: Path, app: str) -> None:
        event = ', on_error={"then": "dead_letter", "dead_letter_topic": "graveyard"}'
        assert found_by(tmp_path, app=app, event=event, then="skip").topic == "graveyard"

    def test_of_records_without_an_endpoint_is_found_too(self, tmp_path: Path, app: str) -> None:
        assert (
            found_by(tmp_path, app=app, then="skip", more=', "unmatched": "dead_letter"').topic == "orders.billing.dlq"
        )

    def test_cannot_be_left_out_where_no_policy_ends_there(self, tmp_path: Path, app: str) -> None:
        with pytest.raises(ConfigError, match=r'this app write no dead letters: add "on_error": .* to the consumer'):
            found_by(tmp_path, app=app, then="skip")

    @pytest.mark.parametrize(
        ("key", "topics", "written"),
        [
            ("topics", '["orders"]', "'orders.billing.dlq'"),
            ("topics", '["refunds", "orders"]', "'orders.billing.dlq' or 'refunds.billing.dlq'"),
            ("topic_pattern", '"orders.*"', "and the source topics come from a pattern"),
        ],
    )
    def test_of_a_pre_commit_app_must_be_named(
        self, tmp_path: Path, app: str, key: str, topics: str, written: str
    ) -> None:
        before, policy, after = APP.partition(', "on_error": {{"max_attempts": 3, "then": "{then}"}}')
        assert policy
        with pytest.raises(ConfigError) as raised:
            found_by(
                tmp_path, app=app, source=f'{before}, "auto_commit_mode": "pre-commit"{after}', key=key, topics=topics
            )
        assert str(raised.value) == (
            "name the dead-letter topic: with auto_commit_mode 'pre-commit' only an endpoint's `DeadLetter` is written"
            f" to one, {written}"
        )

    def test_cannot_be_left_out_where_a_pattern_finds_the_source_topics(self, tmp_path: Path, app: str) -> None:
        with pytest.raises(ConfigError, match="name the dead-letter topic: its source topics come from a pattern"):
            found_by(tmp_path, app=app, key="topic_pattern", topics='"orders.*"')

    def test_of_an_unknown_consumer_names_the_consumers(self, tmp_path: Path, app: str) -> None:
        found_by(tmp_path, app=app)
        with pytest.raises(ConfigError, match="this app has no such consumer"):
            find_dead_letter_topic_and_cluster(ClusterOptions(app, app_dir=tmp_path, consumer="ordrs"), None)

    def test_cannot_be_left_out_without_an_app(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"name the dead-letter topic .* it may be left out only with --app"):
            found_by(tmp_path, servers="localhost:9092")


class TestTheApp:
    def test_may_come_from_the_environment(self, tmp_path: Path, app: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EVKAFKA_APP", app)
        assert found_by(tmp_path).cluster.consumer is not None

    def test_of_the_environment_yields_to_the_options(
        self, tmp_path: Path, app: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EVKAFKA_APP", app)
        assert found_by(tmp_path, "dead", servers="localhost:9092").cluster.consumer is None

    def test_named_twice_is_refused(self, tmp_path: Path, app: str) -> None:
        with pytest.raises(ConfigError, match="give only one of --app"):
            found_by(tmp_path, "dead", app=app, servers="localhost:9092")

    def test_named_nowhere_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("EVKAFKA_APP", "EVKAFKA_BOOTSTRAP_SERVERS"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(ConfigError, match="name the cluster: --app MODULE:APP"):
            found_by(tmp_path, "dead")


LOGIN = {
    "EVKAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "EVKAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
    "EVKAFKA_SASL_PLAIN_USERNAME": "billing",
    "EVKAFKA_SASL_PLAIN_PASSWORD": "secret",
}


class TestTheClusterIsFoundAsByEveryOtherCommand:
    @pytest.mark.parametrize("servers", ["broker:9093", None])
    def test_with_the_login_of_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: str | None
    ) -> None:
        for name, value in {**LOGIN, "EVKAFKA_BOOTSTRAP_SERVERS": "other:9092"}.items():
            monkeypatch.setenv(name, value)
        found = find_dead_letter_topic_and_cluster(
            ClusterOptions(app_dir=tmp_path, bootstrap_servers=servers), "dead"
        ).cluster
        assert found == find_cluster_by_options(ClusterOptions(app_dir=tmp_path, bootstrap_servers=servers))
        assert found.connection.bootstrap_servers == (servers or "other:9092",)
        assert found.connection.options["sasl_plain_username"] == "billing"

    def test_in_a_file_which_names_the_sources_too(self, tmp_path: Path) -> None:
        path = tmp_path / "consumer.toml"
        path.write_text('bootstrap_servers = "file:9092"\ntopics = ["orders"]\ngroup_id = "billing"\n')
        letters = find_dead_letter_topic_and_cluster(ClusterOptions(config=path), "dead")
        assert letters.cluster.connection.bootstrap_servers == ("file:9092",)
        assert letters.sources is not None
        assert letters.sources.has("orders")
        assert not letters.sources.has("payments")

    def test_in_a_file_that_names_another_cluster_for_dead_letters(self, tmp_path: Path) -> None:
        path = tmp_path / "consumer.json"
        path.write_text(
            '{"bootstrap_servers": "here:9092",'
            ' "on_error": {"dead_letter_producer": {"bootstrap_servers": "there:9092"}}}'
        )
        dead_letters = find_dead_letter_topic_and_cluster(ClusterOptions(config=path), "dead")
        assert dead_letters.cluster.connection.bootstrap_servers == ("there:9092",)
        assert find_cluster_by_options(ClusterOptions(config=path)).connection.bootstrap_servers == ("here:9092",)
