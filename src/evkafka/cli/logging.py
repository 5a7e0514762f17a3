"""Logging of a command: to stderr, as text or as JSON."""

from __future__ import annotations

import logging

from evkafka.observe.log_format import JsonFormatter, PlainFormatter


def configure_logging(level_name: str, *, as_json: bool, worker: int | None = None) -> None:
    """Log to stderr. If the app's module has set up logging, only set the level of our own loggers.

    Args:
        worker: the number of this worker process, which each line shows; None if there is one process.
    """
    level = logging.getLevelNamesMapping()[level_name.upper()]
    if not logging.getLogger().handlers:
        who = "" if worker is None else f"worker {worker}  "
        logging.basicConfig(level=level)
        plain = PlainFormatter(f"%(asctime)s %(levelname)-8s {who}%(name)s  %(message)s")
        logging.getLogger().handlers[0].setFormatter(JsonFormatter() if as_json else plain)
        if as_json and worker is not None:
            logging.getLogger().handlers[0].addFilter(_WorkerField(worker))
        # Below warnings aiokafka and httpx log a lot, and our own lines report the same things.
        for client in ("aiokafka", "httpx"):
            logging.getLogger(client).setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))
    logging.getLogger("evkafka").setLevel(level)


class _WorkerField(logging.Filter):
    """Adds the field `worker` to each log record."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def filter(self, record: logging.LogRecord) -> bool:
        record.worker = self._number
        return True
