"""EVKafka: event-driven services on Apache Kafka.

from evkafka import EVKafkaApp, Handler

handler = Handler()

@handler.event("OrderPlaced")
async def on_order(order: dict) -> None: ...

app = EVKafkaApp()
app.add_consumer({"topics": ["orders"], "bootstrap_servers": "localhost:9092", "group_id": "billing"}, handler)
app.run()
"""

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
from evkafka.exceptions import (
    BrokerError,
    ConfigError,
    DecodeError,
    DeliveryError,
    EndpointError,
    EndpointTimeout,
    EVKafkaError,
    RecordError,
)
from evkafka.handler import Handler
from evkafka.middleware import Middleware
from evkafka.outcomes import DeadLetter, Retry, Skip
from evkafka.ports import RecordMetadata
from evkafka.runtime.producer import EVKafkaProducer
from evkafka.sender import Sender

__all__ = [
    "App",
    "BrokerConfig",
    "BrokerError",
    "ConfigError",
    "ConsumerConfig",
    "Context",
    "DeadLetter",
    "DecodeError",
    "DeliveryError",
    "EVKafkaApp",
    "EVKafkaError",
    "EVKafkaProducer",
    "EVkafkaApp",
    "EndpointError",
    "EndpointTimeout",
    "ErrorPolicy",
    "Handler",
    "Middleware",
    "ProducerConfig",
    "RecordError",
    "RecordMetadata",
    "Request",
    "Retry",
    "Sender",
    "Skip",
    "TopicConfig",
    "consumer_config",
    "producer_config",
]
