"""Values with a schema as JSON, for those who browse a topic."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from evkafka.formats import SchemaRegistry
from evkafka.serde.formats.plain_reader import PlainReader, PlainRecord
from evkafka.testing import InMemoryRegistry
from tests.support.endpoint_calls import FakeRecord


@pytest.fixture
async def reader(registry: SchemaRegistry) -> AsyncIterator[PlainReader]:
    reader = PlainReader(registry)
    yield reader
    await reader.close()


@pytest.fixture
def frame(server: InMemoryRegistry) -> bytes:
    return b"\0" + server.register("accounts-value", {"type": "object"}, "JSON").id.to_bytes(4)


class TestAJsonValueThatCannotBeDecoded:
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b'{"password": hunter2}', id="no JSON"),
            pytest.param(b'{"password": "hunter2\xff"}', id="no UTF-8"),
            pytest.param(b'{"password": "hunter2\\ud800"}', id="half of a surrogate pair"),
            pytest.param(b'{"password": ' + b"9" * 5000 + b"}", id="a number of 5000 digits"),
            pytest.param(b"[" * 400 + b'"hunter2"' + b"]" * 400, id="nested too deeply"),
        ],
    )
    async def test_has_a_fault_without_its_content_and_the_others_are_decoded(
        self, reader: PlainReader, frame: bytes, content: bytes
    ) -> None:
        values = [frame + b'{"n": 1}', frame + content, frame + b'{"n": 3}']
        first, refused, last = await reader.convert_record_values_to_json([FakeRecord(value) for value in values])
        assert (first.value, last.value) == (b'{"n":1}', b'{"n":3}')
        assert isinstance(refused, PlainRecord)
        assert refused.value == values[1]
        assert refused.fault.startswith("it cannot be read as JSON: ")
        assert "hunter2" not in refused.fault
        assert "999" not in refused.fault


class TestAFailureOfAnyLibrary:
    async def test_is_the_fault_of_its_value_alone_and_its_text_is_not_shown(
        self, reader: PlainReader, frame: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail_for_the_second(plain: dict[str, int]) -> bytes:
            if plain["n"] == 2:
                raise LookupError("hunter2")
            return b"written"

        monkeypatch.setattr("evkafka.serde.formats.plain_reader._json_bytes_of_plain_value", fail_for_the_second)
        records = [FakeRecord(frame + b'{"n": %d}' % number) for number in (1, 2, 3)]
        first, refused, last = await reader.convert_record_values_to_json(records)
        assert (first.value, last.value) == (b"written", b"written")
        assert isinstance(refused, PlainRecord)
        assert refused.fault.startswith("LookupError in ")
        assert "hunter2" not in refused.fault
