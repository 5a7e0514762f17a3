"""`evkafka run`: find the app, run it."""

from __future__ import annotations

import logging
from pathlib import Path

from evkafka.app import EVKafkaApp
from evkafka.cli.target import load_app
from evkafka.exceptions import ConfigError
from evkafka.observe.log_format import JsonFormatter


def run_app(
    target: str,
    *,
    app_dir: Path,
    factory: bool,
    log_level: str,
    json_log: bool = False,
    reset_dead_letter_limit: bool = False,
) -> None:
    """Returns after a clean stop.

    Raises:
        ConfigError: the target is not an app.
        SystemExit: with the app's exit code, where that is not 0.
    """
    level = logging.getLevelNamesMapping()[log_level.upper()]
    app = load_app(target, app_dir, factory=factory, show_traceback=level <= logging.DEBUG)
    _log_from(level, as_json=json_log)
    if reset_dead_letter_limit:
        if not isinstance(app, EVKafkaApp):
            raise ConfigError(f"--reset-dead-letter-limit is for an EVKafkaApp, and {target!r} is none")
        app.reset_dead_letter_limit = True
    app.run()


def _log_from(level: int, *, as_json: bool) -> None:
    """Log to stderr, unless the app's own module has set up logging: then only our loggers take the level."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)-8s %(name)s  %(message)s")
        if as_json:
            logging.getLogger().handlers[0].setFormatter(JsonFormatter())
        # The client is talkative below its warnings, and says things that our own lines say better.
        logging.getLogger("aiokafka").setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))
    logging.getLogger("evkafka").setLevel(level)
