"""Migrates from one Kafka cluster to another without downtime: one handler, with a consumer on each cluster.

    OLD_SERVERS=old:9092 NEW_SERVERS=new:9092 evkafka run examples.two_clusters:app

The old cluster's producers use another header for the event type, `type`: a middleware of the old consumer reads it.
The new cluster is not required: while it is being set up, or is unavailable, the old one is served. When the lag of the
old topic is 0 and nobody writes to it any more, remove the first `add_consumer`.
"""

from __future__ import annotations

import os

from pydantic import BaseModel

from evkafka import ConsumerConfig, EVKafkaApp, Handler, Middleware, Request
from evkafka.middleware import JsonTypedDecoderMiddleware

handler = Handler()


class ParcelScanned(BaseModel):
    parcel_id: str
    place: str


@handler.event("ParcelScanned")
async def on_scan(scan: ParcelScanned, request: Request) -> None:
    print(f"{request.context.consumer.cluster_name}: {scan.parcel_id} at {scan.place}", flush=True)


OLD: ConsumerConfig = {
    "topics": ["scans"],
    "bootstrap_servers": os.environ.get("OLD_SERVERS", "localhost:9092"),
    "cluster_name": "old",
    "group_id": "tracking",
    "auto_offset_reset": "earliest",
}
NEW: ConsumerConfig = {
    "topics": ["parcels.scanned"],
    "bootstrap_servers": os.environ.get("NEW_SERVERS", "localhost:9093"),
    "cluster_name": "new",
    "group_id": "tracking",
    "auto_offset_reset": "earliest",
    "required": False,
}

app = EVKafkaApp(title="Tracking")
app.add_consumer(OLD, handler, name="old", middleware=[Middleware(JsonTypedDecoderMiddleware, type_header_name="type")])
app.add_consumer(NEW, handler, name="new")
