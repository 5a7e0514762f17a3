"""Names for annotations in users' code."""

from __future__ import annotations

from evkafka.context import App, Context, HandlerApp
from evkafka.records import Record, RecordMetadata

__all__ = ["App", "Context", "HandlerApp", "Record", "RecordMetadata"]
