"""The app as its dashboard sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from evkafka.control import ConsumerControl
from evkafka.http.app_view import AppView
from evkafka.service.plan import DeclaredConsumer, DeclaredProducer
from evkafka.service.service import Service
from evkafka.telemetry import Telemetry


class OperatedApp(AppView, Protocol):
    """An app, as its dashboard sees it."""

    @property
    def version(self) -> str: ...
    @property
    def started_as(self) -> str | None: ...
    @property
    def telemetry(self) -> Telemetry: ...
    @property
    def service(self) -> Service | None: ...
    @property
    def consumers(self) -> Mapping[str, DeclaredConsumer]: ...
    @property
    def producers(self) -> Mapping[str, DeclaredProducer]: ...
    def consumer(self, name: str) -> ConsumerControl: ...


@dataclass(frozen=True, slots=True)
class EndpointName:
    """An endpoint.

    Attributes:
        event_type: None for a default endpoint, and for an app callable, which takes all records.
    """

    event_type: str | None
    name: str


def endpoint_names(declared: DeclaredConsumer) -> list[EndpointName]:
    if declared.endpoints is not None:
        return [
            EndpointName(None if endpoint.is_default else endpoint.event_type, endpoint.name)
            for endpoint in declared.endpoints
        ]
    target = declared.target
    name = getattr(target, "__qualname__", type(target).__qualname__)
    return [EndpointName(None, f"{getattr(target, '__module__', '')}.{name}")]
