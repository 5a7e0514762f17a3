"""Errors with frames of the framework in their traceback."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def error_through(package: str, function: Callable[[], object]) -> BaseException:
    """The error that the function raises. Its traceback begins with a frame of this package, which calls it."""
    names: dict[str, object] = {"__name__": f"{package}.module", "function": function}
    exec(compile("def call():\n    return function()\n", f"{package}.py", "exec"), names)
    call = names["call"]
    assert callable(call)
    with pytest.raises(BaseException) as raised:
        call()
    assert raised.tb.tb_next is not None
    return raised.value.with_traceback(raised.tb.tb_next)  # without the frame of this function
