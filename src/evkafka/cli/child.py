"""One process of `evkafka run`, as its supervisor starts it: `python -m evkafka.cli.child OPTIONS [LIFELINE]`.

The lifeline is a pipe that the supervisor holds open. When it breaks, the supervisor is gone, however it went, and
the process stops as after a SIGTERM: drained and committed, not left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evkafka.cli.run import RunOptions


async def start_child(options: RunOptions, *, env: dict[str, str] | None = None) -> tuple[Any, int]:
    """Start it, in a process group of its own: Ctrl-C in a terminal must reach it once, from the supervisor.

    Returns:
        The process, and the supervisor's end of the lifeline, to be closed after it has ended.
    """
    told = json.dumps({**asdict(options), "app_dir": str(options.app_dir)})
    theirs, ours = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "evkafka.cli.child",
            told,
            str(theirs),
            pass_fds=(theirs,),
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return process, ours


def read_options(text: str) -> RunOptions:
    told: dict[str, Any] = json.loads(text)
    told["app_dir"] = Path(told["app_dir"])
    told["only"], told["exclude"] = tuple(told["only"]), tuple(told["exclude"])
    return RunOptions(**told)


def _hold(lifeline: int) -> None:
    """Blocks until the supervisor is gone."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    from evkafka.cli.app import said_in_one_sentence
    from evkafka.cli.run import run_app

    # Told to stop while the app is being imported: nothing has begun, so there is nothing to end.
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(0))
    if len(sys.argv) > 2:
        threading.Thread(target=_hold, args=[int(sys.argv[2])], daemon=True, name="evkafka-lifeline").start()
    options = read_options(sys.argv[1])
    sys.exit(said_in_one_sentence(lambda: run_app(options)))


if __name__ == "__main__":
    main()
