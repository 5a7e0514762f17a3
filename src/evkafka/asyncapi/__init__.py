"""The AsyncAPI document of an app: its declarations, as a contract for other teams. Nothing connects to Kafka.

`model.py` has the declarations. `operations.py`, `retry_topics.py` and `dead_letters.py` turn them into operations, and
`document.py` builds the document from these.
"""

from __future__ import annotations

from evkafka.asyncapi.document import build_document
from evkafka.asyncapi.model import AppContract, ConsumerContract, Info, ProducerContract

__all__ = ["ConsumerContract", "AppContract", "Info", "ProducerContract", "build_document"]
