"""When what is broken: made of a seed before the run begins, so that a run can be had again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

FaultKind = Literal["kill", "stop", "freeze", "members", "broker", "cancel"]
"""`kill` SIGKILL; `stop` SIGTERM; `freeze` SIGSTOP and, later, SIGCONT; `members` one more process for a while;
`broker` a restart, clean or after a crash; `cancel` a task of the process, cancelled by a stranger to it."""

KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

EARLIEST_S = 2.0
"""A run begins undisturbed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault to come.

    Attributes:
        at_s: seconds from the beginning of the load.
        pick: which of the processes that are there then: a number in [0, 1).
        lasts_s: how long the process stays away (or frozen, or is there in addition), in seconds.
        crash: of a broker's fault: it is killed, not stopped.
    """

    at_s: float
    kind: FaultKind
    pick: float
    lasts_s: float
    crash: bool = False


def faults(
    seed: int,
    *,
    lasts_s: float,
    kill_every_s: float,
    fault_every_s: float,
    kinds: Sequence[FaultKind],
    session_s: float,
) -> tuple[Fault, ...]:
    """The run's faults, in order of time.

    Two beats, each with a fifth of jitter: one of SIGKILLs, one of the other kinds in turn, in an order that the seed
    shuffles. A beat of 0 is silent.

    Args:
        lasts_s: how long there is load; no fault comes later.
        session_s: the group's session. Half of the freezes are longer than it.
    """
    chance = random.Random(seed)  # nosec B311 # to be repeated
    others = [kind for kind in kinds if kind != "kill"]
    kills = [_fault("kill", at_s, chance, session_s) for at_s in _beat(chance, kill_every_s, lasts_s)]
    turns = _turns(others, chance)
    rest = [_fault(next(turns), at_s, chance, session_s) for at_s in _beat(chance, fault_every_s, lasts_s) if others]
    return tuple(sorted((*kills, *rest), key=lambda fault: fault.at_s))


def _beat(chance: random.Random, every_s: float, lasts_s: float) -> Iterator[float]:
    if every_s <= 0:
        return
    beat = 1
    while (at_s := max(EARLIEST_S, every_s * (beat + chance.uniform(-0.2, 0.2)))) <= lasts_s:
        yield round(at_s, 3)
        beat += 1


def _turns(kinds: Sequence[FaultKind], chance: random.Random) -> Iterator[FaultKind]:
    while kinds:
        yield from chance.sample(kinds, len(kinds))


def _fault(kind: FaultKind, at_s: float, chance: random.Random, session_s: float) -> Fault:
    pick = chance.random()
    match kind:
        case "kill" | "stop":
            lasts_s = chance.uniform(0.2, 1.5)
        case "freeze":
            lasts_s = chance.choice((chance.uniform(0.2, 0.6), chance.uniform(1.1, 1.8))) * session_s
        case "members":
            lasts_s = chance.uniform(1.0, 2.0) * session_s
        case "broker" | "cancel":
            lasts_s = 0.0
    return Fault(at_s, kind, pick, round(lasts_s, 3), crash=kind == "broker" and chance.random() < 0.5)
