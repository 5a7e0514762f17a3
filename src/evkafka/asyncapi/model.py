"""The declarations that the document is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evkafka.config.settings import ConsumerSettings, ErrorPolicySettings, ProducerSettings
from evkafka.endpoints.endpoint import Endpoint
from evkafka.sender import OutboundEndpoint
from evkafka.serde.cloudevents.writing import CloudEventsEnvelope


@dataclass(frozen=True, slots=True)
class Info:
    """Title, owner and terms of the app. Texts may be Markdown."""

    title: str
    version: str
    description: str | None = None
    terms_of_service: str | None = None
    contact: Mapping[str, str] | None = None
    license: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ConsumerContract:
    """A declared consumer.

    Attributes:
        endpoints: None if an app callable takes the records, about which nothing is declared.
        policies: the error policy of each endpoint, merged over the consumer's. The key None has the consumer's own.
        type_header: the header with the event type.
    """

    name: str
    settings: ConsumerSettings
    endpoints: tuple[Endpoint, ...] | None
    policies: Mapping[Endpoint | None, ErrorPolicySettings]
    type_header: str


@dataclass(frozen=True, slots=True)
class ProducerContract:
    """A declared producer.

    Attributes:
        envelope: of its sender's events; None if they have none.
    """

    name: str
    settings: ProducerSettings
    endpoints: tuple[OutboundEndpoint[Any], ...]
    envelope: CloudEventsEnvelope | None = None


@dataclass(frozen=True, slots=True)
class AppContract:
    """All declarations of an app."""

    info: Info
    consumers: tuple[ConsumerContract, ...]
    producers: tuple[ProducerContract, ...]
