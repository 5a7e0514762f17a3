"""What the names in an Avro schema refer to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Named = Mapping[str, Any]
"""Records, enums and fixed types by their full name."""


def definition_of(schema: Any, named: Named) -> tuple[str, Mapping[str, Any]]:
    """The type of a schema that is no union, and its definition; of a name, those of the type that has it."""
    while True:
        if isinstance(schema, str):
            if schema not in named:
                return schema, {"type": schema}
            schema = named[schema]
        elif isinstance(schema["type"], str) and schema["type"] not in named:
            return schema["type"], schema
        else:
            schema = schema["type"]
