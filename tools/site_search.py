"""Checks that the words that people search for find their pages. `make docs` runs it on the index that it has built."""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

INDEX = Path(__file__).parents[1] / "site" / "search.json"
FIRST = 5
"""Among how many results the page must be."""

EXPECTED = {
    "asyncapi": "asyncapi/",
    "at least once": "delivery/",
    "autoscaling": "deployment/",
    "avro": "payloads/",
    "batch processing": "batches/",
    "benchmark": "performance/",
    "chaos testing": "verify/",
    "concurrency": "concurrency/",
    "consumer lag": "glossary/",
    "dead letter queue": "dead-letters/",
    "dependency injection": "dependencies/",
    "django": "integrations/",
    "dlq": "dead-letters/",
    "docker": "deployment/",
    "environment variables": "settings/",
    "error handling": "errors/",
    "exactly once": "faq/",
    "exponential backoff": "errors/",
    "fastapi": "integrations/",
    "faststream": "migrating-from-faststream/",
    "graceful shutdown": "delivery/",
    "headers": "producing/",
    "health check": "observability/",
    "hot reload": "command-line/",
    "idempotent": "internals/",
    "kubernetes": "deployment/",
    "liveness probe": "observability/",
    "msgspec": "payloads/",
    "non-blocking retries": "retry-topics/",
    "opentelemetry": "observability/",
    "ordering": "concurrency/",
    "partition key": "producing/",
    "poison message": "errors/",
    "prometheus": "observability/",
    "pytest fixture": "testing/",
    "readiness": "observability/",
    "retry": "retry-topics/",
    "sasl": "security/",
    "send event": "producing/",
    "sentry": "integrations/",
    "tombstone": "producing/",
    "tls": "security/",
    "transactions": "producing/",
    "unit test": "testing/",
    "web ui": "operations/",
}
"""A page's path by what is typed into the search field."""


def main() -> int:
    items = json.loads(INDEX.read_text(encoding="utf-8"))["items"]
    missed = [
        f"{query!r} finds {', '.join(found) or 'nothing'}, not {page}"
        for query, page in EXPECTED.items()
        if page not in (found := pages(items, query)[:FIRST])
    ]
    for line in missed:
        print(f"search: {line}: write these words into that page", file=sys.stderr)
    return 1 if missed else 0


def pages(items: Iterable[Mapping[str, Any]], query: str) -> list[str]:
    """The pages with a section that has all words of the query, those with the words in a heading first."""
    best: dict[str, int] = {}
    for item in items:
        page = item["location"].partition("#")[0]
        if score := _score(item, _words(query)):
            best[page] = max(score, best.get(page, 0))
    return sorted(best, key=lambda page: -best[page])


def _score(item: Mapping[str, Any], wanted: list[str]) -> int:
    """20 points for a word in the page's title, 10 in a heading, 1 in the text; 0 in all if a word is missing."""
    in_heading = 20 if item["level"] == 1 else 10
    heading, text = _words(item["title"]), _words(item["text"])
    points = [in_heading * _has(heading, word) or int(_has(text, word)) for word in wanted]
    return sum(points) if all(points) else 0


def _has(words: list[str], start: str) -> bool:
    return any(word.startswith(start) for word in words)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", html.unescape(re.sub(r"<[^>]+>", " ", text)).lower())


if __name__ == "__main__":
    sys.exit(main())
