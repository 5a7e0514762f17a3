"""What the document is made of: the app's declarations, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evkafka.config.settings import ConsumerSettings, ErrorPolicySettings, ProducerSettings
from evkafka.endpoints.endpoint import Endpoint
from evkafka.sender import OutboundEndpoint


@dataclass(frozen=True, slots=True)
class Info:
    """Who offers this, under which terms. Texts may be Markdown."""

    title: str
    version: str
    description: str | None = None
    terms_of_service: str | None = None
    contact: Mapping[str, str] | None = None
    license: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Consumed:
    """A consumer.

    Attributes:
        endpoints: None where an app callable takes its records, of which nothing is known.
        policies: each endpoint's error policy, merged over the consumer's; at None the consumer's own.
        type_header: the header that its stack reads the event type from.
    """

    name: str
    settings: ConsumerSettings
    endpoints: tuple[Endpoint, ...] | None
    policies: Mapping[Endpoint | None, ErrorPolicySettings]
    type_header: str


@dataclass(frozen=True, slots=True)
class Produced:
    """A producer."""

    name: str
    settings: ProducerSettings
    endpoints: tuple[OutboundEndpoint[Any], ...]


@dataclass(frozen=True, slots=True)
class Declared:
    info: Info
    consumers: tuple[Consumed, ...]
    producers: tuple[Produced, ...]
