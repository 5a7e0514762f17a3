"""Values of any format, as a consumer decodes them, and what a sender asks an encoder for."""

from __future__ import annotations

from typing import Any

from evkafka.formats import ValueFormat
from evkafka.records import NotReady
from evkafka.serde.decoding import decoder_for
from evkafka.serde.formats.interface import Outgoing
from tests.support.endpoint_calls import FakeRecord


async def decode(value_format: ValueFormat, annotation: Any, value: bytes, headers: Any = ()) -> Any:
    """The payload, once the registry has answered."""
    decode_it = value_format.decoder(annotation, decoder_for(annotation))
    record = FakeRecord(value, headers)
    try:
        return decode_it(value, record)
    except NotReady as waiting:
        await waiting.ready
    return decode_it(value, record)


def outgoing(annotation: Any, topic: str = "orders") -> Outgoing:
    return Outgoing("endpoint send", topic, "Order", annotation)
