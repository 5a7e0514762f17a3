"""An app that something blocks when it is to stop; tests run it as a process.

python blocking_app.py HOW CONFIG       CONFIG is the consumer's, as JSON; without topics the app has no consumer
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from evkafka import EVKafkaApp, Handler

HOW = sys.argv[1]

handler = Handler()


def say(word: str) -> None:
    print(word, flush=True)


@handler.event("Hold")
async def on_hold(value: dict[str, Any]) -> None:
    say("holding")
    match HOW:
        case "to_thread":
            await asyncio.to_thread(threading.Event().wait)
        case "loop":
            time.sleep(10_000)  # noqa: ASYNC251 - blocking the loop is what the test is about
        case "c":
            wait_in_c_ignoring_signals()
        case "drain":
            while app.status().phase != "stopping":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            time.sleep(10_000)  # noqa: ASYNC251


@handler.event("Plain")
def on_plain(value: dict[str, Any]) -> None:
    if HOW == "fork":
        fork()
        return
    say("holding")
    threading.Event().wait()


def fork() -> None:
    """Fork, as a library does that uses child processes."""
    processes = multiprocessing.get_context("fork")
    checker = processes.Process(target=check_inherited_state)
    checker.start()
    checker.join()
    sleeper = processes.Process(target=time.sleep, args=(10_000,))
    sleeper.start()
    sleeper.terminate()  # at once: the signal must not be lost in a child that has just been forked
    sleeper.join()
    say(f"children ended with {checker.exitcode} and {sleeper.exitcode}")


def check_inherited_state() -> None:
    """In a child process: check what it inherits from its parent."""
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1
    assert app.service is None
    app.stop()


@handler.event("Poison")
async def on_poison(value: dict[str, Any]) -> None:
    raise ValueError("poison")


def wait_in_c_ignoring_signals() -> None:
    """Wait in C, as a database driver that waits for a lock: other threads run, signals do not end it."""
    pthread, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(128)
    pthread.pthread_mutex_init(mutex, None)
    pthread.pthread_mutex_lock(mutex)
    pthread.pthread_mutex_lock(mutex)


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    if HOW == "pool":
        asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    if HOW == "task":
        tasks.append(asyncio.ensure_future(never_ends()))
    say("started")
    yield
    match HOW:
        case "lifespan":
            await asyncio.sleep(10_000)
        case "lifespan-deaf":
            await never_ends()
        case "lifespan-thread":
            threading.Thread(target=threading.Event().wait, name="the-users-own").start()


tasks: list[asyncio.Task[None]] = []


async def never_ends() -> None:
    while True:
        try:
            await asyncio.sleep(10_000)
        except asyncio.CancelledError:
            say("cancelled, and goes on")


async def serve(app: EVKafkaApp, *, force_exit: bool) -> None:
    """Run the app as a part of this program."""
    try:
        await app.serve(force_exit=force_exit)
    except BaseException as error:
        say(f"the app has ended: {type(error).__name__}")
        raise


app = EVKafkaApp(lifespan=lifespan)
config = json.loads(sys.argv[2])
if config:
    app.add_consumer(config, handler)
if __name__ == "__main__":
    match sys.argv[3:]:
        case ["serve"]:
            asyncio.run(serve(app, force_exit=False))
        case ["serve-force"]:
            asyncio.run(serve(app, force_exit=True))
        case _:
            app.run()
            say("run() has returned")
