"""EVKafkaProducer without a broker: records it sends, start and stop, errors."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from evkafka import EVKafkaProducer, ProducerConfig
from evkafka.exceptions import BrokerUnavailable, ConfigError, DeliveryError, EncodeError
from evkafka.runtime.deadline import remaining
from tests.kafka.producer.sinks import TakingCluster
from tests.support.ports import closed_port


class Order(BaseModel):
    order_id: str


def producer_on(cluster: TakingCluster, **config: Any) -> EVKafkaProducer:
    given: ProducerConfig = {"bootstrap_servers": "nowhere:9092", "topic": "t", **config}  # type: ignore[typeddict-item]
    return EVKafkaProducer(given, cluster=cluster)


@pytest.fixture
def cluster() -> TakingCluster:
    return TakingCluster()


class TestEvents:
    @pytest.mark.parametrize(
        ("event", "value"),
        [
            ({"a": "ä"}, b'{"a": "\\u00e4"}'),
            ("ä", "ä".encode()),
            (b"\x00", b"\x00"),
            (Order(order_id="1"), b'{"order_id":"1"}'),
            ([1, None], b"[1,null]"),
        ],
    )
    async def test_are_sent_with_their_type(self, cluster: TakingCluster, event: Any, value: bytes) -> None:
        async with producer_on(cluster) as producer:
            await producer.send_event(event, "X")
        assert cluster.last.value == value

    async def test_none_is_a_tombstone_and_needs_a_key(self, cluster: TakingCluster) -> None:
        async with producer_on(cluster) as producer:
            await producer.send_event(None, "X", key="k")
            with pytest.raises(EncodeError, match="a tombstone, which needs a key"):
                await producer.send_event(None, "X")
        assert [(taken.value, taken.key) for taken in cluster.taken] == [(None, b"k")]

    async def test_the_arguments_have_the_order_of_0_7(self, cluster: TakingCluster) -> None:
        async with producer_on(cluster) as producer:
            await producer.send_event({}, "X", "other", b"k", 3, 17, {"h": b"1"})
        taken = cluster.last
        assert (taken.topic, taken.key, taken.partition, taken.timestamp_ms) == ("other", b"k", 3, 17)
        assert taken.headers == [("Event-Type", b"X"), ("h", b"1")]

    @pytest.mark.parametrize(
        ("key", "sent"),
        [(None, None), (b"", b""), ("", b""), ("ä", "ä".encode()), (0, b"0"), (UUID(int=1), str(UUID(int=1)).encode())],
    )
    async def test_keys(self, cluster: TakingCluster, key: Any, sent: bytes | None) -> None:
        async with producer_on(cluster) as producer:
            await producer.send_event({}, "X", key=key)
        assert cluster.last.key == sent

    @pytest.mark.parametrize("key", [1.5, True, object(), ("a",)])
    async def test_other_keys_are_an_error_that_names_the_event(self, cluster: TakingCluster, key: Any) -> None:
        async with producer_on(cluster) as producer:
            with pytest.raises(
                EncodeError, match=r"event 'X' \(dict\) to topic 't' .*a key must be bytes, str, int, UUID"
            ):
                await producer.send_event({}, "X", key=key)
        assert not cluster.taken


class TestHeaders:
    async def test_a_mapping_or_pairs_with_doubled_and_null_ones(self, cluster: TakingCluster) -> None:
        async with producer_on(cluster) as producer:
            await producer.send_event({}, "X", headers={"a": "ä", "b": None})
            await producer.send_event({}, "X", headers=[("a", b"1"), ("a", b"2")])
        assert [taken.headers[1:] for taken in cluster.taken] == [
            [("a", "ä".encode()), ("b", None)],
            [("a", b"1"), ("a", b"2")],
        ]

    async def test_the_argument_wins_over_a_header_of_that_name(self, cluster: TakingCluster) -> None:
        async with producer_on(cluster) as producer:
            await producer.send_event({}, "X", headers={"Event-Type": b"Y", "a": b"1"})
        assert cluster.last.headers == [("Event-Type", b"X"), ("a", b"1")]

    @pytest.mark.parametrize("headers", [{"a": 1}, {1: b""}, [("a",)], [("a", 1.5)], ["ab"], "ab", 7])
    async def test_other_ones_are_an_error(self, cluster: TakingCluster, headers: Any) -> None:
        async with producer_on(cluster) as producer:
            with pytest.raises(EncodeError, match="event 'X'"):
                await producer.send_event({}, "X", headers=headers)
        assert not cluster.taken

    @pytest.mark.parametrize(
        ("headers", "message"),
        [
            ([("a", b"1"), ("b", b"2", b"3")], r"header number 1 is a tuple of 3, not a \(name, value\) pair"),
            (["ab"], r"header number 0 is a str, not a \(name, value\) pair"),
            ("ab", r"headers must be a mapping or \(name, value\) pairs; got str"),
            (7, r"headers must be a mapping or \(name, value\) pairs; got int"),
            ([(b"a", b"1")], "header b'a': the name must be a str, and the value bytes, str or None"),
            ({"\ud800": b"1"}, "surrogates not allowed"),
            ({"a": "\ud800"}, "surrogates not allowed"),
        ],
    )
    async def test_the_error_says_what_is_wrong_with_them(
        self, cluster: TakingCluster, headers: Any, message: str
    ) -> None:
        async with producer_on(cluster) as producer:
            with pytest.raises(EncodeError, match=message):
                await producer.send_event({}, "X", headers=headers)


class TestErrors:
    async def test_what_cannot_be_serialized_names_event_and_topic(self, cluster: TakingCluster) -> None:
        async with producer_on(cluster) as producer:
            with pytest.raises(EncodeError) as error:
                await producer.send_event({"a": object()}, "OrderPlaced")
        raised = error.value
        assert "event 'OrderPlaced' (dict) to topic 't' cannot be encoded" in str(raised)
        assert (raised.topic, raised.event_type, raised.may_have_been_written) == ("t", "OrderPlaced", False)
        assert isinstance(raised, (DeliveryError, TypeError, ValueError))
        assert isinstance(raised.__cause__, TypeError)

    async def test_without_a_topic_it_is_a_runtime_error(self, cluster: TakingCluster) -> None:
        async with producer_on(cluster, topic=None) as producer:
            with pytest.raises(RuntimeError, match="event 'X' has no topic"):
                await producer.send_event({}, "X")

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"event_type": ""}, TypeError),
            ({"event_type": None}, TypeError),
            ({"event_type": "X", "partition": -1}, ValueError),
            ({"event_type": "X", "partition": True}, ValueError),
            ({"event_type": "X", "partition": "0"}, ValueError),
            ({"event_type": "X", "timestamp_ms": -1}, ValueError),
            ({"event_type": "X", "timestamp_ms": 1.5}, ValueError),
        ],
    )
    async def test_arguments_are_checked(
        self, cluster: TakingCluster, arguments: dict[str, Any], error: type[Exception]
    ) -> None:
        async with producer_on(cluster) as producer:
            with pytest.raises(error):
                await producer.send_event({}, **arguments)
        assert not cluster.taken


class TestBatches:
    async def test_events_are_sent_in_order_and_their_offsets_returned(self, cluster: TakingCluster) -> None:
        async with producer_on(cluster) as producer:
            places = await producer.send_events([{"n": n} for n in range(5)], "X", key=lambda event: event["n"])
        assert [taken.key for taken in cluster.taken] == [b"0", b"1", b"2", b"3", b"4"]
        assert [place.offset for place in places] == [0, 1, 2, 3, 4]

    async def test_the_first_failure_is_raised_once_all_have_ended(self, cluster: TakingCluster) -> None:
        async with producer_on(cluster) as producer:
            with pytest.raises(EncodeError, match="not JSON serializable") as error:
                await producer.send_events([{"n": 0}, {"n": object()}, {"n": 2}], "X")
        assert len(cluster.taken) == 1
        assert error.value.__notes__ == ["of this batch, 1 events were confirmed and 1 failed"]


class TestLife:
    async def test_it_starts_once_and_can_be_stopped_repeatedly(self, cluster: TakingCluster) -> None:
        producer = producer_on(cluster)
        await producer.start()
        with pytest.raises(RuntimeError, match="already been started"):
            await producer.start()
        await producer.stop()
        await producer.stop()
        assert cluster.calls == ["start", "stop"]

    async def test_it_can_be_started_again(self, cluster: TakingCluster) -> None:
        producer = producer_on(cluster)
        for _ in range(2):
            async with producer:
                await producer.send_event({}, "X")
        assert len(cluster.taken) == 2

    async def test_a_start_that_failed_can_be_tried_again(self, cluster: TakingCluster) -> None:
        producer = producer_on(cluster)
        cluster.start_error = BrokerUnavailable("away")
        with pytest.raises(BrokerUnavailable):
            await producer.start()
        cluster.start_error = None
        async with producer:
            await producer.send_event({}, "X")

    async def test_sending_before_the_start_and_after_the_stop_is_an_error_at_once(
        self, cluster: TakingCluster
    ) -> None:
        producer = producer_on(cluster)
        with pytest.raises(RuntimeError, match="the producer is not running: send inside `async with"):
            await producer.send_event({}, "X")
        async with producer:
            pass
        for call in (producer.send_event({}, "X"), producer.enqueue_event({}, "X"), producer.flush()):
            with pytest.raises(RuntimeError, match="not running"):
                await call

    async def test_the_stop_has_the_delivery_timeout_or_what_it_is_given(self, cluster: TakingCluster) -> None:
        producer = producer_on(cluster, delivery_timeout_ms=7000)
        await producer.start()
        await producer.stop()
        await producer.start()
        await producer.stop(timeout_s=0.5)
        assert cluster.stop_timeouts_s == [7.0, 0.5]

    async def test_another_event_loop_is_an_error(self, cluster: TakingCluster) -> None:
        async def elsewhere() -> None:
            with pytest.raises(RuntimeError, match=r"started in another event loop.*run_coroutine_threadsafe"):
                await producer.send_event({}, "X")

        async with producer_on(cluster) as producer:
            await asyncio.to_thread(asyncio.run, elsewhere())

    @pytest.mark.parametrize("start_timeout_ms", [500, 1200])
    async def test_a_start_that_reaches_no_broker_names_the_limit_as_it_was_given(self, start_timeout_ms: int) -> None:
        with closed_port() as port:
            producer = EVKafkaProducer({"bootstrap_servers": f"127.0.0.1:{port}", "start_timeout_ms": start_timeout_ms})
            with pytest.raises(BrokerUnavailable, match=rf"within {start_timeout_ms} ms \(start_timeout_ms\)"):
                await producer.start()


class TestConfig:
    @pytest.mark.parametrize(
        ("config", "words"),
        [
            ({"transactional_id": "x"}, "transactional_id.*those of a consumer"),
            ({"acks": 1, "enable_idempotence": True}, "True needs acks 'all', but acks is 1"),
            ({"acks": 0, "enable_idempotence": True}, "True needs acks 'all', but acks is 0"),
            ({"acks": 2}, "acks"),
            ({"value_serializer": str}, "payloads are encoded by their type"),
            ({"ack": 1}, "acks"),
            ({"linger_ms": 200_000}, "not below delivery_timeout_ms"),
        ],
    )
    def test_contradictions_are_an_error_at_once(self, config: Any, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            EVKafkaProducer({"topic": "t", **config})

    def test_the_defaults_lose_and_double_nothing(self) -> None:
        settings = EVKafkaProducer({}).settings
        assert (settings.acks, settings.enable_idempotence, settings.delivery_timeout_s) == ("all", True, 120.0)


class TestTimeLeft:
    @pytest.mark.parametrize(
        ("left_s", "sending_s"), [(None, None), (500.0, None), (20.0, 19.0), (2.0, 1.0), (1.0, 0.5), (0.2, 0.1)]
    )
    async def test_a_send_in_an_attempt_leaves_some_of_its_time(
        self, cluster: TakingCluster, left_s: float | None, sending_s: float | None
    ) -> None:
        remaining.set(lambda: left_s)
        async with producer_on(cluster) as producer:
            await producer.send_event({}, "X")
        assert cluster.last.timeout_s == sending_s

    @pytest.mark.parametrize("left_s", [0.0, -3.0])
    async def test_without_time_left_nothing_is_sent(self, cluster: TakingCluster, left_s: float) -> None:
        remaining.set(lambda: left_s)
        async with producer_on(cluster) as producer:
            with pytest.raises(
                DeliveryError, match=r"event 'X' to topic 't' was not sent: .*exceeded its time limit"
            ) as e:
                await producer.send_event({}, "X")
        assert e.value.may_have_been_written is False
        assert not cluster.taken
