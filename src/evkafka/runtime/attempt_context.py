"""The context variables that every attempt begins with: a copy of those that the app was started with."""

from __future__ import annotations

import decimal
from contextvars import Context, ContextVar, copy_context
from typing import Any

_own: ContextVar[decimal.Context | None] = ContextVar("evkafka_own_decimal_context", default=None)


def copy_context_for_attempts() -> Context:
    """A copy of the caller's context, to copy for each attempt."""
    context = copy_context()
    context.run(_set_shared_decimal_context)
    return context


def _set_shared_decimal_context() -> None:
    """Set a decimal context, which is a context variable, before the first attempt.

    Arithmetic with decimals sets one if there is none. Then each attempt with a decimal in its payload would have set a
    context variable, and would cost a new task.
    """
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
    """The decimal context that attempts share until one of them changes it.

    `decimal.getcontext().prec = 3` then makes a copy for that attempt. Otherwise it would be changed for all attempts.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        now = decimal.getcontext()
        if now is self:
            now = self.copy()
            decimal.setcontext(now)
            _own.set(now)
        if now is _own.get():  # a second change through the same object
            setattr(now, name, value)
        else:
            super().__setattr__(name, value)
