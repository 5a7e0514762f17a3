"""The context that every attempt begins with: a copy of the one that the app was started in."""

from __future__ import annotations

import decimal
from contextvars import Context, ContextVar, copy_context
from typing import Any

_own: ContextVar[decimal.Context | None] = ContextVar("evkafka_own_decimal_context", default=None)


def first_context() -> Context:
    """A copy of the caller's context, to copy for each attempt."""
    context = copy_context()
    context.run(_share_decimal_context)
    return context


def _share_decimal_context() -> None:
    """Arithmetic with decimals makes a decimal context, a variable, where there is none. Were that left to the
    attempts, each with a decimal in its payload would have set a variable, and cost a task of its own."""
    now = decimal.getcontext()
    decimal.setcontext(
        SharedDecimalContext(
            prec=now.prec,
            rounding=now.rounding,
            Emin=now.Emin,
            Emax=now.Emax,
            capitals=now.capitals,
            clamp=now.clamp,
            flags=[],
            traps=[signal for signal, trapped in now.traps.items() if trapped],
        )
    )


class SharedDecimalContext(decimal.Context):
    """The decimal context that attempts share until one changes it: `decimal.getcontext().prec = 3` then makes a copy,
    which is that attempt's own. (It is changed in place otherwise, in all attempts.)"""

    def __setattr__(self, name: str, value: Any) -> None:
        now = decimal.getcontext()
        if now is self:
            now = self.copy()
            decimal.setcontext(now)
            _own.set(now)
        if now is _own.get():  # whoever changes two things does so by the one object that he was given
            setattr(now, name, value)
        else:
            super().__setattr__(name, value)
