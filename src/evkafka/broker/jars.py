"""Kafka's jars. The lock file lists them; they are downloaded once per user, and checked at every start."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evkafka.broker.maven import DOWNLOADS_AT_ONCE, MavenFile, Product, cache_dir, download_files, sha256_of

KAFKA_VERSION = "4.2.0"
LOCK = Path(__file__).with_name(f"kafka-{KAFKA_VERSION}.lock.json")

KAFKA = Product(f"Apache Kafka {KAFKA_VERSION}", "Kafka's jar", "Kafka's jars", "a broker")


def read_lock_file() -> list[MavenFile]:
    entries = json.loads(LOCK.read_text(encoding="utf-8"))["jars"]
    jars = []
    for entry in entries:
        group, artifact, version = entry["jar"].split(":")
        jars.append(MavenFile(group, artifact, version, entry["size"], entry["sha256"]))
    return jars


def ensure_kafka_jars() -> list[Path]:
    """The jars with checked checksums. Jars that are missing or corrupt are downloaded.

    Raises:
        BrokerError: they cannot be downloaded, or their checksums differ from the lock file.
    """
    jars = read_lock_file()
    home = cache_dir() / f"kafka-{KAFKA_VERSION}"
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        good = list(pool.map(lambda jar: sha256_of(home / jar.name) == jar.sha256, jars))
    if missing := [jar for jar, is_good in zip(jars, good, strict=True) if not is_good]:
        download_files(missing, home, KAFKA)
    return [home / jar.name for jar in jars]
