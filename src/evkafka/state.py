"""What the lifespan yielded, as a request shows it: by attribute or by item."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any


class State(MutableMapping[str, Any]):
    """A view on the state of one attempt: `state.engine` and `state["engine"]` are the same.

    Raises:
        AttributeError: by attribute, where there is no such name (KeyError by item).
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        object.__setattr__(self, "_values", values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            known = ", ".join(sorted(self._values)) or "nothing"
            raise AttributeError(
                f"the state has no {name!r}: the lifespan (and the middleware) put in {known}"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def __delattr__(self, name: str) -> None:
        del self._values[name]

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"State({', '.join(sorted(self._values))})"
