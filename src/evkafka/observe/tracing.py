"""Creates the app's `Tracing`, which is in `opentelemetry.py`, because that module needs the extra."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from evkafka.exceptions import ConfigError

if TYPE_CHECKING:
    from evkafka.observe.opentelemetry import Tracing


def create_tracing_or_raise() -> Tracing:
    """Raises:
    ConfigError: the extra is not installed; the message says how to install it.
    """
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.trace") is None:
        raise ConfigError("tracing needs an extra that is not installed: pip install 'evkafka[tracing]'")
    from evkafka.observe.opentelemetry import Tracing

    return Tracing()
