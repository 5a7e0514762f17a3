"""`make dist`: builds the wheel, the sdist and the bill of materials into dist/.

Wheel and sdist are built twice and must be equal byte for byte, so that anyone can build the tag and compare.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
CHANGES = ROOT / "changes"

TAG_HINT = "the version comes from the tag: tag this commit, and nothing may be uncommitted"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", metavar="TAG", help="check that everything is ready to be published as this tag")
    options = parser.parse_args()
    shutil.rmtree(DIST, ignore_errors=True)
    build(DIST)
    check_reproducible()
    version = version_of(next(DIST.glob("*.whl")))
    if options.release is not None:
        check_release(options.release, version)
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, DIST.iterdir()))
    write_materials(version)
    for path in sorted(DIST.iterdir()):
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")


def build(into: Path) -> None:
    """Build the sdist, and the wheel from it, so that a file missing from the sdist is noticed."""
    run(sys.executable, "-m", "build", "-o", str(into), str(ROOT), SOURCE_DATE_EPOCH=commit_time())


def commit_time() -> str:
    """Return the commit's time, which the archives use instead of the current time."""
    completed = subprocess.run(  # nosec B603 B607 # our own command, git from PATH
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return completed.stdout.strip()


def check_reproducible() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        build(Path(scratch))
        for path in DIST.iterdir():
            if path.read_bytes() != (Path(scratch) / path.name).read_bytes():
                sys.exit(f"{path.name} is not reproducible: two builds of one commit differ")


def version_of(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def check_release(tag: str, version: str) -> None:
    """Exit with an error unless the tag is the version and the changelog has a dated section for it."""
    if tag != f"v{version}":
        sys.exit(f"the tag is {tag}, and what was built is {version}: {TAG_HINT}")
    if not re.search(
        rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    ):
        sys.exit(f"CHANGELOG.md has no dated section {version}: `towncrier build --version {version}` writes it")
    if unreleased := sorted(path.name for path in CHANGES.glob("*.md")):
        sys.exit(
            f"changes/ still has {', '.join(unreleased)}: "
            f"`towncrier build --version {version}` moves them to CHANGELOG.md"
        )


def write_materials(version: str) -> None:
    """Write a CycloneDX file of all packages that the wheel installs with all extras, with versions and licences."""
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = str(Path(scratch) / "bin" / "python")
        requirement = f"evkafka[{','.join(extras(next(DIST.glob('*.whl'))))}]=={version}"
        run(
            python, "-m", "pip", "install", "-q", "--find-links", str(DIST), requirement
        )  # by name: no path of this machine
        run(python, "-m", "pip", "uninstall", "-q", "-y", "pip", "setuptools")
        target = DIST / f"evkafka-{version}.cdx.json"
        run(sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "-o", str(target), python)


def extras(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        [folder] = [path for path in zipfile.Path(archive).iterdir() if path.name.endswith(".dist-info")]
        distribution: Distribution = PathDistribution(folder)
        return distribution.metadata.get_all("Provides-Extra") or []


def run(*command: str, **environment: str) -> None:
    subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=600)  # nosec B603 # our own command


if __name__ == "__main__":
    main()
