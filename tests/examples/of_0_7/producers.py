"""Producing: a Sender beside a handler, and a producer by itself."""

from pydantic import BaseModel

from evkafka import EVKafkaApp, EVKafkaProducer, Handler, Sender
from evkafka.config import ConsumerConfig, ProducerConfig


class Order(BaseModel):
    order_id: str


class Bill(BaseModel):
    order_id: str
    cents: int


consumer_config: ConsumerConfig = {
    "topics": ["orders"],
    "bootstrap_servers": "kafka:9092",
    "group_id": "billing",
    "auto_offset_reset": "earliest",
}
producer_config: ProducerConfig = {"bootstrap_servers": "kafka:9092", "topic": "bills"}

handler, sender = Handler(), Sender()


@sender.event("BillIssued")
async def send_bill(bill: Bill) -> None: ...


@sender.event("BillArchived", topic="archive", summary="For the books", tags=["books"])
async def archive_bill(bill: Bill) -> None:
    raise AssertionError("its own body is not run")


@handler.event("OrderPlaced")
async def on_order(order: Order) -> None:
    bill = Bill(order_id=order.order_id, cents=100)
    await send_bill(bill)
    await archive_bill(bill=bill)


app = EVKafkaApp()
app.add_consumer(consumer_config, handler)
app.add_producer(producer_config, sender)


async def produce_in_a_context() -> None:
    async with EVKafkaProducer(producer_config) as producer:
        await producer.send_event(Bill(order_id="1", cents=1), "BillIssued")
        await producer.send_event({"order_id": "2"}, "BillIssued", topic="other", key=b"2", headers={"trace": b"t"})


async def produce_by_hand() -> None:
    producer = EVKafkaProducer(producer_config)
    await producer.start()
    try:
        confirmed = await producer.send_event("text", "Text", partition=0, timestamp_ms=1)
        await confirmed  # 0.7 gave a future
        await producer.flush()
    finally:
        await producer.stop()


if __name__ == "__main__":
    app.run()
