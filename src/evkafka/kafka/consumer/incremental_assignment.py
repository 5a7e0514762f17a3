"""An assignment that grows and shrinks, and a fetcher that continues with what stays.

aiokafka replaces its whole assignment at each rebalance: it cancels all fetches, and drops positions and fetched
records (aiokafka-defects.md#whole-assignment). With the consumer protocol one assignment lives as long as its source.
Partitions are added and removed; those that stay keep their state object, their buffer and the fetch that is under way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Coroutine, ItemsView, Iterable, Mapping
from typing import Any

from aiokafka.consumer.subscription_state import Assignment, PartitionStatus, Subscription, TopicPartitionState
from aiokafka.structs import TopicPartition as ClientPartition
from aiokafka.util import create_task

from evkafka.kafka.consumer.fetcher import BufferingFetcher
from evkafka.kafka.consumer.subscriptions import Subscriptions


class AssignedPartitionState(TopicPartitionState):
    def clear_position_and_mark_unassigned(self) -> None:
        """The partition is not assigned any more: what is still under way for it finds no position, and is dropped."""
        self._position = None
        self._status = PartitionStatus.UNASSIGNED


class PartitionStates:
    """Some partitions of an assignment with their states, as they were at one moment.

    Has the attributes of an assignment that fetches and look-ups of positions need.
    """

    def __init__(self, assignment: Assignment, states: Mapping[ClientPartition, AssignedPartitionState]) -> None:
        self._assignment = assignment
        self._states = states
        self.tps = states.keys()

    @property
    def active(self) -> bool:
        return bool(self._assignment.active)

    def state_value(self, tp: ClientPartition) -> AssignedPartitionState | None:
        return self._states.get(tp)

    def items(self) -> ItemsView[ClientPartition, AssignedPartitionState]:
        return self._states.items()


class IncrementalAssignment(Assignment):
    """The assignment of one source."""

    def __init__(self) -> None:
        super().__init__(())
        self._tp_state: Mapping[ClientPartition, AssignedPartitionState] = {}

    def add(self, tps: Iterable[ClientPartition]) -> None:
        """These partitions are assigned from now on, and have no position yet."""
        self._replace({**self._tp_state, **{tp: AssignedPartitionState(self) for tp in tps}})

    def remove(self, tps: Collection[ClientPartition]) -> None:
        """These partitions are not assigned any more."""
        for tp in tps:
            if (state := self._tp_state.get(tp)) is not None:
                state.clear_position_and_mark_unassigned()
        self._replace({tp: state for tp, state in self._tp_state.items() if tp not in tps})

    def _replace(self, states: Mapping[ClientPartition, AssignedPartitionState]) -> None:
        # A new mapping, because `snapshot` shares it with what is under way.
        self._tp_state = states
        self._topic_partitions = frozenset(states)

    def snapshot(self) -> PartitionStates:
        """Its partitions and their states at this moment."""
        return PartitionStates(self, self._tp_state)

    def partitions_with_position(self) -> PartitionStates:
        """Those that have a position."""
        return PartitionStates(self, {tp: state for tp, state in self._tp_state.items() if state.has_valid_position})


class IncrementalSubscription(Subscription):
    """The subscription of one source. A rebalance never withholds all of its records, so none is ever in progress."""

    def __init__(self, topics: Iterable[str]) -> None:
        super().__init__(topics)
        self._reassignment_in_progress = False
        self._assignment = IncrementalAssignment()

    @property
    def assignment(self) -> IncrementalAssignment:
        return self._assignment

    def replace_topics(self, topics: Iterable[str]) -> None:
        self._topics = frozenset(topics)


class IncrementalSubscriptions(Subscriptions):
    """What a source is subscribed to, for aiokafka's parts."""

    def __init__(self, topics: Iterable[str]) -> None:
        super().__init__()
        self._subscription = IncrementalSubscription(topics)

    @property
    def partitions(self) -> IncrementalAssignment:
        return self._subscription.assignment

    def replace_topics(self, topics: Iterable[str]) -> None:
        """Subscribe to other topics. Partitions of topics that are not among them stay until they are taken away."""
        self._subscription.replace_topics(topics)


class IncrementalAssignmentFetcher(BufferingFetcher):
    """Looks up positions of new partitions beside the fetches.

    aiokafka fetches nothing from a node while it looks up positions of that node's partitions. If the coordinator is
    away, all other partitions of the node would stand still.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sought: set[ClientPartition] = set()  # their positions are being looked up

    @property
    def _partitions(self) -> IncrementalAssignment:
        assignment: IncrementalAssignment = self._subscriptions.partitions
        return assignment

    def add_partitions(self, tps: Collection[ClientPartition]) -> None:
        """Read these partitions too, from their committed offsets on."""
        self._partitions.add(tps)
        self._wake_fetch_task()

    def remove_partitions(self, tps: Collection[ClientPartition]) -> Mapping[ClientPartition, int]:
        """Read these partitions no more: from here on none of their records is handed out.

        Returns their positions, which do not move any more.
        """
        positions = {tp: position for tp, position in self.positions().items() if tp in tps}
        self._partitions.remove(tps)
        for tp in tps:
            self._records.pop(tp, None)
            self._verified.pop(tp, None)
            self._out_of_range.pop(tp, None)
            self._preferred_read_replica.pop(tp, None)
            self._unverified.discard(tp)
        self._wake_fetch_task()
        return positions

    def positions(self) -> Mapping[ClientPartition, int]:
        """The positions of all partitions that have one."""
        return {tp: state.position for tp, state in self._partitions.partitions_with_position().items()}

    def _wake_fetch_task(self) -> None:
        """The assignment has changed: let the fetch task look at it."""
        self._notify(self._wait_consume_future)

    # The snapshots are taken when a task is created: a partition may be gone when it begins.

    def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> Coroutine[Any, Any, bool]:
        return super()._proc_fetch_request(assignment.snapshot(), node_id, request)

    def _update_fetch_positions(
        self, assignment: Any, node_id: Any, tps: Collection[ClientPartition]
    ) -> Coroutine[Any, Any, bool]:
        return super()._update_fetch_positions(assignment.snapshot(), node_id, tps)

    def _get_actions_per_node(self, assignment: Any) -> Any:
        without_leader = self._look_up_positions(assignment)
        fetches, lookups, timeout, invalid_metadata, resumes = super()._get_actions_per_node(
            assignment.partitions_with_position()
        )
        return fetches, lookups, timeout, invalid_metadata or without_leader, resumes

    def _look_up_positions(self, assignment: Any) -> bool:
        """Look up the positions that are not known. Returns whether a partition has no leader."""
        by_leader: dict[int, list[ClientPartition]] = defaultdict(list)
        without_leader = False
        for tp in assignment.tps - self._sought:
            if assignment.state_value(tp).has_valid_position:
                continue
            leader = self._client.cluster.leader_for_partition(tp)
            if leader in (None, -1):
                without_leader = True
            else:
                by_leader[leader].append(tp)
        for leader, tps in by_leader.items():
            self._sought.update(tps)
            seeking = create_task(self._update_fetch_positions(assignment, leader, tps))
            seeking.add_done_callback(lambda _, tps=tuple(tps): self._sought.difference_update(tps))
            self._pending_tasks.add(seeking)  # the fetch task waits for it, as for a fetch
        return without_leader
