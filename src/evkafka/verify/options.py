"""What a run is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evkafka.exceptions import ConfigError
from evkafka.verify.fault_schedule import KINDS, FaultKind

OTHERS: tuple[FaultKind, ...] = tuple(kind for kind in KINDS if kind != "kill")
"""The faults beside SIGKILL, which has a beat of its own."""

BUILT_IN: dict[str, Any] = {
    "concurrency": 16,
    "auto_commit_interval_ms": 100,
    "session_timeout_ms": 6_000,
    "heartbeat_interval_ms": 1_000,
    "max_endpoint_exec_time_ms": 20_000,
}
"""The built-in app's consumer, where `Options.config` does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Options:
    """One run of `verify`.

    Attributes:
        lasts_s: how long there is load and faults, in seconds; the end is waited for behind that.
        processes: how many run the app.
        seed: of the schedule and of the records' keys.
        rate: records per second.
        partitions, keys: of the topic, and how many keys the records have.
        work_ms: what the built-in app's endpoint takes, in milliseconds.
        kill_every_s: between two SIGKILLs, in seconds; 0 for none.
        fault_every_s: between two of the other faults, in seconds; 0 for none.
        kinds: which other faults there are.
        bootstrap_servers: where to run; None starts a broker for this run, which needs the extra `evkafka[broker]`.
        app: MODULE:APP to put in the built-in app's place, from `app_dir`.
        consumer: which of the app's consumers, where it has several.
        event_type: of the records.
        payload: the records' value, for a given app: `{n}` and `{key}` in it stand for the record's number and its key.
        config: consumer keys that are laid over the app's own.
        settle_s: how long it may take, after the load, until everything is handled and committed, in seconds.
        max_duplicates: how many records may have been handled twice, in percent; None for any number.
        home: where journal and logs are kept; None for a temporary directory, kept where the run was not clean.
    """

    lasts_s: float = 60.0
    processes: int = 3
    seed: int = 0
    rate: int = 400
    partitions: int = 6
    keys: int = 200
    work_ms: float = 5.0
    kill_every_s: float = 10.0
    fault_every_s: float = 15.0
    kinds: Sequence[FaultKind] = OTHERS
    bootstrap_servers: str | None = None
    app: str | None = None
    app_dir: Path = Path()
    consumer: str | None = None
    event_type: str = "Verify"
    payload: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    settle_s: float = 90.0
    max_duplicates: float | None = None
    home: Path | None = None

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {value}, and must be at least {least}"
            for name, value, least in (
                ("the number of processes", self.processes, 1),
                ("the rate", self.rate, 1),
                ("the number of partitions", self.partitions, 1),
                ("the number of keys", self.keys, 1),
                ("the number of seconds", self.lasts_s, 1),
            )
            if value < least
        ]
        if self.bootstrap_servers is not None and "broker" in self.kinds:
            faults.append("a broker that was given cannot be restarted: leave the fault 'broker' out")
        if self.app is not None and self.payload is None:
            faults.append("a given app needs records that it can handle: say their event type and payload")
        if faults:
            raise ConfigError("; ".join(faults))

    @property
    def consumer_config(self) -> dict[str, Any]:
        """The built-in app's consumer; of a given app, what is laid over its own."""
        return dict(self.config) if self.app is not None else {**BUILT_IN, **self.config}


def kinds_of(given: str | None, *, own_broker: bool, own_app: bool = True) -> tuple[FaultKind, ...]:
    """The kinds of faults in a list with commas; None for all that are possible, but for `cancel` in somebody's app:
    its own tasks need not survive that.

    Raises:
        ConfigError: one of them does not exist.
    """
    if given is None:
        left_out = {*(() if own_broker else ("broker",)), *(() if own_app else ("cancel",))}
        return tuple(kind for kind in OTHERS if kind not in left_out)
    names = [name.strip() for name in given.split(",") if name.strip()]
    if unknown := [name for name in names if name not in OTHERS]:
        raise ConfigError(f"no fault is called {', '.join(map(repr, unknown))}; there are {', '.join(OTHERS)}")
    return tuple(kind for kind in OTHERS if kind in names)
