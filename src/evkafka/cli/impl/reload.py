"""`evkafka run --reload`: runs the app in a child process, and replaces the process when a file changes."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evkafka.cli.app_loader import check_module_exists, relative_path
from evkafka.cli.impl.child_process import ChildProcess
from evkafka.cli.impl.run_options import RunOptions
from evkafka.cli.logging import configure_logging
from evkafka.exceptions import ConfigError

logger = logging.getLogger("evkafka.cli")

DRAIN_S = 5.0
"""How long records in flight may take before a reload. Then they are cut, and the next process reads them again."""


def run_reloading(options: RunOptions, directories: Sequence[Path]) -> int:
    """Run the app until a signal. Returns the exit code of the last process.

    Args:
        directories: are watched; empty for the app's directory.

    Raises:
        ConfigError: as `check_reload_and_find_directories`.
    """
    watched = check_reload_and_find_directories(options, directories)
    configure_logging(options.log_level, as_json=options.json_log)
    return asyncio.run(_Reloader(options, watched).run())


def check_reload_and_find_directories(options: RunOptions, directories: Sequence[Path]) -> list[Path]:
    """What must hold at the first start. Later, a fault in the app's files waits for the next change. Returns the
    directories to watch.

    Raises:
        ConfigError: watchfiles is not installed, the app's module does not exist, or a directory does not.
    """
    try:
        import watchfiles  # noqa: F401 - is the extra installed?
    except ImportError as error:
        raise ConfigError("--reload needs an extra that is not installed: pip install 'evkafka[reload]'") from error
    check_module_exists(options.target, options.app_dir)
    watched = [path.expanduser().resolve() for path in directories or (options.app_dir,)]
    for path in watched:
        if not path.is_dir():
            raise ConfigError(f"--reload-dir {path} is not a directory")
    return watched


class _Reloader:
    """One process at a time, and the watch on its files."""

    def __init__(self, options: RunOptions, watched: Sequence[Path]) -> None:
        self._options = options
        self._watched = watched
        self._process: ChildProcess | None = None
        self._ended: asyncio.Task[None] | None = None
        self._code = 0
        self._replacing = False
        self._stop = asyncio.Event()

    async def run(self) -> int:
        from watchfiles import PythonFilter, awatch

        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, self._on_signal, signum)
        logger.info("watching %s", ", ".join(map(str, self._watched)))
        await self._start_process()
        filter_ = PythonFilter(extra_extensions=[".toml", ".env"])
        async for changes in awatch(*self._watched, watch_filter=filter_, stop_event=self._stop, debounce=300):
            names = sorted({relative_path(path) for _, path in changes})
            logger.info("%s changed: reloading", ", ".join(names[:3]) + (" ..." if len(names) > 3 else ""))
            await self._end_process()
            if self._stop.is_set():
                break
            await self._start_process()
        await self._end_process()
        return self._code

    def _on_signal(self, signum: signal.Signals) -> None:
        """The first signal stops the process, the second one ends it at once."""
        is_first = not self._stop.is_set()
        self._stop.set()
        if is_first and self._replacing:
            # The process already stops for the reload. Another signal would be its second one.
            logger.info("signal %s: stopping", signum.name)
        elif self._process is not None:
            self._process.terminate()

    async def _start_process(self) -> None:
        self._process = await ChildProcess.start(self._options, name="the app")
        self._ended = asyncio.ensure_future(self._watch_process_exit(self._process))
        if self._stop.is_set():  # a signal came while it was being started
            self._process.terminate()

    async def _watch_process_exit(self, process: ChildProcess) -> None:
        code = self._code = await process.wait()
        if self._stop.is_set() or self._process is not process or self._replacing:
            return
        if code == 0:
            self._stop.set()
        else:
            logger.warning("the app exited with code %d: waiting for a file to change", self._code)

    async def _end_process(self) -> None:
        """End the process.

        Before a reload it gets `DRAIN_S`, and a second signal after that. After a signal it may take its own time, also
        if the signal comes during the reload.
        """
        self._replacing = True
        process, ended = self._process, self._ended
        assert process is not None
        assert ended is not None
        if not self._stop.is_set():
            process.terminate()
            if not await _ends_within(ended, DRAIN_S) and not self._stop.is_set():
                process.terminate()
        await ended
        if process.web_port is not None:  # an app that could not be imported has reported none
            self._options = replace(self._options, last_web_port=process.web_port)
        self._replacing = False


async def _ends_within(ending: asyncio.Task[None], seconds: float) -> bool:
    done, _ = await asyncio.wait({ending}, timeout=seconds)
    return bool(done)
