"""What `evkafka dev` checks before it starts Kafka, so that a mistake costs no wait."""

from __future__ import annotations

from importlib.util import find_spec

from evkafka.exceptions import ConfigError
from evkafka.web import missing_packages


def require_extras(*, broker: bool, registry: bool, reload: bool, web: bool) -> None:
    """Check that the extras of the wanted parts are installed. The dashboard is optional: only other extras need to be.

    Raises:
        ConfigError: one is not; the message names all that are missing.
    """
    missing = [
        extra
        for extra, wanted, package in (("broker", broker or registry, "jgo"), ("reload", reload, "watchfiles"))
        if wanted and find_spec(package) is None
    ]
    if not missing:
        return
    if web and missing_packages():
        missing.append("web")
    without = "--bootstrap-servers without --registry" if registry else "--bootstrap-servers"
    instead = " and ".join(
        option for extra, option in (("broker", without), ("reload", "--no-reload")) if extra in missing
    )
    raise ConfigError(
        f"evkafka dev needs extras that are not installed: pip install 'evkafka[{','.join(missing)}]', or use {instead}"
    )
