"""Request and state: the record behind the payload."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import Handler, Request
from evkafka.exceptions import UnsupportedValueError
from evkafka.state import State
from tests.support.endpoint_calls import FakeRecord, give, record, slot


async def requested(given: FakeRecord, stack: Any, *, state: Any = None, attempt: int = 1) -> Request:
    handler, seen = Handler(), list[Request]()

    @handler.event("A")
    async def on_a(value: bytes | None, request: Request) -> None:
        seen.append(request)

    at = slot(state)
    at.attempt = attempt
    await give(handler, given, middleware=stack, at=at)
    return seen[0]


class TestRequest:
    async def test_shows_the_records_topic_partition_and_offset(self, stack: Any) -> None:
        request = await requested(record("A", b"v"), stack, attempt=3)
        assert (request.topic, request.partition, request.offset) == ("orders", 2, 7)
        assert (request.key, request.value, request.timestamp_ms) == (b"k", b"v", 1_700_000_000_123)
        assert (request.event_type, request.attempt) == ("A", 3)

    async def test_its_context_shows_the_consumer_and_the_offset_is_the_offset(self, stack: Any) -> None:
        consumer = (await requested(record("A"), stack)).context.consumer
        assert (consumer.name, consumer.group_id, consumer.client_id) == ("billing", "billing-group", "evkafka")
        assert (consumer.topic, consumer.partition, consumer.offset) == ("orders", 2, 7)
        assert (consumer.cluster_name, consumer.timestamp) == ("eu", 1_700_000_000_123)

    async def test_its_context_shows_the_message(self, stack: Any) -> None:
        message = (await requested(record("A", b"v"), stack)).context.message
        assert (message.key, message.value, message.event_type) == (b"k", b"v", "A")
        assert message.headers == (("Event-Type", b"A"),)
        assert message.decoded_value_cb is None

    async def test_the_last_of_repeated_headers_wins_and_null_ones_are_left_out(self, stack: Any) -> None:
        headers = [("a", b"1"), ("n", None), ("a", b"2")]
        request = await requested(record("A", headers=headers), stack)
        assert request.headers == {"Event-Type": b"A", "a": b"2"}
        assert request.raw_headers == (("Event-Type", b"A"), *headers)

    async def test_keeps_its_attempt_number_when_the_slot_has_the_next_attempt(self, stack: Any) -> None:
        handler, seen = Handler(), list[Request]()

        @handler.event("A")
        async def on_a(value: bytes, request: Request) -> None:
            seen.append(request)

        at = slot()
        at.attempt = 4
        await give(handler, record("A"), middleware=stack, at=at)
        at.attempt = 1
        assert seen[0].attempt == 4

    @pytest.mark.parametrize(("value", "content"), [(b'{"a": 1}', {"a": 1}), (b"[]", []), (b"5", 5)])
    async def test_json_is_the_value_decoded(self, value: bytes, content: Any, stack: Any) -> None:
        assert await (await requested(record("A", value), stack)).json() == content

    @pytest.mark.parametrize("value", [None, b"", b"no", b"\xff", b'{"a": ' * 100_000], ids=lambda v: repr(v)[:12])
    async def test_json_of_a_value_that_is_not_json_is_an_unsupported_value(
        self, value: bytes | None, stack: Any
    ) -> None:
        request = await requested(record("A", value), stack)
        with pytest.raises(UnsupportedValueError, match=r"orders\[2\]@7 is not JSON"):
            await request.json()


class TestState:
    async def test_has_the_values_of_the_lifespan_by_attribute_and_by_item(self, stack: Any) -> None:
        state = (await requested(record("A"), stack, state={"engine": 5})).state
        assert (state.engine, state["engine"], dict(state)) == (5, 5, {"engine": 5})

    async def test_is_a_shallow_copy_for_each_attempt(self, stack: Any) -> None:
        shared: dict[str, Any] = {"cache": []}
        request = await requested(record("A"), stack, state=shared)
        request.state.mine = 1
        request.state.cache.append(2)
        assert shared == {"cache": [2]}
        assert request.context.state == {"cache": [2], "mine": 1}

    async def test_a_missing_name_is_an_attribute_error_that_lists_the_existing_names(self, stack: Any) -> None:
        state = (await requested(record("A"), stack, state={"engine": 5, "db": 1})).state
        with pytest.raises(AttributeError, match=r"no 'motor'; .* have set db, engine"):
            state.motor  # noqa: B018
        with pytest.raises(KeyError):
            state["motor"]
        assert not hasattr(state, "motor")

    @pytest.mark.parametrize("name", ["items", "keys", "values", "get", "pop", "update", "_values"])
    def test_a_value_hides_a_method_of_the_same_name(self, name: str) -> None:
        state = State({name: 5})
        assert getattr(state, name) == 5
        assert state[name] == 5
        assert list(state) == [name]

    def test_is_a_mapping_otherwise(self) -> None:
        state = State({"a": 1})
        state.b = 2
        state["c"] = 3
        del state["a"]
        del state.b
        assert (state.get("c"), state.get("a", 9), list(state.items()), len(state)) == (3, 9, [("c", 3)], 1)
        with pytest.raises(AttributeError, match="no 'b' to delete"):
            del state.b

    def test_its_repr_shows_names_only(self) -> None:
        assert repr(State({"password": "hunter2"})) == "State(password)"
