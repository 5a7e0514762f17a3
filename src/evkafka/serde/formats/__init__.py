"""Formats of values whose schema is in a registry: Avro, Protobuf and JSON Schema.

Read `interface.py` first: what a consumer and a sender need of a format. `registry_format.py` is what the three have in
common, with the schema's id in front of the value (`framing.py`); `avro.py` and its neighbours are what differs.
`registry.py` is the registry as users declare it, `schema_cache.py` asks it for each schema once, `rest.py` has the
requests.
"""
