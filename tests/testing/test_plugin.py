"""The pytest plugin in a user's suite: run in a separate pytest, with warnings as errors."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

APP = """
    import asyncio
    from contextlib import asynccontextmanager

    import pytest
    from evkafka import EVKafkaApp, Handler, Sender

    handler, sender = Handler(), Sender()
    handled = []

    @sender.event("Billed", topic="bills")
    async def send_bill(bill: dict) -> None: ...

    @handler.event("OrderPlaced")
    async def on_order(order: dict) -> None:
        handled.append(order)
        await send_bill(order)

    @asynccontextmanager
    async def lifespan():
        async with asyncio.TaskGroup():  # must be left in the task that entered it
            yield

    app = EVKafkaApp(lifespan=lifespan)
    app.add_consumer(
        {"topics": ["orders"], "group_id": "billing", "auto_offset_reset": "earliest"}, handler
    )
    app.add_producer({}, sender)

    @pytest.fixture
    def evkafka_app():
        handled.clear()
        return app
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = -p no:cacheprovider\n")
    return pytester


def run(suite: pytest.Pytester, *options: str) -> pytest.RunResult:
    if "no:asyncio" not in options:  # pytest-asyncio warns where its scope is left open
        options = (*options, "-o", "asyncio_default_fixture_loop_scope=function")
    return suite.runpytest_subprocess(*options, timeout=240)


class TestPlugin:
    def test_pytest_finds_it_by_itself(self) -> None:
        [plugin] = [one for one in entry_points(group="pytest11") if one.name == "evkafka"]
        assert plugin.value == "pytest_evkafka"

    def test_a_suite_that_does_not_use_it_imports_nothing_of_evkafka(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(
            """
            import sys

            def test_nothing_is_imported(pytestconfig):
                assert pytestconfig.pluginmanager.hasplugin("evkafka")
                loaded = {name.partition(".")[0] for name in sys.modules}
                assert not loaded & {"evkafka", "aiokafka", "pydantic"}
            """
        )
        run(suite).assert_outcomes(passed=1)

    def test_its_own_import_loads_pytest_and_nothing_else(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(
            lonely="""
            import pytest, sys

            before = set(sys.modules)
            import pytest_evkafka

            assert {name for name in set(sys.modules) - before} == {"pytest_evkafka"}, set(sys.modules) - before
            """
        )
        assert suite.run(sys.executable, "lonely.py").ret == 0

    def test_the_fixtures_are_documented(self, suite: pytest.Pytester) -> None:
        shown = run(suite, "--fixtures").stdout.str().partition("fixtures defined from pytest_evkafka")[2]
        assert all(f"\nevkafka_{name} " in shown for name in ("app", "client", "memory", "kafka", "registry"))
        assert "no docstring available" not in shown

    @pytest.mark.parametrize("fixture", ["evkafka_client", "evkafka_memory"])
    def test_without_an_app_it_says_which_fixture_to_define(self, suite: pytest.Pytester, fixture: str) -> None:
        suite.makepyfile(f"def test_it({fixture}): ...")
        result = run(suite)
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*define a fixture named evkafka_app that returns it*", "*def evkafka_app():*"])


class TestClientFixture:
    def test_in_a_plain_test_it_is_a_test_client(self, suite: pytest.Pytester) -> None:
        suite.makeconftest(APP)
        suite.makepyfile(
            """
            from conftest import handled
            from evkafka import TestClient

            def test_it(evkafka_client):
                assert isinstance(evkafka_client, TestClient)
                assert evkafka_client.send_event({"id": 1}, "OrderPlaced", "orders").outcome == "done"
                assert handled == [{"id": 1}]
                assert [sent.topic for sent in evkafka_client.sent] == ["bills"]

            def test_each_test_has_its_own(evkafka_client):
                assert evkafka_client.sent == []
            """
        )
        run(suite).assert_outcomes(passed=2)

    @pytest.mark.parametrize("mode", ["auto", "strict"])
    def test_in_an_async_test_it_is_an_async_one(self, suite: pytest.Pytester, mode: str) -> None:
        suite.makeconftest(APP)
        suite.makepyfile(
            """
            import asyncio
            import pytest
            from conftest import handled
            from evkafka.testing import AsyncTestClient

            pytestmark = pytest.mark.asyncio

            async def test_it(evkafka_client):
                assert isinstance(evkafka_client, AsyncTestClient)
                await evkafka_client.send_event({"id": 1}, "OrderPlaced", "orders")
                assert handled == [{"id": 1}]
            """
        )
        run(suite, f"--asyncio-mode={mode}", "-p", "no:anyio").assert_outcomes(passed=1)


MEMORY = """
    import pytest
    from conftest import handled
    from evkafka import EVKafkaProducer
    from evkafka.testing import InMemoryKafka

    pytestmark = pytest.mark.{mark}

    async def test_it(evkafka_memory):
        assert isinstance(evkafka_memory, InMemoryKafka)
        await evkafka_memory.send("orders", {{"id": 1}}, event_type="OrderPlaced", partition=0)
        await evkafka_memory.settle()
        assert handled == [{{"id": 1}}]
        evkafka_memory.assert_committed(group="billing", topic="orders", partition=0, offset=1)
        [bill] = evkafka_memory.records("bills")
        async with EVKafkaProducer({{"bootstrap_servers": "kafka.invalid:9092"}}) as producer:
            await producer.send_event({{}}, "X", "of-the-test")
        assert len(evkafka_memory.records("of-the-test")) == 1

    async def test_each_test_has_its_own(evkafka_memory):
        assert list(evkafka_memory.records("bills")) == []
"""


class TestMemoryFixture:
    @pytest.mark.parametrize("mode", ["auto", "strict"])
    def test_the_app_runs_on_it_in_the_loop_of_pytest_asyncio(self, suite: pytest.Pytester, mode: str) -> None:
        suite.makeconftest(APP)
        suite.makepyfile(MEMORY.format(mark="asyncio"))
        run(suite, f"--asyncio-mode={mode}", "-p", "no:anyio").assert_outcomes(passed=2)

    @pytest.mark.parametrize("others", [("-p", "no:asyncio"), ("--asyncio-mode=strict",)])
    def test_the_app_runs_on_it_in_the_loop_of_anyio(self, suite: pytest.Pytester, others: tuple[str, ...]) -> None:
        suite.makeconftest(
            APP
            + """
    @pytest.fixture
    def anyio_backend():
        return "asyncio"
"""
        )
        suite.makepyfile(MEMORY.format(mark="anyio"))
        run(suite, *others).assert_outcomes(passed=2)

    def test_in_a_plain_test_it_says_that_it_is_for_async_ones(self, suite: pytest.Pytester) -> None:
        suite.makeconftest(APP)
        suite.makepyfile("def test_it(evkafka_memory): ...")
        result = run(suite)
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*evkafka_memory is for async tests*"])

    def test_without_a_plugin_that_runs_async_tests_it_names_them(self, suite: pytest.Pytester) -> None:
        suite.makeconftest(APP)
        suite.makepyfile("async def test_it(evkafka_memory): ...")
        result = run(suite, "-p", "no:asyncio", "-p", "no:anyio")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*install pytest-asyncio, or anyio*"])


@pytest.mark.kafka
class TestKafkaFixture:
    def test_it_is_one_broker_for_the_run_and_topics_of_each_tests_own(
        self, suite: pytest.Pytester, kafka_cache: None
    ) -> None:
        suite.makepyfile(
            """
            import pytest
            from evkafka import EVKafkaProducer

            seen = set()

            async def send(kafka, topic):
                async with EVKafkaProducer({"bootstrap_servers": kafka.bootstrap_servers}) as producer:
                    return await producer.send_event({}, "X", topic)

            @pytest.mark.parametrize("number", [1, 2])
            async def test_async(evkafka_kafka, number):
                topic = await evkafka_kafka.topic(partitions=2)
                assert (await send(evkafka_kafka, topic)).topic == topic
                seen.add((evkafka_kafka.bootstrap_servers, topic))

            def test_plain(evkafka_kafka):
                topic = evkafka_kafka.topic(prefix="mine", config={"retention.ms": 60_000})
                assert topic.startswith("mine-")
                seen.add((evkafka_kafka.bootstrap_servers, topic))

            def test_after_all():
                servers, topics = zip(*seen)
                assert len(set(servers)) == 1
                assert len(set(topics)) == 3
            """
        )
        run(suite, "--asyncio-mode=auto").assert_outcomes(passed=4)


class TestRegistryFixture:
    def test_it_is_one_registry_for_the_run_which_is_stopped_at_its_end(self, suite: pytest.Pytester) -> None:
        suite.makeconftest(
            """
            import evkafka.broker

            class FakeRegistry:
                url = "http://127.0.0.1:1/apis/ccompat/v7"

                def start(self):
                    print("<start>")

                def stop(self):
                    print("<stop>")

            evkafka.broker.LocalRegistry = FakeRegistry
            """
        )
        suite.makepyfile(
            """
            def test_one(evkafka_registry):
                assert evkafka_registry.url == "http://127.0.0.1:1/apis/ccompat/v7"

            def test_other(evkafka_registry): ...
            """
        )
        done = run(suite, "-s")
        done.assert_outcomes(passed=2)
        assert [done.stdout.str().count(word) for word in ("<start>", "<stop>")] == [1, 1]

    def test_without_java_it_says_what_to_install(self, suite: pytest.Pytester) -> None:
        suite.makeconftest(
            """
            import evkafka.broker
            from evkafka import ConfigError

            class FakeRegistry:
                def start(self):
                    raise ConfigError("Java was not found: install it")

            evkafka.broker.LocalRegistry = FakeRegistry
            """
        )
        suite.makepyfile("def test_one(evkafka_registry): ...")
        done = run(suite)
        done.assert_outcomes(errors=1)
        done.stdout.fnmatch_lines(["*evkafka_registry: Java was not found: install it"])


class TestOrderOfTests:
    """Async fixtures are in modules that are imported when a test first needs them."""

    @pytest.mark.parametrize("server", ["evkafka_kafka", "evkafka_registry"])
    @pytest.mark.parametrize("runner", ["asyncio", "anyio"])
    def test_a_server_starts_after_an_async_test_of_the_app(
        self, suite: pytest.Pytester, runner: str, server: str
    ) -> None:
        suite.makeconftest(
            APP
            + """
    import evkafka.broker

    class FakeServer:
        bootstrap_servers = "127.0.0.1:1"

        def start(self): ...

        def stop(self): ...

    evkafka.broker.KafkaBroker = evkafka.broker.LocalRegistry = FakeServer

    @pytest.fixture
    def anyio_backend():
        return "asyncio"
"""
        )
        suite.makepyfile(
            f"""
            import pytest

            @pytest.mark.{runner}
            async def test_first(evkafka_client): ...

            def test_then({server}): ...
            """
        )
        run(suite, "--asyncio-mode=strict").assert_outcomes(passed=2)
