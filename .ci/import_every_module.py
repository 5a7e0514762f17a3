"""Imports every module of the installed evkafka; run it with an interpreter that has the wheel and no extras.

A module may fail for one reason only: that it needs an extra. Those are listed.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from importlib.metadata import requires

import evkafka

IMPORTED_AS = {"markdown-it-py": "markdown_it", "opentelemetry-api": "opentelemetry", "pyyaml": "yaml"}


def main() -> None:
    extras = _extras()
    modules = pkgutil.walk_packages(evkafka.__path__, "evkafka.")
    names = [module.name for module in modules if not module.name.endswith(".__main__")]  # those are programs
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in extras:
                raise
            print(f"{name} needs {error.name}, which an extra brings")
    print(f"{len(names)} modules of {evkafka.__path__[0]}")
    assert len(names) > 50, "the wheel lacks modules"


def _extras() -> set[str]:
    """The packages that some extra installs, under the names that they are imported by."""
    optional = (
        re.match(r"[\w-]+", requirement) for requirement in requires("evkafka") or () if "extra ==" in requirement
    )
    packages = {package[0] for package in optional if package is not None}
    return {IMPORTED_AS.get(package, package.replace("-", "_")) for package in packages}


if __name__ == "__main__":
    main()
