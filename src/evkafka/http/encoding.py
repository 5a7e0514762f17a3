"""Encodes answers as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evkafka.serde.safe_text import json_text


def encode_json(value: object) -> bytes:
    """JSON in which every character can be shown.

    The rows of a list are encoded one by one: while one is encoded, no other thread of the process runs.
    """
    return "".join(_json_chunks(value)).encode()


def _json_chunks(value: object) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield json_text(value)
        return
    yield "{"
    for number, (name, field) in enumerate(value.items()):
        yield f"{',' if number else ''}{json_text(name)}:"
        if isinstance(field, list):
            yield "["
            for index, row in enumerate(field):
                yield f"{',' if index else ''}{json_text(row)}"
            yield "]"
        else:
            yield json_text(field)
    yield "}"
