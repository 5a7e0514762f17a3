"""Runs `evkafka` commands in forks of a process that has imported them already: importing takes most of their time.

A command has its own directory, environment, standard streams and exit code, as after `python -m evkafka.cli`.
Run as a script: it reads a request per line and answers with the exit code.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import signal
import sys
from importlib import import_module

import evkafka.cli


def main() -> None:
    for module in pkgutil.walk_packages(evkafka.cli.__path__, "evkafka.cli."):
        if not module.name.endswith(".__main__"):
            import_module(module.name)
    gc.freeze()  # a fork would copy what its collections examine
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(arguments: list[str], directory: str, environment: dict[str, str], streams: list[str], timeout_s: int) -> None:
    signal.alarm(timeout_s)  # ends it
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    for number, (path, flags) in enumerate(zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
        os.dup2(os.open(path, flags), number)
    sys.argv = ["evkafka", *arguments]
    sys.path[0] = directory
    evkafka.cli.main()


if __name__ == "__main__":
    main()
