"""The search of the contract page. A document is gone through once; what is asked then is looked for in its texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST = 50
"""Of each kind so many are shown: laying out a whole contract for each word that everything has costs too much."""


@dataclass(slots=True)
class Found:
    """The parts of a document that are shown, by key.

    Attributes:
        count: how many there are, shown or not.
    """

    channels: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, Any] = field(default_factory=dict)
    schemas: dict[str, Any] = field(default_factory=dict)
    count: int = 0


class Index:
    """The texts of a document's parts, in lower case.

    Attributes:
        document: the one that it was made of.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        components = document.get("components", {})
        self._parts: dict[str, Mapping[str, Any]] = {
            "channels": document["channels"],
            "messages": components.get("messages", {}),
            "schemas": components.get("schemas", {}),
        }
        operations: dict[str, list[Any]] = {}
        for key, operation in document["operations"].items():
            channel = operation["channel"]["$ref"].rpartition("/")[2].replace("~1", "/").replace("~0", "~")
            operations.setdefault(channel, []).append([key, operation])
        self._texts = {
            kind: {
                key: _text([key, part, operations.get(key, []) if kind == "channels" else None])
                for key, part in parts.items()
            }
            for kind, parts in self._parts.items()
        }

    def having(self, query: str) -> Found:
        """The parts that have all of the query's words somewhere; the first ones, if they are many."""
        wanted, found = query.lower().split(), Found()
        for kind, texts in self._texts.items():
            keys = [key for key, text in texts.items() if all(word in text for word in wanted)]
            found.count += len(keys)
            getattr(found, kind).update({key: self._parts[kind][key] for key in (keys[:MOST] if wanted else keys)})
        return found


def _text(told: object) -> str:
    return json.dumps(told, ensure_ascii=False).lower()
