"""The web part of an app: contract page, health, metrics. Needs the extra `evkafka[web]`, but for this module.

Nothing in here holds up consumers: pages are rendered in a thread, and an error in a page is an answer, not an end.
"""

from __future__ import annotations

from importlib.util import find_spec

from evkafka.exceptions import ConfigError

NEEDED = ("starlette", "uvicorn", "jinja2", "markdown_it", "yaml")


def require_extra() -> None:
    """Raises:
    ConfigError: a package that the web part needs is not installed; the sentence says how to get it.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the web part needs an extra that is not installed ({', '.join(missing)}): pip install 'evkafka[web]'"
        )
