"""What goes over the wire: sends, fetches, commits, and the desk of dead letters."""

from __future__ import annotations

from tools.mutants.breakage import Breakage

PRODUCING = [
    Breakage(
        "a batch whose try is unanswered is sent again",
        "kafka/producer/partition_queue.py",
        "elif refusal.code in INNOCENT and once and batch.tries < MOST_TRIES:",
        "elif refusal.code in INNOCENT and batch.tries < MOST_TRIES:",
        "its records are written twice",
        ("tests/kafka/producer/test_partition_queue.py",),
    ),
    Breakage(
        "an innocent batch is not sent again",
        "kafka/producer/partition_queue.py",
        "elif refusal.code in INNOCENT and once and batch.tries < MOST_TRIES:",
        "elif False:",
        "an expired producer id fails sends that could be written",
        ("tests/kafka/producer/test_partition_queue.py",),
    ),
    Breakage(
        "a batch with one bad record fails as a whole",
        "kafka/producer/partition_queue.py",
        "elif refusal.code in CONTENT and once and len(batch.records) > 1:",
        "elif False:",
        "one large record fails those that it travels with",
        ("tests/kafka/producer/test_refused.py",),
    ),
    Breakage(
        "an unanswered record is said not to have been written",
        "kafka/producer/partition_queue.py",
        "unknown = refusal.code is None or refusal.code in UNANSWERED or not once",
        "unknown = False",
        "whoever sends it again writes it twice",
        ("tests/kafka/producer/test_batches_that_end.py",),
    ),
    Breakage(
        "a record whose time ran out may still go out",
        "kafka/producer/partition_queue.py",
        "        alive = [record for record in records if not record.confirmed.done()]\n        if not alive:",
        "        alive = list(records)\n        if not alive:",
        "a send that failed is written all the same",
        ("tests/kafka/producer/test_batches_that_end.py",),
    ),
    Breakage(
        "a broken sequence is not noticed",
        "kafka/producer/idempotent_producer.py",
        "        return self._idempotent and gone_out(batch)",
        "        return False",
        "every later send to the partition fails, for as long as the process lives",
        ("tests/kafka/producer/test_refused.py",),
    ),
    Breakage(
        "the stop does not send what is queued",
        "kafka/producer/sink.py",
        "        await self._flush_for(timeout_s - 2 * close_s)",
        "        pass",
        "what was sent just before the stop is lost",
        ("tests/kafka/producer/test_confirmed.py",),
    ),
]

CLIENT = [
    Breakage(
        "records are handed out before the assignment is taken over",
        "kafka/consumer/source.py",
        "if consumer._subscription.reassignment_in_progress or not self._handed_over:\n            return {}",
        "if consumer._subscription.reassignment_in_progress:\n            return {}",
        "they are dropped, and their partition goes on behind them",
        ("tests/kafka/test_handing_over.py",),
    ),
    Breakage(
        "a task of the client that has ended is waited for",
        "kafka/consumer/source.py",
        "            if task is not None and task.done():",
        "            if False:",
        "the consumer stands still for ever, without a word",
        ("tests/acceptance/faults/test_cancelled_tasks.py",),
    ),
    Breakage(
        "to a reader of committed records the end is the log's",
        "kafka/consumer/source.py",
        'if self._settings.isolation_level == "read_committed" and',
        "if False and",
        "lag never reads 0 while a transaction is open",
        ("tests/kafka/test_end_offsets.py",),
    ),
    Breakage(
        "a commit is sent for an assignment that has ended",
        "kafka/consumer/coordinator.py",
        "        if self._member.is_current(self._hold):\n            return\n        if self._unanswered:",
        "        return\n        if self._unanswered:",
        "the next owner's offset is moved back, or forward past what it has not handled",
        ("tests/kafka/test_commits.py",),
    ),
    Breakage(
        "a commit for a partition that is not ours is sent",
        "kafka/consumer/coordinator.py",
        "        if strange := [tp for tp in offsets if tp not in hold.assignment.tps]:",
        "        if strange := [tp for tp in offsets if False]:",
        "a slip of ours skips another member's records",
        ("tests/kafka/test_commits.py",),
    ),
    Breakage(
        "a commit that was not answered counts as refused",
        "kafka/consumer/coordinator.py",
        "                self._unanswered = True\n                answer",
        "                answer",
        "it is not committed again, although it may not have been written",
        ("tests/kafka/test_commits.py",),
    ),
    Breakage(
        "an error of one partition in the look-up counts as no commit",
        "kafka/consumer/coordinator.py",
        "                if code:\n                    raise kafka.for_code(code)(topic)",
        "                pass",
        "the group begins at the end of the topic, and all before it is skipped",
        ("tests/kafka/test_handing_over.py",),
    ),
    Breakage(
        "an error of the whole look-up counts as no commit",
        "kafka/consumer/coordinator.py",
        "        elif code not in (0, GROUP_ID_NOT_FOUND) and isinstance(request, EpochOffsetFetchRequest):",
        "        elif False:",
        "the group begins at the end of the topic, and all before it is skipped",
        ("tests/kafka/test_positions.py::TestFailedLookUps",),
    ),
    Breakage(
        "a commit for a topic that was made again skips its records",
        "kafka/consumer/coordinator.py",
        "if left := {tp: told for tp, told in offsets.items() if tp.topic not in gone}:",
        "if left := dict(offsets):",
        "records of the new topic are skipped",
        ("tests/acceptance/faults/test_topics.py::TestATopicThatIsDeletedAndMadeAgain",),
    ),
    Breakage(
        "a partition that appears later begins at its end",
        "kafka/consumer/fetcher.py",
        'if self._reset == "earliest" or is_new:',
        'if self._reset == "earliest":',
        "records written before the group noticed it are skipped",
        ("tests/kafka/test_positions.py::TestTheRule",),
    ),
    Breakage(
        "a position beyond the log is not reset",
        "kafka/consumer/fetcher.py",
        "                state.await_reset(OffsetResetStrategy.NONE)",
        "                pass",
        "the partition stands still for ever",
        ("tests/kafka/test_positions.py::TestTheRule",),
    ),
    Breakage(
        "another leader's log is not checked",
        "kafka/consumer/fetcher.py",
        "        if came in (known, UNKNOWN) or known == UNKNOWN:",
        "        if True:",
        "after an unclean election, records that were acknowledged are skipped in silence",
        ("tests/kafka/test_leader_epochs.py",),
    ),
]

DESK = [
    Breakage(
        "a letter that was replayed stays open",
        "dlq/state_topic.py",
        "            if mark is not None and mark.closes(letter):",
        "            if mark is not None and False:",
        "each replay handles it once more",
        ("tests/dlq/test_replay.py",),
    ),
    Breakage(
        "a mark closes every letter of its record",
        "dlq/state_topic.py",
        "return self.place == letter.place and self.timestamp_ms == record.timestamp",
        "return True",
        "a record that failed again after its topic was made again is never found",
        ("tests/runtime/dead_letters/test_identity.py",),
    ),
    Breakage(
        "a letter that failed in its replay is marked as done",
        "dlq/replay.py",
        "                    if why := await targets.fault(letter) or await to(letter):",
        "                    if (why := await targets.fault(letter) or await to(letter)) and False:",
        "it is lost",
        ("tests/dlq/test_replay.py", "tests/dlq/test_end_to_end.py"),
    ),
]

BREAKAGES = (*PRODUCING, *CLIENT, *DESK)
