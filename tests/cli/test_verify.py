"""`evkafka verify` as a command: its options, its table, its exit codes. tests/verify/ tests the run itself."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from evkafka.testing import InMemoryRegistry
from tests.cli.support import environment, evkafka
from tests.support.waiting import eventually_sync


def commands() -> list[str]:
    """The command lines of all processes, as far as /proc tells."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            found.append(path.read_text(errors="replace"))
    return found


AVRO_APP = """
from evkafka import EVKafkaApp, Handler
from evkafka.formats import Avro, SchemaRegistry

handler = Handler()

@handler.event("Order")
async def on_order(order: dict) -> None: ...

app = EVKafkaApp()
app.add_consumer({{"topics": ["orders"], "group_id": "g", "value_format": Avro(SchemaRegistry({url!r}))}}, handler)
"""

SHORT = ("--seconds", "5", "--processes", "2", "--rate", "100", "--session-timeout-ms", "1500", "--seed", "4")


class TestOptions:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--faults", "stop,melt"], "unknown fault 'melt'; the faults are stop, freeze, members, broker, cancel"),
            (
                ["--faults", "broker", "--bootstrap-servers", "localhost:1"],
                "a broker given by address cannot be restarted",
            ),
            (["--app", "shop:app"], "your own app needs records that it can handle"),
            (["--app", "shop:app", "--payload", "{}"], "no module 'shop'"),
            (["--payload", "@nowhere.json"], "--payload @nowhere.json: the file cannot be read"),
            (["--ordering", "sideways"], "ordering"),
            (["--group-protocol", "new"], "unknown group protocol 'new'; the protocols are classic, consumer, auto"),
        ],
    )
    def test_that_cannot_work_are_one_sentence_with_exit_code_2(
        self, tmp_path: Path, arguments: list[str], sentence: str
    ) -> None:
        end = evkafka(tmp_path, "verify", *arguments)
        assert end.returncode == 2, end.stderr
        assert sentence in end.stderr
        assert "Traceback" not in end.stderr

    def test_the_consumer_must_be_named_if_the_app_has_several(self, tmp_path: Path) -> None:
        root = Path(__file__).parents[2]
        end = evkafka(tmp_path, "verify", "--app", "tests.verify.apps:two", "--payload", "{}", "--app-dir", str(root))
        assert end.returncode == 2
        assert "the app's consumers are 'billing', 'shipping': choose one with --consumer" in end.stderr

    def test_a_schema_that_the_registry_does_not_have_ends_it_before_kafka_is_started(self, tmp_path: Path) -> None:
        with InMemoryRegistry() as registry:
            (tmp_path / "avro_shop.py").write_text(AVRO_APP.format(url=registry.url), encoding="utf-8")
            end = evkafka(tmp_path, "verify", "--app", "avro_shop:app", "--payload", "{}", "--event-type", "Order")
        assert end.returncode == 2, end.stderr
        assert end.stderr.startswith("evkafka: --payload: it is written by the latest schema of subject 'orders-value'")
        assert "starting Apache Kafka" not in end.stderr

    @pytest.mark.long
    def test_brokers_that_are_not_there_are_exit_code_3(self, tmp_path: Path) -> None:
        end = evkafka(tmp_path, "verify", *SHORT, "--bootstrap-servers", "127.0.0.1:1")
        assert end.returncode == 3, end.stderr
        assert "127.0.0.1:1" in end.stderr


@pytest.mark.slow
class TestRun:
    def test_a_clean_run_is_a_table_and_exit_code_0(self, kafka_broker: KafkaBroker, tmp_path: Path) -> None:
        servers = kafka_broker.bootstrap_servers
        end = evkafka(
            tmp_path, "verify", *SHORT, "--kill-every", "3", "--fault-every", "0", "--bootstrap-servers", servers
        )
        assert end.returncode == 0, end.stdout + end.stderr
        assert "nothing was lost" in end.stdout
        assert "seed 4" in end.stdout
        assert re.search(r"group protocol +classic", end.stdout)
        assert "kill" in end.stderr

    @pytest.mark.parametrize(
        ("signum", "own"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["its own Kafka", "a given one"]
    )
    def test_an_interrupted_run_leaves_no_process_behind(
        self, kafka_broker: KafkaBroker, tmp_path: Path, signum: signal.Signals, own: bool
    ) -> None:
        home = tmp_path / "home"
        command = [sys.executable, "-m", "evkafka.cli", "verify", "--keep", str(home), "--kill-every", "0"]
        if not own:
            command += ["--bootstrap-servers", kafka_broker.bootstrap_servers]
        with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as run:
            assert run.stderr is not None
            next(line for line in run.stderr if "processes are running" in line)
            run.send_signal(signum)
            assert run.wait(60) == 130
        eventually_sync(lambda: not any(str(home) in command for command in commands()), what="the processes' end")

    @pytest.mark.long
    def test_a_broken_promise_is_in_the_json_report_and_exit_code_1(
        self, kafka_broker: KafkaBroker, tmp_path: Path
    ) -> None:
        servers = kafka_broker.bootstrap_servers
        root = Path(__file__).parents[2]
        end = evkafka(
            tmp_path,
            "verify",
            *SHORT,
            *("--kill-every", "0", "--fault-every", "0", "--bootstrap-servers", servers, "--json", "--keep", "kept"),
            *("--app", "tests.verify.apps:plain", "--app-dir", str(root), "--payload", "{}", "--event-type", "Other"),
        )
        assert end.returncode == 1, end.stdout + end.stderr
        report = json.loads(end.stdout)
        assert report["clean"] is False
        assert report["passed_over"] == report["sent"] > 0
        assert (tmp_path / "kept" / "journal").exists()
