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
        "        if self._assignment_state is not AssignmentState.READY:\n            return True",
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
        "        if self._member.is_current(self._assignment):\n            return\n        if self._unanswered:",
        "        return\n        if self._unanswered:",
        "the next owner's offset moves back, or forward past records that it has not handled",
        ("tests/kafka/consumer/test_commit.py",),
    ),
    Breakage(
        "a commit for a partition that is not ours is sent",
        "kafka/consumer/coordinator.py",
        "        if foreign := [tp for tp in offsets if tp not in assignment.partitions.tps]:",
        "        if foreign := [tp for tp in offsets if False]:",
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
        "            if code:\n                raise error_for(code, topic)",
        "            pass",
        "the group begins at the end of the topic, and all before it is skipped",
        ("tests/kafka/consumer/test_early_records.py",),
    ),
    Breakage(
        "an error of the whole offset fetch counts as no committed offset",
        "kafka/consumer/coordinator.py",
        "        elif code not in (0, ErrorCode.GROUP_ID_NOT_FOUND) and isinstance(request, EpochOffsetFetchRequest):",
        "        elif False:",
        "the group begins at the end of the topic, and all before it is skipped",
        ("tests/kafka/consumer/test_start_positions.py::TestFailedLookups",),
    ),
    Breakage(
        "a commit for a topic that was recreated skips its records",
        "kafka/consumer/coordinator.py",
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
        "            if reason := await self._targets.refusal(dead_letter) or await self._handle(dead_letter):",
        "            if (reason := await self._handle(dead_letter)) and False:",
        "the record is lost",
        ("tests/dlq/test_replay.py", "tests/dlq/test_end_to_end.py"),
    ),
]

BREAKAGES = (*PRODUCING, *CLIENT, *REPLAY)
