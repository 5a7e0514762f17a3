"""Keys inside the document, and references to them."""

from __future__ import annotations

import re
from collections.abc import Container

_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9._-]+")


def to_document_key(name: str) -> str:
    """The name with only the characters that keys may have: letters, digits, dots, dashes, underscores."""
    return _NOT_IN_KEYS.sub("-", name).strip("-") or "unnamed"


def unused_key(name: str, taken: Container[str]) -> str:
    """The name as a key that is not taken: `Order`, `Order-2`, `Order-3`..."""
    key = first = to_document_key(name)
    number = 2
    while key in taken:
        key, number = f"{first}-{number}", number + 1
    return key


def reference_to(*path: str) -> dict[str, str]:
    """A reference to a part of the document."""
    return {"$ref": "#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)}


def drop_empty_fields(**fields: object) -> dict[str, object]:
    """The fields that are not None or empty sequences."""
    return {name: value for name, value in fields.items() if value is not None and value != () and value != []}
