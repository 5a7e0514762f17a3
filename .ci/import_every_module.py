"""Imports every module of the installed evkafka; run it with an interpreter that has the wheel and no extras.

A module may fail for one reason only: that it needs an extra. Those are listed.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from importlib.metadata import requires

import evkafka


def main() -> None:
    extra_of = _extras()
    modules = pkgutil.walk_packages(evkafka.__path__, "evkafka.")
    names = [module.name for module in modules if not module.name.endswith(".__main__")]  # those are programs
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            extra = extra_of.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            print(f"{name} needs evkafka[{extra}]")
    print(f"{len(names)} modules of {evkafka.__path__[0]}")
    assert len(names) > 50, "the wheel lacks modules"


def _extras() -> dict[str, str]:
    """What each extra installs -> the extra's name."""
    found: dict[str, str] = {}
    for requirement in requires("evkafka") or ():
        if (extra := re.search(r"""extra == ['"]([\w-]+)['"]""", requirement)) is not None:
            package = re.match(r"[\w-]+", requirement)
            assert package is not None
            found.setdefault(package[0].replace("-", "_"), extra[1])
    return found


if __name__ == "__main__":
    main()
