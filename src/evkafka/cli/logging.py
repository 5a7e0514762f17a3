"""How a command logs: to stderr, for people or as JSON."""

from __future__ import annotations

import logging

from evkafka.observe.log_format import JsonFormatter, PlainFormatter


def log_from(level_name: str, *, as_json: bool, worker: int | None = None) -> None:
    """Log to stderr, unless the app's own module has set up logging: then only our loggers take the level.

    Args:
        worker: which of several processes this is; its lines say so.
    """
    level = logging.getLevelNamesMapping()[level_name.upper()]
    if not logging.getLogger().handlers:
        who = "" if worker is None else f"worker {worker}  "
        logging.basicConfig(level=level)
        plain = PlainFormatter(f"%(asctime)s %(levelname)-8s {who}%(name)s  %(message)s")
        logging.getLogger().handlers[0].setFormatter(JsonFormatter() if as_json else plain)
        if as_json and worker is not None:
            logging.getLogger().handlers[0].addFilter(_Worker(worker))
        # The client is talkative below its warnings, and says things that our own lines say better.
        logging.getLogger("aiokafka").setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))
    logging.getLogger("evkafka").setLevel(level)


class _Worker(logging.Filter):
    """Gives each line the field `worker`."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def filter(self, record: logging.LogRecord) -> bool:
        record.worker = self._number
        return True
