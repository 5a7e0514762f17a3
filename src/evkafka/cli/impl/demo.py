"""`evkafka demo`: runs the example `examples/flights`, which a wheel has as `evkafka.demo`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import evkafka
from evkafka.exceptions import ConfigError


def run_demo(flights_per_s: float, *, port: int | None, keep_running: bool | None) -> None:
    """Run the demo until its end, or until Ctrl-C.

    Args:
        port: the page's port; None for 8080, or a free one if 8080 is taken.
        keep_running: send the flights again and again; None for only at a terminal.

    Raises:
        ConfigError: an extra is missing, or the demo is not installed.
        SystemExit: it was interrupted.
    """
    again = sys.stdout.isatty() if keep_running is None else keep_running
    _import_demo_module().run_demo(flights_per_s, port=port, keep_running=again)


def _import_demo_module() -> Any:
    """The demo's module, of the wheel or of the checkout that EVKafka is installed from."""
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
