"""The guarantees that are checked during and after every schedule."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from evkafka import ConsumerConfig
from evkafka.records import TopicPartition
from evkafka.testing import InMemoryKafka

if TYPE_CHECKING:
    from tests.property.worker import Journal

GROUP, TOPIC, OUT, DEAD = "g", "t", "out", "t.g.dlq"

WORKS = {"Work", "Bound", "Sync", "Batch"}
"""The event types with an endpoint."""

Lane = tuple[int, "bytes | None"]


class Broken(AssertionError):
    """A guarantee is violated."""


def lane_of(config: ConsumerConfig, partition: int, key: bytes | None) -> Lane:
    """Return the lane of a record: its partition, and its key if order is kept by key."""
    by_key = config.get("concurrency", 1) > 1 and config.get("ordering", "key") != "partition"
    return partition, key if by_key else None


def kept_in_order(config: ConsumerConfig, lane: Lane) -> bool:
    """Return True if the configuration guarantees the order within this lane."""
    if retry_topics(config):
        return False  # retry topics do not keep the order
    if config.get("concurrency", 1) == 1 or config.get("ordering", "key") == "partition":
        return True
    return config.get("ordering", "key") == "key" and lane[1] is not None  # records without a key have no order


def retry_topics(config: ConsumerConfig) -> list[str]:
    """Return the retry topics of TOPIC, the shortest delay first."""
    return [f"{TOPIC}.{GROUP}.retry.{delay_ms}" for delay_ms in config.get("on_error", {}).get("retry_topics") or ()]


class Promises:
    """Compares what the endpoints did with the content of the logs."""

    def __init__(self, kafka: InMemoryKafka, journal: Journal, config: ConsumerConfig) -> None:
        self._kafka = kafka
        self._journal = journal
        self._config = config

    def nothing_unhandled_is_committed(self) -> None:
        """No offset is committed past a record that is neither handled nor a dead letter. True at any time."""
        for tp in self._kafka.topics.partitions(TOPIC):
            committed = self._kafka.committed(GROUP, TOPIC, tp.partition) or 0
            done = set(self._journal.handled[tp.partition]) | self._dead_letters(tp)
            tiers = retry_topics(self._config)
            handled = done | {offset for tier in tiers for _, offset in self._waiting(tier, tp.partition)}
            lost = [offset for offset in self._expected(tp) if offset < committed and offset not in handled]
            if lost:
                raise Broken(f"committed {committed} of partition {tp.partition}, but {lost} is unhandled")
            for number, tier in enumerate(tiers):
                later = {offset for other in tiers[number + 1 :] for _, offset in self._waiting(other, tp.partition)}
                self._nothing_unhandled_is_committed_in(tier, tp.partition, done | later)

    def _nothing_unhandled_is_committed_in(self, tier: str, partition: int, handled: set[int]) -> None:
        committed = self._kafka.committed(f"{GROUP}.retry", tier, partition) or 0
        waiting = self._waiting(tier, partition)
        if lost := [origin for offset, origin in waiting if offset < committed and origin not in handled]:
            raise Broken(f"committed {committed} of {tier}[{partition}], but {lost} of the source is unhandled")

    def _waiting(self, tier: str, partition: int) -> list[tuple[int, int]]:
        """Return the records of a retry topic: (offset there, offset in the source)."""
        if tier not in self._kafka.topics:
            return []
        records = self._kafka.records(tier, partition=partition)
        return [(record.offset, int(record.header("evkafka-retry-offset") or b"-1")) for record in records]

    def check_all(self) -> None:
        """Check all guarantees, when everything is idle."""
        if self._journal.broken:
            raise Broken(self._journal.broken[0])
        self.nothing_unhandled_is_committed()
        for tp in self._kafka.topics.partitions(TOPIC):
            self._all_is_handled_and_committed(tp)
        self._lanes_are_in_order()
        self._every_confirmed_output_is_in_the_log()
        self._outputs_are_in_order()

    def _expected(self, tp: TopicPartition) -> list[int]:
        records = self._kafka.records(TOPIC, partition=tp.partition)
        return [record.offset for record in records if record.event_type in WORKS]

    def _dead_letters(self, tp: TopicPartition) -> set[int]:
        """Return the source offsets of the records in the dead-letter topic."""
        return {
            int(record.header("evkafka-dlq-offset") or b"-1")
            for record in self._kafka.records(DEAD)
            if record.header("evkafka-dlq-partition") == str(tp.partition).encode()
        }

    def _all_is_handled_and_committed(self, tp: TopicPartition) -> None:
        end = self._kafka.topics.log(tp).end
        if missing := set(self._expected(tp)) - set(self._journal.handled[tp.partition]) - self._dead_letters(tp):
            raise Broken(f"lost {sorted(missing)} of partition {tp.partition}")
        committed = self._kafka.committed(GROUP, TOPIC, tp.partition)
        if committed != end and end:
            raise Broken(f"partition {tp.partition} is committed to {committed}, its end is {end}")

    def _lanes_are_in_order(self) -> None:
        """A dead letter has had its turn: if a crash came before its commit, the record may be handled once more."""
        kept = self._kept()
        for lane, offsets in self._journal.in_lanes.items():
            dead = self._dead_letters(TopicPartition(TOPIC, lane[0]))
            firsts = [one for one in dict.fromkeys(offsets) if (lane[0], one) in kept and one not in dead]
            if kept_in_order(self._config, lane) and firsts != sorted(firsts):
                raise Broken(f"lane {lane} was handled in the order {firsts}")

    def _kept(self) -> set[tuple[int, int]]:
        """Return the records that retention and compaction have kept.

        A deleted record may be handled late: by a member that was frozen while it had the record in flight, when the
        partition's next owner has already handled later records.
        """
        return {(record.partition, record.offset) for record in self._kafka.records(TOPIC)}

    def _every_confirmed_output_is_in_the_log(self) -> None:
        """Every output that was confirmed to an endpoint is in the log, at least once."""
        outputs = [record.json() for record in self._kafka.records(OUT)]
        written = {(done["partition"], done["offset"]) for done in outputs}
        works = [record for record in self._kafka.records(TOPIC) if record.event_type in WORKS - {"Sync"}]
        expected = {(record.partition, record.offset) for record in works if record.json()["sends"]}
        if missing := sorted(set(self._journal.sent) - written):
            raise Broken(f"the outputs of {missing} were confirmed, and are not in the log")
        handled = {(partition, offset) for partition, offsets in self._journal.handled.items() for offset in offsets}
        if missing := sorted((expected & handled) - written):
            raise Broken(f"{missing} were handled, and their outputs are not in the log")

    def _outputs_are_in_order(self) -> None:
        """The first outputs of each key are in the order of their source records; the key selects their partition."""
        firsts, kept = defaultdict[str, dict[int, None]](dict), self._kept()
        for done in (record.json() for record in self._kafka.records(OUT)):
            if done["key"] is not None and (done["partition"], done["offset"]) in kept:  # the key has the partition
                firsts[done["key"]][done["offset"]] = None
        unordered = self._config.get("concurrency", 1) > 1 and self._config.get("ordering") == "unordered"
        unordered = unordered or bool(retry_topics(self._config))
        for key, offsets in firsts.items():
            if not unordered and list(offsets) != sorted(offsets):
                raise Broken(f"the outputs of key {key} are in the order {list(offsets)}")
