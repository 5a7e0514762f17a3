"""The AsyncAPI document of an app: what is declared, as a contract that others can read. Pure: nothing is connected.

`document.py` is the table of contents; `model.py` what it is made of.
"""

from __future__ import annotations

from evkafka.asyncapi.document import build_document
from evkafka.asyncapi.model import Consumed, Declared, Info, Produced

__all__ = ["Consumed", "Declared", "Info", "Produced", "build_document"]
