"""`evkafka run --reload`: the app in a process of its own, which is replaced when a file changes."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from evkafka.cli.impl.run import RunOptions
from evkafka.cli.impl.worker_process import Child
from evkafka.cli.logging import log_from
from evkafka.exceptions import ConfigError

logger = logging.getLogger("evkafka.cli")

PATIENCE_S = 5.0
"""What is in flight has so long to end before a reload; then it is cut, and read again by the next process."""


def run_reloading(options: RunOptions, directories: Sequence[Path]) -> int:
    """Run it until a signal; the exit code of the last process.

    Args:
        directories: what is watched; empty for the app's directory.

    Raises:
        ConfigError: watchfiles is not installed, or there is no such directory.
    """
    try:
        import watchfiles  # noqa: F401 - is the extra there?
    except ImportError as error:
        raise ConfigError("--reload needs an extra that is not installed: pip install 'evkafka[reload]'") from error
    watched = [path.expanduser().resolve() for path in directories or (options.app_dir,)]
    for path in watched:
        if not path.is_dir():
            raise ConfigError(f"--reload-dir {path} is no directory")
    log_from(options.log_level, as_json=options.json_log)
    return asyncio.run(_Reloader(options, watched).run())


class _Reloader:
    """One process at a time, and the files that it is made of."""

    def __init__(self, options: RunOptions, watched: Sequence[Path]) -> None:
        self._options = options
        self._watched = watched
        self._process: Child | None = None
        self._watch: asyncio.Task[None] | None = None
        self._code = 0
        self._ending = False
        self._stop = asyncio.Event()

    async def run(self) -> int:
        from watchfiles import PythonFilter, awatch

        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, self._on_signal)
        logger.info("watching %s", ", ".join(map(_short, self._watched)))
        await self._start()
        filter_ = PythonFilter(extra_extensions=[".toml", ".env"])
        async for changes in awatch(*self._watched, watch_filter=filter_, stop_event=self._stop, debounce=300):
            names = sorted({_short(Path(path)) for _, path in changes})
            logger.info("%s changed: reloading", ", ".join(names[:3]) + (" ..." if len(names) > 3 else ""))
            await self._end()
            if self._stop.is_set():
                break
            await self._start()
        await self._end()
        return self._code

    def _on_signal(self) -> None:
        """The first one stops the process, the second one ends it where it stands."""
        self._stop.set()
        if self._process is not None:
            self._process.terminate()

    async def _start(self) -> None:
        self._process = await Child.start(self._options, name="the app")
        self._watch = asyncio.ensure_future(self._tell_end(self._process))
        if self._stop.is_set():  # told to stop while it was being started
            self._process.terminate()

    async def _tell_end(self, process: Child) -> None:
        code = self._code = await process.wait()
        if self._stop.is_set() or self._process is not process or self._ending:
            return
        if code == 0:
            self._stop.set()
        else:
            logger.warning("the app has ended with %d: waiting for a file to change", self._code)

    async def _end(self) -> None:
        """End it: drained where that is quick, by force where it is not; told to stop, at the app's own pace."""
        self._ending = True
        process, watch = self._process, self._watch
        assert process is not None
        assert watch is not None
        if not self._stop.is_set():
            process.terminate()
            if not await _ends_within(watch, PATIENCE_S):
                process.terminate()
        await watch
        self._ending = False


async def _ends_within(ending: asyncio.Task[None], seconds: float) -> bool:
    done, _ = await asyncio.wait({ending}, timeout=seconds)
    return bool(done)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
