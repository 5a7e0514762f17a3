"""CPU-bound work: a plain `def` endpoint runs in a thread, and the event loop continues to poll.

    BOOTSTRAP_SERVERS=localhost:9092 evkafka run examples.cpu_bound:app

`concurrency` is the number of records in flight, and of threads. Code that releases the GIL while it computes (hashing,
compression, numpy, image codecs) uses that many cores in one process. Pure Python does not: `evkafka run --workers 4`
runs four processes in one group.
"""

from __future__ import annotations

import hashlib
import os

from pydantic import BaseModel

from evkafka import EVKafkaApp, Handler

handler = Handler()


class PasswordChosen(BaseModel):
    user_id: str
    password: str


@handler.event("PasswordChosen", timeout_ms=10_000)
def on_password(chosen: PasswordChosen) -> None:
    salt = chosen.user_id.encode()
    stored = hashlib.scrypt(chosen.password.encode(), salt=salt, n=2**14, r=8, p=1)
    print(f"{chosen.user_id}: {stored.hex()[:16]}", flush=True)


app = EVKafkaApp(title="Passwords")
app.add_consumer(
    {
        "topics": ["passwords"],
        "bootstrap_servers": os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092"),
        "group_id": "passwords",
        "auto_offset_reset": "earliest",
        "concurrency": 4,
        "ordering": "key",
    },
    handler,
)
