"""The search of the contract page, over an index that is built once per document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RESULTS_MAX = 50
"""Most results of each kind. A word that everything has would cost the rendering of the whole contract."""


@dataclass(slots=True)
class SearchResult:
    """The matching parts of a document, by key, up to `RESULTS_MAX` of each kind.

    Attributes:
        count: how many parts match, including those over the limit.
    """

    channels: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, Any] = field(default_factory=dict)
    schemas: dict[str, Any] = field(default_factory=dict)
    count: int = 0


class SearchIndex:
    """The texts of a document's parts, in lower case."""

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
            operations.setdefault(name_of_reference(operation["channel"]), []).append([key, operation])
        self._texts = {
            kind: {
                key: _lower_case_json_text([key, part, operations.get(key, []) if kind == "channels" else None])
                for key, part in parts.items()
            }
            for kind, parts in self._parts.items()
        }

    def find_parts_with_all_words(self, query: str) -> SearchResult:
        """The parts that contain all words of the query; all parts if it is empty."""
        wanted, found = query.lower().split(), SearchResult()
        for kind, texts in self._texts.items():
            keys = [key for key, text in texts.items() if all(word in text for word in wanted)]
            found.count += len(keys)
            getattr(found, kind).update(
                {key: self._parts[kind][key] for key in (keys[:RESULTS_MAX] if wanted else keys)}
            )
        return found


def name_of_reference(reference: Mapping[str, str]) -> str:
    """The key that a reference points to: its last part."""
    return reference["$ref"].rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def _lower_case_json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).lower()
