"""Write the lock list of the jars that `evkafka.broker` runs: coordinates, sizes and sha256 sums.

    python tools/lock_kafka.py 4.2.0 2.25.3

The first argument is the version of Apache Kafka, the second that of log4j (the one that Kafka's own POMs
name). Run it for a new Kafka, review the difference, and commit the file; `LOCK` in `evkafka/broker/jars.py`
names the one in use.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import jgo

BROKER = Path(__file__).resolve().parent.parent / "src" / "evkafka" / "broker"


def main(kafka: str, log4j: str) -> None:
    # The "!" keeps jgo from treating the two as bills of materials: log4j's parent POM would otherwise pull
    # kafka-clients and jackson down to the versions that log4j was built with, and Kafka would not start.
    roots = f"org.apache.kafka:kafka_2.13:{kafka}!+org.apache.logging.log4j:log4j-slf4j-impl:{log4j}!"
    jars = []
    for artifact in jgo.resolve(roots):
        content = artifact.resolve().read_bytes()
        coordinates = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        jars.append({"jar": coordinates, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    jars.sort(key=lambda jar: str(jar["jar"]))
    target = BROKER / f"kafka-{kafka}.lock.json"
    target.write_text(json.dumps({"kafka": kafka, "jars": jars}, indent=1) + "\n", encoding="utf-8")
    print(f"{target.name}: {len(jars)} jars, {sum(int(str(jar['size'])) for jar in jars) / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
