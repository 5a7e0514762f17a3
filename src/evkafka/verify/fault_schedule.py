"""The schedule of faults. It is computed from a seed before the run begins, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

FaultKind = Literal["kill", "stop", "freeze", "members", "broker", "cancel"]
"""`kill` SIGKILL; `stop` SIGTERM; `freeze` SIGSTOP and, later, SIGCONT; `members` one more process for a while;
`broker` a restart, clean or after a crash; `cancel` the cancellation of a task of the process."""

KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

EARLIEST_S = 2.0
"""There is no fault before that time."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One planned fault.

    Attributes:
        at_s: seconds from the beginning of the load.
        pick: selects one of the processes that run then: a number in [0, 1).
        lasts_s: how long the process is gone, frozen, or additionally running, in seconds.
        crash: for the kind `broker`: the broker is killed, not stopped.
    """

    at_s: float
    kind: FaultKind
    pick: float
    lasts_s: float
    crash: bool = False


def plan_faults(
    seed: int,
    *,
    lasts_s: float,
    kill_every_s: float,
    fault_every_s: float,
    kinds: Sequence[FaultKind],
    session_s: float,
) -> tuple[Fault, ...]:
    """The faults of a run, in the order of their times.

    There are two series, each with 20 % jitter: SIGKILLs, and the other kinds in turn, in a random order.

    Args:
        lasts_s: the duration of the load; no fault comes later.
        kill_every_s: the interval of SIGKILLs; 0 for none.
        fault_every_s: the interval of the other faults; 0 for none.
        session_s: the group's session timeout. Half of the freezes are longer than it.
    """
    generator = random.Random(seed)  # nosec B311 # repeatable, not cryptographic
    others = [kind for kind in kinds if kind != "kill"]
    kills = [_plan_fault("kill", at_s, generator, session_s) for at_s in _plan_times(generator, kill_every_s, lasts_s)]
    kinds_in_turn = _kinds_in_turn(others, generator)
    rest = [
        _plan_fault(next(kinds_in_turn), at_s, generator, session_s)
        for at_s in _plan_times(generator, fault_every_s, lasts_s)
        if others
    ]
    return tuple(sorted((*kills, *rest), key=lambda fault: fault.at_s))


def _plan_times(generator: random.Random, every_s: float, lasts_s: float) -> Iterator[float]:
    if every_s <= 0:
        return
    number = 1
    while (at_s := max(EARLIEST_S, every_s * (number + generator.uniform(-0.2, 0.2)))) <= lasts_s:
        yield round(at_s, 3)
        number += 1


def _kinds_in_turn(kinds: Sequence[FaultKind], generator: random.Random) -> Iterator[FaultKind]:
    while kinds:
        yield from generator.sample(kinds, len(kinds))


def _plan_fault(kind: FaultKind, at_s: float, generator: random.Random, session_s: float) -> Fault:
    pick = generator.random()
    match kind:
        case "kill" | "stop":
            lasts_s = generator.uniform(0.2, 1.5)
        case "freeze":
            lasts_s = generator.choice((generator.uniform(0.2, 0.6), generator.uniform(1.1, 1.8))) * session_s
        case "members":
            lasts_s = generator.uniform(1.0, 2.0) * session_s
        case "broker" | "cancel":
            lasts_s = 0.0
    return Fault(at_s, kind, pick, round(lasts_s, 3), crash=kind == "broker" and generator.random() < 0.5)
