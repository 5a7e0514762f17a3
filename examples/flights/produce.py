"""Sends the flights at a constant rate: `python -m examples.flights.produce --bootstrap-servers ...`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping
from itertools import islice

from evkafka import EVKafkaError, EVKafkaProducer

from .events import TOPIC, AirlineRegistered, Flight, read_flights

FLIGHTS_PER_S = 400.0
BURSTS_PER_S = 20


async def produce(
    bootstrap_servers: str,
    *,
    flights_per_s: float = FLIGHTS_PER_S,
    sent: Callable[[int], object] = lambda count: None,
    between: Mapping[int, Flight | AirlineRegistered] | None = None,
) -> int:
    """Send every flight, in short bursts. Its key is its aircraft, so that the flights of one aircraft stay in order.

    Args:
        sent: called with the number of confirmed flights.
        between: number of a flight -> another event to send before it, which is not counted.

    Returns:
        The number of flights.
    """
    count, flights, others = 0, read_flights(), between or {}
    loop = asyncio.get_running_loop()
    async with EVKafkaProducer({"bootstrap_servers": bootstrap_servers, "topic": TOPIC}) as producer:
        began_s = loop.time()
        while burst := list(islice(flights, max(1, round(flights_per_s / BURSTS_PER_S)))):
            await asyncio.sleep(began_s + count / flights_per_s - loop.time())
            queued = []
            for number, flight in enumerate(burst, count):
                if (more := others.get(number)) is not None:
                    queued.append(await producer.enqueue_event(more, type(more).__name__, key=more.carrier))
                queued.append(await producer.enqueue_event(flight, type(flight).__name__, key=flight.tail_number))
            await asyncio.gather(*queued)
            count += len(burst)
            sent(count)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.flights.produce")
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--rate", type=float, default=FLIGHTS_PER_S, help="flights per second (400)")
    asked = parser.parse_args()
    try:
        count = asyncio.run(produce(asked.bootstrap_servers, flights_per_s=asked.rate))
    except EVKafkaError as error:
        sys.exit(f"not sent: {error}")
    print(f"{count:,} flights sent")


if __name__ == "__main__":
    main()
