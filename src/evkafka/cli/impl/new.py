"""`evkafka new`: creates the files of a service, which runs and passes its own tests."""

from __future__ import annotations

import keyword
from importlib import resources
from pathlib import Path
from typing import Literal

from evkafka.exceptions import ConfigError

TEMPLATE = "service"

EXTRAS = "cli,web,metrics,settings"

Format = Literal["json", "avro"]
SUFFIX = ".in"
"""The suffix of the template's files, so that no tool takes them for Python code or tests."""


def create_service(name: str, directory: Path | None, value_format: Format = "json") -> None:
    """Create the files, and print the next commands.

    Args:
        value_format: of the values of its topics.

    Raises:
        ConfigError: the name cannot be the name of a package, or a file exists already.
    """
    package = name.lower().replace("-", "_")
    if not package.isidentifier() or keyword.iskeyword(package) or not package.isascii():
        raise ConfigError(
            f"{name!r} cannot be the name of a package: give letters, digits, - and _, as in order-mailer"
        )
    home = Path(name) if directory is None else directory
    words = {"__package__": package, "__service__": package.replace("_", "-"), "__Title__": _title_of_package(package)}
    is_avro = value_format == "avro"
    words |= {"__extras__": f"{EXTRAS},avro" if is_avro else EXTRAS, "__registry__": " --registry" if is_avro else ""}
    files = _render_files(TEMPLATE, words) | (_render_files(f"{TEMPLATE}-avro", words) if is_avro else {})
    taken = [path for path in files if (home / path).exists()]
    if taken:
        raise ConfigError(f"{home / taken[0]} exists already: name another directory with --in")
    try:
        for path, text in files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{home} cannot be written: {error.strerror or error}") from error
    print(f"created {home}/ with {len(files)} files\n")
    print(f"  cd {home}")
    print("  pip install -e '.[dev]'")
    print("  pytest")
    print(f"  evkafka dev {package}.main:app{words['__registry__']}")


def _title_of_package(package: str) -> str:
    return package.replace("_", " ").capitalize()


def _render_files(template: str, words: dict[str, str]) -> dict[Path, str]:
    """The path and the text of each file."""
    root = resources.files("evkafka.cli") / "templates" / template
    files: dict[Path, str] = {}
    with resources.as_file(root) as directory:
        for path in sorted(directory.rglob(f"*{SUFFIX}")):
            name = str(path.relative_to(directory)).removesuffix(SUFFIX)
            files[Path(_fill_placeholders(name, words))] = _fill_placeholders(path.read_text(encoding="utf-8"), words)
    return files


def _fill_placeholders(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
