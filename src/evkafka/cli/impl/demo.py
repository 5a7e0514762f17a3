"""`evkafka demo`: the flights of `examples/flights`, which a wheel carries as `evkafka.demo`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import evkafka
from evkafka.exceptions import ConfigError


def run_demo(flights_per_s: float, *, port: int | None, keep_running: bool | None) -> None:
    """
    Args:
        port: of the page; None: 8080, or any other one where that is taken.
        keep_running: None: at a terminal.

    Raises:
        ConfigError: an extra is missing, or the demo is not there.
        SystemExit: it was broken off.
    """
    again = sys.stdout.isatty() if keep_running is None else keep_running
    _flights().run_demo(flights_per_s, port=port, keep_running=again)


def _flights() -> Any:
    """The demo's module: out of the wheel, or where EVKafka is installed from a checkout, out of that."""
    package = Path(evkafka.__file__).parent
    checkout = package.parents[1]
    if (package / "demo").is_dir():
        name = "evkafka.demo.flights.demo"
    elif (checkout / "examples" / "flights").is_dir():
        sys.path.insert(0, str(checkout))
        name = "examples.flights.demo"
    else:
        raise ConfigError(f"the demo is neither in {package} nor in {checkout}: install EVKafka's wheel or a checkout")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(("evkafka", "examples")):
            raise
        raise ConfigError(
            f"the demo needs {error.name}, which is not installed: pip install 'evkafka[broker,web,metrics]'"
        ) from error
