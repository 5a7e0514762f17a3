"""Encodes JSON text, as commands are given it, in the format of a consumer's topic."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from evkafka.endpoints.endpoint import Endpoint
from evkafka.exceptions import EVKafkaError
from evkafka.serde.annotations import bytes_or_str_type
from evkafka.serde.decode_errors import decode_error_text
from evkafka.serde.formats.interface import Encode, Outgoing

EncodeJson = Callable[[str | bytes], bytes]
"""Encodes a payload, given as JSON. Raises PayloadFault."""


class PayloadFault(EVKafkaError):
    """The text is not JSON, or not a payload of the endpoint, or does not fit the schema; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a payload is sent.

    Attributes:
        place: the payload, in errors about its schema.
        topic: the schema is looked up in this topic's subject.
        endpoint: the one that will decode the value; None if it is not known: then any payload that fits the schema is
            taken.
    """

    place: str
    topic: str
    event_type: str | None
    endpoint: Endpoint | None


async def create_json_to_topic_format_encoder(
    encoder: Callable[[Outgoing], Awaitable[Encode]], target: Target
) -> EncodeJson:
    """A function that encodes JSON text in the topic's format, by the schema that is looked up now.

    Args:
        encoder: a method of the topic's `ValueFormat`: which schema is used.

    Raises:
        ConfigError: the registry has no such schema.
        RegistryError: it cannot be asked.
    """
    endpoint = target.endpoint
    decoder = endpoint.resolve_decoder() if endpoint is not None else None
    from_object = decoder.from_object if decoder is not None else None
    annotation = (
        endpoint.payload_type
        if endpoint is not None and bytes_or_str_type(endpoint.payload_type) is not bytes
        else dict
    )
    encode = await encoder(Outgoing(target.place, target.topic, target.event_type or "", annotation))

    def encode_json(text: str | bytes) -> bytes:
        try:
            payload = json.loads(text)
            return encode(payload if from_object is None else from_object(payload))
        except json.JSONDecodeError as error:
            raise PayloadFault(f"it is not JSON: {error}") from error
        except Exception as error:  # a validator may raise anything
            names = decoder.names() if decoder is not None else frozenset[str]()
            why = str(error) if isinstance(error, TypeError) else decode_error_text(error, names)
            raise PayloadFault(why) from error

    return encode_json
