"""A schema registry in memory, with the REST API of Confluent's Schema Registry, over HTTP or as an ASGI app.

Read `registry.py` first; `rest.py` has the paths, `subjects.py` the content, `server.py` the port.
"""

from evkafka.testing.registry.registry import InMemoryRegistry, RegistryRequest
from evkafka.testing.registry.subjects import RegisteredSchema

__all__ = ["InMemoryRegistry", "RegisteredSchema", "RegistryRequest"]
