"""Programs of evkafka 0.7: one app, two clusters, with one handler each or a shared one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from evkafka import EVKafkaProducer
from evkafka.broker import KafkaBroker
from tests.docs.programs import Program, Start
from tests.support.processes import committed
from tests.support.waiting import eventually

HEAD = """
from evkafka import EVkafkaApp, Handler, Request
from evkafka.config import ConsumerConfig

internal_kafka_config: ConsumerConfig = {{
    "topics": ["topic"],
    "bootstrap_servers": "{internal}",
    "group_id": "test",
}}
external_kafka_config: ConsumerConfig = {{
    "topics": ["topic"],
    "bootstrap_servers": "{external}",
    "group_id": "test",
    "auto_commit_mode": "{external_mode}",
}}


def handler_of(name):
    handler = Handler()

    @handler.event("E")
    async def on_event(event: dict, request: Request) -> None:
        print(name, "got", event["number"], "from", request.context.consumer.name, "at", request.offset)

    return handler
"""

INDEPENDENT = """
internal_handler = handler_of("internal")
external_handler = handler_of("external")

app = EVkafkaApp()

app.add_consumer(internal_kafka_config, internal_handler)
app.add_consumer(external_kafka_config, external_handler)

app.run()
"""

SHARED = """
handler = handler_of("shared")

app = EVkafkaApp()

app.add_consumer(internal_kafka_config, handler, name="old")
app.add_consumer(external_kafka_config, handler, name="new")

app.run()
"""


@pytest.fixture(scope="module")
def clusters() -> Iterator[tuple[str, str]]:
    with KafkaBroker() as internal, KafkaBroker() as external:
        yield internal.bootstrap_servers, external.bootstrap_servers


async def printed_from_both(app: Program, clusters: tuple[str, str], *expected: str) -> None:
    """Send to each cluster until the app has printed the expected lines; it starts at the end, because of `latest`."""
    internal, external = (EVKafkaProducer({"bootstrap_servers": servers, "topic": "topic"}) for servers in clusters)
    async with internal, external:

        async def printed() -> bool:
            await internal.send_event({"number": 1}, "E")
            await external.send_event({"number": 2}, "E")
            return all(f"{line} at " in app.printed for line in expected)

        await eventually(printed)


@pytest.mark.kafka
class TestParallelConsumers:
    @pytest.mark.parametrize("external_mode", ["post-commit", "pre-commit"])
    async def test_each_consumer_has_its_own_handler(
        self, clusters: tuple[str, str], external_mode: str, start: Start, tmp_path: Path
    ) -> None:
        head = HEAD.format(internal=clusters[0], external=clusters[1], external_mode=external_mode)
        (tmp_path / "app.py").write_text(head + INDEPENDENT)
        app = start("python app.py", "app")
        await printed_from_both(app, clusters, "internal got 1 from consumer-1", "external got 2 from consumer-2")
        assert app.terminate() == 0, app.printed
        for servers, number in zip(clusters, (1, 2), strict=True):
            last = re.findall(rf"got {number} from .* at (\d+)$", app.printed, re.MULTILINE)[-1]
            assert await committed(servers, "test", "topic") == {0: int(last) + 1}, app.printed

    async def test_consumers_share_a_handler(self, clusters: tuple[str, str], start: Start, tmp_path: Path) -> None:
        head = HEAD.format(internal=clusters[0], external=clusters[1], external_mode="post-commit")
        (tmp_path / "app.py").write_text(head + SHARED)
        app = start("python app.py", "app")
        await printed_from_both(app, clusters, "shared got 1 from old", "shared got 2 from new")
        assert app.terminate() == 0, app.printed
