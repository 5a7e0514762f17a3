"""The options of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from evkafka.config.settings import GroupProtocol
from evkafka.exceptions import ConfigError
from evkafka.verify.fault_schedule import KINDS, FaultKind
from evkafka.verify.report import Delivery

T = TypeVar("T")

OTHERS: tuple[FaultKind, ...] = tuple(kind for kind in KINDS if kind != "kill")
"""The faults except SIGKILL, which has an interval of its own."""

BUILT_IN: dict[str, Any] = {
    "concurrency": 16,
    "auto_commit_interval_ms": 100,
    "session_timeout_ms": 6_000,
    "heartbeat_interval_ms": 1_000,
    "max_endpoint_exec_time_ms": 20_000,
}
"""The configuration of the built-in app's consumer. `Options.config` replaces its keys."""

OF_THE_BROKERS = ("session_timeout_ms", "heartbeat_interval_ms")
"""With the consumer protocol these are settings of the brokers."""


@dataclass(frozen=True, slots=True)
class Options:
    """One run of `verify`.

    Attributes:
        lasts_s: the duration of load and faults, in seconds.
        processes: how many processes run the app.
        seed: of the schedule and of the records' keys.
        rate: records per second.
        partitions: of the topic.
        keys: how many different keys the records have.
        work_ms: how long the built-in app handles a record, in milliseconds.
        kill_every_s: the interval of SIGKILLs, in seconds; 0 for none.
        fault_every_s: the interval of the other faults, in seconds; 0 for none.
        kinds: the kinds of the other faults.
        bootstrap_servers: the brokers; None starts a broker for this run, which needs the extra `evkafka[broker]`.
        app: MODULE:APP to run in place of the built-in app, imported from `app_dir`.
        consumer: the app's consumer to verify, if it has several.
        topic: the topic of that consumer whose event type and format the records have, if it reads several.
        delivery: "exactly-once": the built-in app writes an output for each record, and the output is checked.
        group_protocol: of the consumer; None for "classic", and for a given app's own.
        event_type: of the records.
        payload: the value of the records for a given app: `{n}` and `{key}` are replaced by number and key.
        config: consumer keys that replace the app's own.
        settle_s: how long it may take after the load until everything is handled and committed, in seconds.
        max_duplicates: how many records may be handled twice, in percent; None for any number.
        home: the directory of history and logs; None for a temporary one, which is kept if the run was not clean.
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
    topic: str | None = None
    delivery: Delivery = "at-least-once"
    group_protocol: GroupProtocol | None = None
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
            faults.append("a broker given by address cannot be restarted: remove the fault 'broker'")
        if self.bootstrap_servers is not None and self._uses_consumer_protocol and "session_timeout_ms" in self.config:
            faults.append(
                f"with the group protocol {self.group_protocol!r} the session timeout is the brokers' own setting,"
                " group.consumer.session.timeout.ms: leave it out"
            )
        if self.app is not None and self.payload is None:
            faults.append("your own app needs records that it can handle: give their event type and payload")
        if self.app is not None and self.delivery == "exactly-once":
            faults.append("the output of your own app is not known: --delivery exactly-once is for the built-in app")
        if faults:
            raise ConfigError("; ".join(faults))

    @property
    def consumer_config(self) -> dict[str, Any]:
        """The configuration of the built-in app's consumer; for a given app, the keys that replace its own."""
        config = self._config_with_built_in_defaults
        if self.group_protocol is not None:
            config["group_protocol"] = self.group_protocol
        left_out = OF_THE_BROKERS if self._uses_consumer_protocol else ()
        return {key: value for key, value in config.items() if key not in left_out}

    @property
    def broker_properties(self) -> dict[str, Any]:
        """The settings of a broker that is started for this run: with the consumer protocol the times of
        `consumer_config` are the broker's."""
        if not self._uses_consumer_protocol:
            return {}
        times = {**BUILT_IN, **self.config}
        session_ms, heartbeat_ms = (times[key] for key in OF_THE_BROKERS)
        return {
            "group.consumer.min.session.timeout.ms": session_ms,
            "group.consumer.session.timeout.ms": session_ms,
            "group.consumer.min.heartbeat.interval.ms": heartbeat_ms,
            "group.consumer.heartbeat.interval.ms": heartbeat_ms,
        }

    @property
    def broker_session_s(self) -> float | None:
        """The session timeout that `broker_properties` set; None if the consumer's own setting, or an unknown one of
        given brokers, counts."""
        if self.bootstrap_servers is not None or not self._uses_consumer_protocol:
            return None
        return float({**BUILT_IN, **self.config}["session_timeout_ms"]) / 1000

    @property
    def _uses_consumer_protocol(self) -> bool:
        return self.group_protocol in ("consumer", "auto")

    @property
    def _config_with_built_in_defaults(self) -> dict[str, Any]:
        if self.app is not None:
            return dict(self.config)
        if self.delivery == "exactly-once":
            built_in = {key: value for key, value in BUILT_IN.items() if key != "auto_commit_interval_ms"}
            return {**built_in, "auto_commit_mode": "exactly-once", **self.config}
        return {**BUILT_IN, **self.config}


def parse_fault_kinds(given: str | None, *, own_broker: bool, own_app: bool = True) -> tuple[FaultKind, ...]:
    """The kinds of faults in a comma-separated list. None stands for all possible ones, without `cancel` for a given
    app, whose own tasks may not survive it.

    Raises:
        ConfigError: a kind does not exist.
    """
    if given is None:
        left_out = {*(() if own_broker else ("broker",)), *(() if own_app else ("cancel",))}
        return tuple(kind for kind in OTHERS if kind not in left_out)
    names = [name.strip() for name in given.split(",") if name.strip()]
    if unknown := [name for name in names if name not in OTHERS]:
        raise ConfigError(f"unknown fault {', '.join(map(repr, unknown))}; the faults are {', '.join(OTHERS)}")
    return tuple(kind for kind in OTHERS if kind in names)


def parse_delivery(given: str) -> Delivery:
    """The delivery of this name.

    Raises:
        ConfigError: there is none of this name.
    """
    return _parse_choice(get_args(Delivery), given, "delivery", "the deliveries")


def parse_group_protocol(given: str | None) -> GroupProtocol | None:
    """The group protocol of this name; None if none is given.

    Raises:
        ConfigError: there is none of this name.
    """
    return None if given is None else _parse_choice(get_args(GroupProtocol), given, "group protocol", "the protocols")


def _parse_choice(choices: Sequence[T], given: str, what: str, all_of_them: str) -> T:
    for choice in choices:
        if choice == given:
            return choice
    raise ConfigError(f"unknown {what} {given!r}; {all_of_them} are {', '.join(map(str, choices))}")
