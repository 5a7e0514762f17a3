"""Apache Kafka on this machine without Docker: one process, for development and tests.

    from evkafka.broker import KafkaBroker

    with KafkaBroker() as broker:
        print(broker.bootstrap_servers)

Needs the extra `evkafka[broker]`; the first start downloads Kafka's jars (45 MB) once per user.
"""

from __future__ import annotations

from evkafka.broker.broker import KafkaBroker

__all__ = ["KafkaBroker"]
