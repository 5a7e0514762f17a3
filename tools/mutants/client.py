"""Breakages of the Kafka client: sends, fetches, commits, and the replay of dead letters."""

from __future__ import annotations

from tools.mutants.breakage import Breakage

PRODUCING = [
    Breakage(
        "a batch whose send was not answered is sent again",
        "kafka/producer/partition_queue.py",
        "elif refusal.code in NOT_THE_BATCH and sent_once and batch.tries < MAX_TRIES:",
        "elif refusal.code in NOT_THE_BATCH and batch.tries < MAX_TRIES:",
        "its records are written twice",
        ("tests/kafka/producer/test_partition_queue.py",),
    ),
    Breakage(
        "a batch that was refused through no fault of its own is not sent again",
        "kafka/producer/partition_queue.py",
        "elif refusal.code in NOT_THE_BATCH and sent_once and batch.tries < MAX_TRIES:",
        "elif False:",
        "an expired producer id fails sends that could still be written",
        ("tests/kafka/producer/test_partition_queue.py",),
    ),
    Breakage(
        "a batch with one bad record fails as a whole",
        "kafka/producer/partition_queue.py",
        "elif refusal.code in ONE_RECORD and sent_once and len(batch.records) > 1:",
        "elif False:",
        "one large record fails the others of its batch",
        ("tests/kafka/producer/test_refused.py",),
    ),
    Breakage(
        "a record without an answer is reported as not written",
        "kafka/producer/partition_queue.py",
        "unknown = refusal.code is None or refusal.code in MAYBE_WRITTEN or not sent_once",
        "unknown = False",
        "a caller that sends it again writes it twice",
        ("tests/kafka/producer/test_batch_outcomes.py",),
    ),
    Breakage(
        "a record whose send timed out is still sent",
        "kafka/producer/partition_queue.py",
        "        unfinished = [record for record in records if not record.confirmed.done()]\n        if not",
        "        unfinished = list(records)\n        if not",
        "a send that failed is written nevertheless",
        ("tests/kafka/producer/test_batch_outcomes.py",),
    ),
    Breakage(
        "a broken sequence is not noticed",
        "kafka/producer/idempotent_producer.py",
        "        return self._idempotent and was_sent(batch)",
        "        return False",
        "every later send to the partition fails, for as long as the process lives",
        ("tests/kafka/producer/test_refused.py",),
    ),
    Breakage(
        "the stop does not flush the queue",
        "kafka/producer/sink.py",
        "        await self._flush(max(timeout_s - 2 * close_s, 0.0))",
        "        pass",
        "events sent just before the stop are lost",
        ("tests/kafka/producer/test_sink.py",),
    ),
]

CLIENT = [
    Breakage(
        "a poll returns records before the new assignment is set up",
        "kafka/consumer/source.py",
        "        if self._rebalance_state is not RebalanceState.READY:\n            return True",
        "        pass",
        "they are dropped, and their partition continues after them",
        ("tests/kafka/consumer/test_early_records.py",),
    ),
    Breakage(
        "the consumer waits for a client task that has ended",
        "kafka/consumer/source.py",
        "            if task is not None and task.done():",
        "            if False:",
        "the consumer stalls forever without a log line",
        ("tests/acceptance/faults/test_cancelled_tasks.py",),
    ),
    Breakage(
        "with read_committed the end offset is the log's end",
        "kafka/consumer/source.py",
        'if self._settings.isolation_level == "read_committed" and',
        "if False and",
        "lag never reads 0 while a transaction is open",
        ("tests/kafka/consumer/test_end_offsets.py",),
    ),
    Breakage(
        "a commit is sent for an assignment that has ended",
        "kafka/consumer/commit.py",
        "        if self._member.is_assignment_current(self._assignment):\n            return\n"
        "        if self._unanswered:",
        "        return\n        if self._unanswered:",
        "the next owner's offset moves back, or forward past records that it has not handled",
        ("tests/kafka/consumer/test_commit.py",),
    ),
    Breakage(
        "a commit for a partition that is not ours is sent",
        "kafka/consumer/classic_coordinator.py",
        "        if foreign := [tp for tp in partitions if tp not in assignment.partitions.tps]:",
        "        if foreign := [tp for tp in partitions if False]:",
        "a mistake of ours skips another member's records",
        ("tests/kafka/consumer/test_commit.py",),
    ),
    Breakage(
        "a commit without an answer counts as refused",
        "kafka/consumer/commit.py",
        "                self._unanswered = True\n                answer",
        "                answer",
        "it is not committed again, although it may not have been written",
        ("tests/kafka/consumer/test_commit.py",),
    ),
    Breakage(
        "an error of one partition in the offset fetch counts as no committed offset",
        "kafka/consumer/offset_fetch.py",
        "            if code:\n                raise error_for_code(code, topic)",
        "            pass",
        "the group begins at the end of the topic, and all before it is skipped",
        ("tests/kafka/consumer/test_early_records.py",),
    ),
    Breakage(
        "an error of the whole offset fetch counts as no committed offset",
        "kafka/consumer/classic_coordinator.py",
        "        elif code not in (0, ErrorCode.GROUP_ID_NOT_FOUND) and isinstance(request, OFFSET_FETCHES):",
        "        elif False:",
        "the group begins at the end of the topic, and all before it is skipped",
        ("tests/kafka/consumer/test_start_positions.py::TestFailedLookups",),
    ),
    Breakage(
        "a commit for a topic that was recreated skips its records",
        "kafka/consumer/classic_coordinator.py",
        "if existing := {tp: offset for tp, offset in offsets.items() if tp.topic not in deleted}:",
        "if existing := dict(offsets):",
        "records of the recreated topic are skipped",
        ("tests/acceptance/faults/test_topics.py::TestARecreatedTopic",),
    ),
    Breakage(
        "a partition that was added later begins at its end",
        "kafka/consumer/fetcher.py",
        'if self._reset == "earliest" or is_new:',
        'if self._reset == "earliest":',
        "records written before the group noticed it are skipped",
        ("tests/kafka/consumer/test_start_positions.py::TestResetRule",),
    ),
    Breakage(
        "a position beyond the log is not reset",
        "kafka/consumer/fetcher.py",
        "                state.await_reset(OffsetResetStrategy.NONE)",
        "                pass",
        "the partition stalls forever",
        ("tests/kafka/consumer/test_start_positions.py::TestResetRule",),
    ),
    Breakage(
        "the log of a new leader is not checked",
        "kafka/consumer/fetcher.py",
        "        if fetched in (known, UNKNOWN) or known == UNKNOWN:",
        "        if True:",
        "after an unclean election, acknowledged records are skipped without a notice",
        ("tests/kafka/consumer/test_leader_epochs.py",),
    ),
]

WHAT_STAYS = "tests/kafka/consumer/test_consumer_protocol.py::TestWhatStays"

CONSUMER_PROTOCOL = [
    Breakage(
        "a partition counts as given back when its revocation begins",
        "kafka/consumer/membership.py",
        "            self._revoking = give_back\n",
        "            self._revoking = give_back\n            self.owned -= give_back\n",
        "its next owner begins before the attempts have ended",
        ("tests/kafka/consumer/test_membership.py::TestChanges",),
    ),
    Breakage(
        "what was taken and given back between two heartbeats is not reported",
        "kafka/consumer/membership.py",
        "or (is_carried_out and not self._is_acknowledged)",
        "or False",
        "the coordinator waits for it until it fences the member",
        ("tests/kafka/consumer/test_membership.py",),
    ),
    Breakage(
        "a session is counted from the answer to its heartbeat",
        "kafka/consumer/membership.py",
        "        self.accepted_s = self._sent_s\n",
        "        self.accepted_s = now_s\n",
        "a member works on partitions that the group has given to others",
        ("tests/kafka/consumer/test_membership.py::TestLostAnswers",),
    ),
    Breakage(
        "a heartbeat without an answer is not repeated as a whole",
        "kafka/consumer/membership.py",
        "        self._told_topics = self._told_owned = None\n        return beat",
        "        return beat",
        "an assignment in a lost answer is never seen",
        ("tests/kafka/consumer/test_membership.py",),
    ),
    Breakage(
        "a fetch under way sees the assignment of a later moment",
        "kafka/consumer/incremental_assignment.py",
        "super()._proc_fetch_request(assignment.snapshot(), node_id, request)",
        "super()._proc_fetch_request(assignment, node_id, request)",
        "the fetch task fails on a partition that was given back",
        (f"{WHAT_STAYS}::test_comes_with_a_fetch_that_asked_for_more_than_that",),
    ),
    Breakage(
        "nothing is fetched from a node while a position of its partitions is looked up",
        "kafka/consumer/incremental_assignment.py",
        "            assignment.partitions_with_position()\n        )",
        "            assignment\n        )",
        "partitions that stay stand still while the coordinator is away",
        (f"{WHAT_STAYS}::test_is_not_held_up_by_positions_that_cannot_be_looked_up",),
    ),
    Breakage(
        "a position that was looked up for a partition that was given back is used",
        "kafka/consumer/fetcher.py",
        "assignment.active and assignment.state_value(tp)._status is not PartitionStatus.UNASSIGNED",
        "assignment.active",
        "a reset is reported for a partition of another member",
        (f"{WHAT_STAYS}::test_finds_its_position_with_an_answer_that_has_others_too",),
    ),
    Breakage(
        "records of a partition are handed out while it is drained",
        "kafka/consumer/reconciler.py",
        "positions = self._fetcher.remove_partitions({self._client_partition(one) for one in partitions})",
        "positions = self._fetcher.positions()",
        "they are handled twice",
        (WHAT_STAYS,),
    ),
    Breakage(
        "a partition that was given back may still be committed",
        "kafka/consumer/reconciler.py",
        "        self._offsets.refuse_commits(tps)\n",
        "",
        "a late commit moves the next owner's offset back",
        (WHAT_STAYS,),
    ),
    Breakage(
        "a commit with a stale epoch is refused",
        "kafka/consumer/member_offsets.py",
        "        self._schedule_heartbeat_now()\n        return True",
        "        return False",
        "records are handled again after each change of the group",
        ("tests/kafka/consumer/test_consumer_protocol.py::TestCommits",),
    ),
]

REMOVED_MEMBERS = "tests/kafka/consumer/test_transactions.py::TestAMemberThatTheGroupHasRemoved"

TRANSACTIONS = [
    Breakage(
        "a transaction commits offsets without naming the member",
        "kafka/consumer/transaction_offsets.py",
        "producer, identity, rows)",
        'producer, identity._replace(generation=-1, member_id="", instance_id=None), rows)',
        "a member that was frozen writes once more what the next owner has written",
        (f"{REMOVED_MEMBERS}::test_commits_nothing_that_has_no_offsets_yet",),
    ),
    Breakage(
        "a transaction commits offsets under the generation that the client has now",
        "kafka/consumer/classic_coordinator.py",
        '''            and assignment.generation == self.generation
            and assignment.member_id == self.member_id
            and bool(assignment.partitions.active)
        )

    def member_identity(self, assignment: MemberAssignment) -> MemberIdentity:
        """The member that holds an assignment, as it was when the assignment was received."""
        return MemberIdentity(self.group_id, assignment.generation, assignment.member_id, self._group_instance_id)
''',
        """            and bool(assignment.partitions.active)
        )

    def member_identity(self, assignment: MemberAssignment) -> MemberIdentity:
        return MemberIdentity(self.group_id, self.generation, self.member_id, self._group_instance_id)
""",
        "a member that has heard that it was removed has none, and commits as nobody",
        (f"{REMOVED_MEMBERS}::test_commits_nothing_when_it_has_heard_of_it",),
    ),
    Breakage(
        "an exactly-once consumer begins at an offset that a transaction may change",
        "kafka/consumer/classic_coordinator.py",
        "            if self._requires_stable and partitions is not None",
        "            if False",
        "what an open transaction has handled is handled twice",
        (f"{REMOVED_MEMBERS}::test_commits_what_has_its_offsets_already_and_the_next_owner_waits_for_that",),
    ),
    Breakage(
        "a transaction that failed is not aborted",
        "kafka/producer/transactional_producer.py",
        "            self._cleanup = start_named_task(",
        "            _ = lambda: start_named_task(",
        "readers of the output wait until it times out",
        (f"{REMOVED_MEMBERS}::test_commits_nothing_that_has_no_offsets_yet",),
    ),
    Breakage(
        "the transaction after an unknown result has the same epoch",
        "kafka/producer/transaction_state.py",
        """            case Phase.NEW | Phase.ENDING | Phase.BROKEN:
                return Cleanup.INITIALIZE
            case _ if self._lost_an_answer or self._unanswered:
                return Cleanup.INITIALIZE
""",
        """            case Phase.NEW | Phase.BROKEN:
                return Cleanup.INITIALIZE
            case Phase.ENDING:
                return Cleanup.ABORT
""",
        "a late commit commits half of the next transaction",
        (
            "tests/kafka/producer/test_transaction_state.py",
            "tests/kafka/consumer/test_transactions.py::TestWithoutAnAnswer",
        ),
    ),
    Breakage(
        "a commit without an answer counts as not committed",
        "kafka/producer/transactional_producer.py",
        "may_be_committed=began and self._state.may_be_committed)",
        "may_be_committed=False)",
        "its records are handled again, although their outputs may be there",
        ("tests/kafka/consumer/test_transaction_faults.py::TestSilence",),
    ),
    Breakage(
        "the sequence numbers of a transaction are not counted",
        "kafka/producer/output_writer.py",
        "self._state.sequences[queue.partition] += queue.remove_confirmed_batch()",
        "queue.remove_confirmed_batch()",
        "brokers take its second batch for a copy of the first, and its records are lost",
        ("tests/kafka/consumer/test_transactions.py::TestATransaction",),
    ),
]

REPLAY = [
    Breakage(
        "a dead letter that was replayed stays open",
        "dlq/state_topic.py",
        "            if mark is not None and mark.closes(dead_letter):",
        "            if mark is not None and False:",
        "each replay handles it once more",
        ("tests/dlq/test_replay.py",),
    ),
    Breakage(
        "a state record closes every dead letter of its source record",
        "dlq/state_topic.py",
        "return self.position == dead_letter.position and self.timestamp_ms == timestamp_ms",
        "return True",
        "a record that failed after its topic was recreated is never shown",
        ("tests/runtime/dead_letters/test_identity.py",),
    ),
    Breakage(
        "a dead letter whose replay failed is marked as done",
        "dlq/replay.py",
        "            if reason := await self._targets.replay_refusal_reason(dead_letter)"
        " or await self._handle(dead_letter):",
        "            if (reason := await self._handle(dead_letter)) and False:",
        "the record is lost",
        ("tests/dlq/test_replay.py", "tests/dlq/test_end_to_end.py"),
    ),
]

BREAKAGES = (*PRODUCING, *CLIENT, *CONSUMER_PROTOCOL, *TRANSACTIONS, *REPLAY)
