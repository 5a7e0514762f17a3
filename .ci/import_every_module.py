"""Imports every module of the installed evkafka. Run it with an interpreter that has the wheel and no extras.

An import may fail for one reason only: the module needs an extra. Those modules are listed.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from importlib.metadata import requires

import evkafka

IMPORTED_AS = {
    "markdown-it-py": "markdown_it",
    "opentelemetry-api": "opentelemetry",
    "protobuf": "google",
    "pyyaml": "yaml",
}


def main() -> None:
    optional = _optional_packages()
    modules = pkgutil.walk_packages(evkafka.__path__, "evkafka.")
    names = [module.name for module in modules if not module.name.endswith(".__main__")]  # importing it would run it
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in optional:
                raise
            print(f"{name} needs {error.name}, which an extra brings")
    print(f"{len(names)} modules of {evkafka.__path__[0]}")
    assert len(names) > 50, "the wheel lacks modules"


def _optional_packages() -> set[str]:
    """Return the import names of the packages that the extras install."""
    requirements = (
        re.match(r"[\w-]+", requirement) for requirement in requires("evkafka") or () if "extra ==" in requirement
    )
    packages = {package[0] for package in requirements if package is not None}
    return {IMPORTED_AS.get(package, package.replace("-", "_")) for package in packages}


if __name__ == "__main__":
    main()
