"""Apache Kafka and a schema registry on this machine without Docker: a process each, for development and tests.

    from evkafka.broker import KafkaBroker, LocalRegistry

    with KafkaBroker() as broker, LocalRegistry() as registry:
        print(broker.bootstrap_servers, registry.url)

Needs the extra `evkafka[broker]`. The first start downloads Kafka's jars (45 MB), or the registry's files (158 MB),
once per user.
"""

from __future__ import annotations

from evkafka.broker.broker import KafkaBroker
from evkafka.broker.registry import LocalRegistry

__all__ = ["KafkaBroker", "LocalRegistry"]
