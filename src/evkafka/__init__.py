"""EVKafka: event-driven services on Apache Kafka.

from evkafka import EVKafkaApp, Handler

handler = Handler()

@handler.event("OrderPlaced")
async def on_order(order: dict) -> None: ...

app = EVKafkaApp()
app.add_consumer({"topics": ["orders"], "bootstrap_servers": "localhost:9092", "group_id": "billing"}, handler)
app.run()
"""

from typing import TYPE_CHECKING, Any

from evkafka.app import EVKafkaApp, EVkafkaApp
from evkafka.config import (
    BrokerConfig,
    ConsumerConfig,
    ErrorPolicy,
    ProducerConfig,
    TopicConfig,
    consumer_config,
    producer_config,
)
from evkafka.context import App, Context, Request
from evkafka.depends import Depends
from evkafka.exceptions import (
    BrokerError,
    ConfigError,
    DecodeError,
    DeliveryError,
    EndpointError,
    EndpointTimeout,
    EVKafkaError,
    ForcedExit,
    RecordError,
    StartFailed,
    StopApp,
)
from evkafka.handler import Handler
from evkafka.middleware import Middleware
from evkafka.outcomes import BatchError, DeadLetter, Retry, Skip
from evkafka.producer import EVKafkaProducer
from evkafka.records import RecordMetadata
from evkafka.sender import Sender
from evkafka.serde.cloudevents.event import CloudEvent

if TYPE_CHECKING:
    from evkafka.testing.client import TestClient

__all__ = [
    "App",
    "BatchError",
    "BrokerConfig",
    "BrokerError",
    "CloudEvent",
    "ConfigError",
    "ConsumerConfig",
    "Context",
    "DeadLetter",
    "DecodeError",
    "DeliveryError",
    "Depends",
    "EVKafkaApp",
    "EVKafkaError",
    "EVKafkaProducer",
    "EVkafkaApp",
    "EndpointError",
    "EndpointTimeout",
    "ErrorPolicy",
    "ForcedExit",
    "Handler",
    "Middleware",
    "ProducerConfig",
    "RecordError",
    "RecordMetadata",
    "Request",
    "Retry",
    "Sender",
    "Skip",
    "StartFailed",
    "StopApp",
    "TestClient",
    "TopicConfig",
    "consumer_config",
    "producer_config",
]


if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> Any:
        """The test kit is imported only when it is used: a service never uses it."""
        if name == "TestClient":
            from evkafka.testing.client import TestClient

            return TestClient
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
