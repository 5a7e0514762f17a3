"""Senders: the records that calls of outbound events send, and the errors of calls that cannot send."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from aiokafka import structs
from pydantic import BaseModel
from typing_extensions import TypedDict

from evkafka import EVKafkaApp, RecordMetadata, Sender
from evkafka.exceptions import ConfigError, DeliveryError, EncodeError, StartFailed
from tests.kafka.producer.sinks import TakingCluster


class Order(BaseModel):
    order_id: str
    total: float = 1.5


@dataclass
class Parcel:
    number: int


class Flight(TypedDict):
    tail: str


@pytest.fixture
def cluster() -> TakingCluster:
    return TakingCluster()


def app_with(sender: Sender, **config: Any) -> EVKafkaApp:
    app = EVKafkaApp()
    app.add_producer({"bootstrap_servers": "nowhere:9092", "topic": "default-topic", **config}, sender)  # type: ignore[typeddict-item]
    return app


@asynccontextmanager
async def running(sender: Sender, cluster: TakingCluster, **config: Any) -> AsyncIterator[None]:
    async with app_with(sender, **config).running(cluster=cluster):
        yield


class TestCalls:
    async def test_the_payload_is_given_by_position_or_by_name(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("OrderPlaced")
        async def send_order(order: Order) -> None:
            raise AssertionError("its body is not run")

        async with running(sender, cluster):
            await send_order(Order(order_id="1"))
            await send_order(order=Order(order_id="2"))
        assert [json.loads(taken.value or b"")["order_id"] for taken in cluster.taken] == ["1", "2"]

    async def test_the_options_of_a_call_reach_the_record(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("OrderPlaced")
        async def send_order(order: Order) -> None: ...

        async with running(sender, cluster):
            await send_order(
                Order(order_id="1"), key="k", partition=0, timestamp_ms=0, headers={"trace": b"1", "name": "ä"}
            )
        taken = cluster.last
        assert (taken.key, taken.partition, taken.timestamp_ms) == (b"k", 0, 0)
        assert taken.headers == [("Event-Type", b"OrderPlaced"), ("trace", b"1"), ("name", "ä".encode())]

    @pytest.mark.parametrize("key", ["", b""])
    async def test_an_empty_key_is_a_key(self, cluster: TakingCluster, key: str | bytes) -> None:
        sender = Sender()

        @sender.event("OrderPlaced")
        async def send_order(order: Order) -> None: ...

        async with running(sender, cluster):
            await send_order(Order(order_id="1"), key=key)
        assert cluster.last.key == b""

    async def test_a_call_returns_the_events_partition_and_offset(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("OrderPlaced", topic="orders")
        async def send_order(order: Order) -> None: ...

        async with running(sender, cluster):
            sent = await send_order(Order(order_id="1"), partition=2)
        assert isinstance(sent, RecordMetadata)
        assert (sent.topic, sent.partition, sent.offset) == ("orders", 2, 0)

    async def test_the_result_has_the_attributes_of_aiokafkas(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("OrderPlaced", topic="orders")
        async def send_order(order: Order) -> None: ...

        async with running(sender, cluster):
            sent = await send_order(Order(order_id="1"), partition=2, timestamp_ms=5)
        of_client = structs.RecordMetadata("orders", 2, structs.TopicPartition("orders", 2), 0, 5, 0, 0)
        assert {name: getattr(sent, name) for name in of_client._fields} == of_client._asdict()
        assert hash(sent.topic_partition) == hash(of_client.topic_partition)  # either is found by the other in a dict

    async def test_awaiting_the_result_once_more_gives_itself_and_warns(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("OrderPlaced")
        async def send_order(order: Order) -> None: ...

        async with running(sender, cluster):
            sent = await send_order(Order(order_id="1"))
            with pytest.warns(DeprecationWarning, match="already been confirmed") as said:
                assert await sent is sent  # type: ignore[misc]
        assert said[0].filename == __file__

    async def test_a_refusal_of_the_broker_is_raised(self, cluster: TakingCluster) -> None:
        sender = Sender()
        cluster.refusal = DeliveryError("no", topic="t", event_type="OrderPlaced", may_have_been_written=False)

        @sender.event("OrderPlaced")
        async def send_order(order: Order) -> None: ...

        async with running(sender, cluster):
            with pytest.raises(DeliveryError, match="no"):
                await send_order(Order(order_id="1"))

    async def test_one_payload_and_nothing_unknown(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("OrderPlaced")
        async def send_order(order: Order) -> None: ...

        call: Any = send_order
        async with running(sender, cluster):
            for args, named in (((), {}), ((1, 2), {}), ((1,), {"order": 2}), ((), {"ordre": 1})):
                with pytest.raises(TypeError, match=r"send_order takes one payload, positional or as order="):
                    await call(*args, **named)
        assert not cluster.taken

    async def test_the_topic_is_the_endpoints_then_the_configurations(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("A", topic="own")
        async def send_a(event: str) -> None: ...

        @sender.event("B")
        async def send_b(event: str) -> None: ...

        async with running(sender, cluster):
            await send_a("x")
            await send_b("x")
        assert [taken.topic for taken in cluster.taken] == ["own", "default-topic"]


class TestPayloads:
    @pytest.mark.parametrize(
        ("annotation", "event", "value"),
        [
            (dict, {"a": 1}, b'{"a": 1}'),
            (dict[str, Any], {"a": None}, b'{"a": null}'),
            (str, "ä", "ä".encode()),
            (bytes, b"\x00", b"\x00"),
            (Order, Order(order_id="1"), b'{"order_id":"1","total":1.5}'),
            (Parcel, Parcel(7), b'{"number":7}'),
            (list[int], [1, 2], b"[1,2]"),
            (Flight, {"tail": "N1"}, b'{"tail":"N1"}'),
            (Any, {"a": 1}, b'{"a": 1}'),
            (Order | None, Order(order_id="1"), b'{"order_id":"1","total":1.5}'),
        ],
    )
    async def test_are_encoded_by_their_type(
        self, cluster: TakingCluster, annotation: Any, event: Any, value: bytes
    ) -> None:
        sender = Sender()

        async def send(event: Any) -> None: ...

        send.__annotations__["event"] = annotation
        endpoint = sender.event("X")(send)
        async with running(sender, cluster):
            await endpoint(event)
        assert cluster.last.value == value

    @pytest.mark.parametrize(
        ("annotation", "event"),
        [
            (Order, {"order_id": "1"}),
            (dict, "text"),
            (str, b"bytes"),
            (bytes, "text"),
            (list[int], ["1"]),
            (Order, None),
            (Parcel, {"number": 1}),
        ],
    )
    async def test_of_another_type_are_an_error_before_anything_is_sent(
        self, cluster: TakingCluster, annotation: Any, event: Any
    ) -> None:
        sender = Sender()

        async def send(event: Any) -> None: ...

        send.__annotations__["event"] = annotation
        endpoint = sender.event("OrderPlaced")(send)
        async with running(sender, cluster):
            with pytest.raises(
                TypeError, match=r"send sends event 'OrderPlaced' to topic 'default-topic': expected"
            ) as e:
                await endpoint(event)
        assert isinstance(e.value, EncodeError)
        assert e.value.may_have_been_written is False
        assert not cluster.taken

    async def test_a_value_that_json_cannot_represent_is_an_error_that_names_the_event(
        self, cluster: TakingCluster
    ) -> None:
        sender = Sender()

        @sender.event("Odd")
        async def send(event: dict[str, Any]) -> None: ...

        async with running(sender, cluster):
            with pytest.raises(EncodeError, match=r"event 'Odd' to topic 'default-topic': .*not JSON serializable"):
                await send({"a": object()})

    async def test_none_is_a_tombstone_if_the_payload_admits_it(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("OrderPlaced", key_field="order_id")
        async def send_order(order: Order | None) -> None: ...

        async with running(sender, cluster):
            await send_order(None, key="1")
            assert (cluster.last.value, cluster.last.key) == (None, b"1")
            with pytest.raises(EncodeError, match="None is a tombstone, which needs a key"):
                await send_order(None)

    async def test_local_types_with_postponed_annotations_work(self, cluster: TakingCluster) -> None:
        class Local(BaseModel):
            number: int

        sender = Sender()

        @sender.event("X")
        async def send(event: Local) -> None: ...

        @sender.event("Y")
        async def send_late(event: Late) -> None: ...

        class Late(BaseModel):
            number: int

        names: dict[str, Any] = {"Late": Late}
        send_late._outbound._names = {**(send_late._outbound._names or {}), **names}
        async with running(sender, cluster):
            await send(Local(number=1))
            await send_late(Late(number=2))
        assert [taken.value for taken in cluster.taken] == [b'{"number":1}', b'{"number":2}']


class TestKeys:
    async def test_key_field_takes_the_key_from_a_models_field(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("OrderPlaced", key_field="order_id")
        async def send_order(order: Order) -> None: ...

        async with running(sender, cluster):
            await send_order(Order(order_id="42"))
        assert cluster.last.key == b"42"

    async def test_key_field_takes_the_key_from_a_dicts_item(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("FlightSeen", key_field="tail")
        async def send_flight(flight: dict[str, Any]) -> None: ...

        async with running(sender, cluster):
            await send_flight({"tail": 17})
            with pytest.raises(
                EncodeError, match=r"event 'FlightSeen' to .*its key could not be created: KeyError: 'tail'"
            ):
                await send_flight({})
        assert [taken.key for taken in cluster.taken] == [b"17"]

    async def test_a_callable_makes_the_key(self, cluster: TakingCluster) -> None:
        sender = Sender()
        number = UUID(int=7)

        @sender.event("OrderPlaced", key=lambda order: number)
        async def send_order(order: Order) -> None: ...

        async with running(sender, cluster):
            await send_order(Order(order_id="42"))
        assert cluster.last.key == str(number).encode()

    @pytest.mark.parametrize(("given", "key"), [("own", b"own"), (0, b"0"), (b"\x00", b"\x00"), (None, None)])
    async def test_the_calls_key_wins_also_none(self, cluster: TakingCluster, given: Any, key: bytes | None) -> None:
        sender = Sender()

        @sender.event("OrderPlaced", key_field="order_id")
        async def send_order(order: Order) -> None: ...

        async with running(sender, cluster):
            await send_order(Order(order_id="42"), key=given)
        assert cluster.last.key == key

    async def test_a_key_of_no_such_type_is_an_error(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("OrderPlaced", key_field="total")
        async def send_order(order: Order) -> None: ...

        async with running(sender, cluster):
            with pytest.raises(EncodeError, match="a key must be bytes, str, int, UUID or None, not float"):
                await send_order(Order(order_id="42"))

    @pytest.mark.parametrize("payload", [Order, Parcel, Flight, str])
    def test_a_key_field_that_the_payload_does_not_have_is_an_error_at_registration(self, payload: Any) -> None:
        async def send(event: Any) -> None: ...

        send.__annotations__["event"] = payload
        with pytest.raises(ConfigError, match="key_field 'oder_id' is not a field of its payload"):
            Sender().event("OrderPlaced", key_field="oder_id")(send)

    def test_key_and_key_field_exclude_each_other(self) -> None:
        with pytest.raises(ConfigError, match="give key or key_field, not both"):
            Sender().event("X", key=str, key_field="a")

    def test_a_fields_name_as_key_is_an_error_that_names_key_field(self) -> None:
        wrong: Any = "order_id"
        with pytest.raises(ConfigError, match="give its name as key_field"):
            Sender().event("X", key=wrong)


class TestDeclaring:
    @pytest.mark.parametrize("name", ["key", "partition", "timestamp_ms", "headers"])
    def test_a_payload_named_like_an_option_is_an_error(self, name: str) -> None:
        names: dict[str, Any] = {}
        exec(f"async def send({name}: dict) -> None: ...", names)
        with pytest.raises(ConfigError, match=f"its payload cannot be named '{name}'"):
            Sender().event("X")(names["send"])

    def test_it_takes_one_payload_with_an_annotation(self) -> None:
        async def none() -> None: ...
        async def two(a: str, b: str) -> None: ...
        async def many(*a: str) -> None: ...
        async def bare(a) -> None: ...  # type: ignore[no-untyped-def]

        for function, words in ((none, "takes 0"), (two, "takes 2"), (many, "takes 1"), (bare, "has no annotation")):
            declare: Any = Sender().event("X")
            with pytest.raises(ConfigError, match=words):
                declare(function)

    def test_one_type_goes_to_several_topics_but_twice_to_none(self) -> None:
        sender = Sender()

        async def send(event: str) -> None: ...

        sender.event("X", topic="a")(send)
        sender.event("X", topic="b")(send)
        with pytest.raises(ConfigError, match="event type 'X' is declared twice for the same topic in this Sender"):
            sender.event("X", topic="a")(send)
        assert [endpoint.topic for endpoint in sender.endpoints] == ["a", "b"]

    def test_an_illegal_topic_is_an_error(self) -> None:
        with pytest.raises(ConfigError, match="is not a valid topic name"):
            Sender().event("X", topic="a b")

    def test_the_declared_events_can_be_read(self) -> None:
        sender = Sender()

        @sender.event("OrderPlaced", topic="orders", summary="Placed", tags=["a"])
        async def send_order(order: Order) -> None:
            """An order was placed."""

        [endpoint] = sender.endpoints
        assert endpoint is send_order
        assert (endpoint.event_type, endpoint.topic, endpoint.payload_type) == ("OrderPlaced", "orders", Order)
        assert (endpoint.summary, endpoint.description, endpoint.tags) == ("Placed", "An order was placed.", ("a",))
        assert send_order.__doc__ == "An order was placed."
        assert send_order.__name__ == "send_order"  # type: ignore[attr-defined]


class TestBeforeTheStart:
    async def test_an_event_without_a_topic_keeps_the_app_from_starting(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("OrderPlaced")
        async def send_order(order: Order) -> None: ...

        with pytest.raises(StartFailed, match=r"send_order: no topic. Pass `topic=` to @sender.event") as error:
            async with running(sender, cluster, topic=None):
                raise AssertionError("it starts")
        assert isinstance(error.value.__cause__, ConfigError)
        assert cluster.calls == []  # nothing was dialled for it

    def test_a_sender_on_two_producers_is_an_error(self) -> None:
        sender = Sender()
        app = app_with(sender)
        with pytest.raises(ConfigError, match="this Sender already uses producer 'producer-1'"):
            app.add_producer({"bootstrap_servers": "b:1"}, sender)

    async def test_a_sender_on_two_running_apps_is_an_error(self, cluster: TakingCluster) -> None:
        sender = Sender()
        async with running(sender, cluster):
            with pytest.raises(StartFailed, match="already uses another app's producer"):
                async with running(sender, TakingCluster()):
                    raise AssertionError("it starts")

    async def test_an_annotation_that_does_not_exist_keeps_the_app_from_starting(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("X")
        async def send(event: NoSuchThing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

        with pytest.raises(StartFailed, match="'NoSuchThing' in its annotation does not exist"):
            async with running(sender, cluster):
                raise AssertionError("it starts")


class TestPlaceOfTheCall:
    async def test_before_the_start_and_after_the_stop_it_is_an_error(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("OrderPlaced")
        async def send_order(order: Order) -> None: ...

        with pytest.raises(RuntimeError, match=r"send_order cannot send now.*Was the Sender passed to app"):
            await send_order(Order(order_id="1"))
        async with running(sender, cluster):
            await send_order(Order(order_id="1"))
        with pytest.raises(RuntimeError, match="send_order cannot send now"):
            await send_order(Order(order_id="1"))
        with pytest.raises(RuntimeError, match="send_order cannot send now"):
            await asyncio.to_thread(send_order.from_thread, Order(order_id="1"))

    async def test_it_sends_again_after_a_second_start(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("X")
        async def send(event: str) -> None: ...

        app = app_with(sender)
        for _ in range(2):
            async with app.running(cluster=cluster):
                await send("x")
        assert len(cluster.taken) == 2

    async def test_in_the_lifespan_it_is_an_error_that_explains_what_to_do(self, cluster: TakingCluster) -> None:
        sender = Sender()
        said: list[str] = []

        @sender.event("X")
        async def send(event: str) -> None: ...

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[Mapping[str, Any]]:
            for _ in range(2):
                with pytest.raises(RuntimeError) as error:
                    await send("x")
                said.append(str(error.value))
                if len(said) == 1:
                    yield {}

        app = EVKafkaApp(lifespan=lifespan)
        app.add_producer({"topic": "t"}, sender)
        async with app.running(cluster=cluster):
            await send("x")
        assert len(said) == 2
        assert all("in the lifespan, use a separate EVKafkaProducer" in one for one in said)

    def test_without_a_running_loop_it_raises_at_once_and_names_from_thread(self) -> None:
        sender = Sender()

        @sender.event("X")
        async def send(event: str) -> None: ...

        with pytest.raises(RuntimeError, match=r"call send.from_thread\(...\) there"):
            send("x")  # not awaited: the call itself raises, and leaves no coroutine behind

    async def test_from_thread_sends_and_returns_the_events_partition_and_offset(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("X", key_field="id")
        async def send(event: dict[str, int]) -> None: ...

        async with running(sender, cluster):
            sent = await asyncio.to_thread(send.from_thread, {"id": 3}, partition=1)
            await asyncio.to_thread(send.from_thread, event={"id": 4})
        assert (sent.partition, sent.offset) == (1, 0)
        assert [taken.key for taken in cluster.taken] == [b"3", b"4"]

    async def test_from_thread_raises_the_errors_of_the_send(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("X")
        async def send(event: str) -> None: ...

        wrong: Any = 1
        cluster.refusal = DeliveryError("no", topic="t", event_type="X", may_have_been_written=False)
        async with running(sender, cluster):
            with pytest.raises(DeliveryError, match="no"):
                await asyncio.to_thread(send.from_thread, "x")
            with pytest.raises(EncodeError, match="expected str, got int"):
                await asyncio.to_thread(send.from_thread, wrong)

    async def test_from_thread_in_the_apps_own_loop_is_an_error(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("X")
        async def send(event: str) -> None: ...

        async with running(sender, cluster):
            with pytest.raises(RuntimeError, match=r"app's own event loop: await .*send\(...\)"):
                send.from_thread("x")

    async def test_in_another_loop_it_is_an_error_that_names_from_thread(self, cluster: TakingCluster) -> None:
        sender = Sender()

        @sender.event("X")
        async def send(event: str) -> None: ...

        async def elsewhere() -> None:
            with pytest.raises(RuntimeError, match=r"an event loop that is not the app's: call send.from_thread"):
                await send("x")
            with warnings.catch_warnings(record=True) as said:
                send.from_thread("y")
            assert not said

        async with running(sender, cluster):
            await asyncio.to_thread(asyncio.run, elsewhere())
        assert [taken.value for taken in cluster.taken] == [b"y"]
