"""The state of a request: the mapping that the lifespan yielded, readable by attribute or by item."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any


class State(MutableMapping[str, Any]):
    """A view on the state of one attempt: `state.engine` and `state["engine"]` are the same.

    Values hide methods of the same name: if the lifespan yielded `items`, `state.items` is that value.

    Raises:
        AttributeError: there is no such name (by item: KeyError).
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        object.__setattr__(self, "_values", values)

    def __getattribute__(self, name: str) -> Any:
        values = object.__getattribute__(self, "_values")
        if name in values:
            return values[name]
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(sorted(map(str, _values(self)))) or "nothing"
        raise AttributeError(f"the state has no {name!r}; the lifespan and the middleware have set {known}")

    def __setattr__(self, name: str, value: Any) -> None:
        _values(self)[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del _values(self)[name]
        except KeyError:
            raise AttributeError(f"the state has no {name!r} to delete") from None

    def __getitem__(self, name: str) -> Any:
        return _values(self)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        _values(self)[name] = value

    def __delitem__(self, name: str) -> None:
        del _values(self)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_values(self))

    def __len__(self) -> int:
        return len(_values(self))

    def __repr__(self) -> str:
        """Only the names: values may be secret."""
        return f"State({', '.join(sorted(map(str, _values(self))))})"


def _values(state: State) -> dict[str, Any]:
    """The dict that it shows, also if it has a value named `_values`."""
    values: dict[str, Any] = object.__getattribute__(state, "_values")
    return values
