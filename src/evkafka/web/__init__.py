"""The web server of an app: contract page, dashboard, health, metrics. It needs the extra `evkafka[web]`.

This module and `component.py` can be imported without the extra. Pages do not delay consumers: they are rendered in a
thread, and an error in a page is an answer to its request.
"""

from __future__ import annotations

from importlib.util import find_spec

from evkafka.exceptions import ConfigError

REQUIRED_PACKAGES = ("starlette", "uvicorn", "jinja2", "markdown_it", "yaml")


def missing_packages() -> list[str]:
    """The packages of the extra that are not installed."""
    return [name for name in REQUIRED_PACKAGES if find_spec(name) is None]


def require_extra() -> None:
    """
    Raises:
        ConfigError: a required package is not installed.
    """
    if missing := missing_packages():
        raise ConfigError(
            f"the web part needs an extra that is not installed ({', '.join(missing)}): pip install 'evkafka[web]'"
        )
