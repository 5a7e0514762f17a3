"""Breakages of a record's outcome: ledger, commits, verdicts, dead letters, retry topics."""

from __future__ import annotations

from tools.mutants.breakage import Breakage

OFFSETS, SETTLE = "tests/runtime/test_offsets.py", "tests/runtime/test_settle.py"

LEDGER = [
    Breakage(
        "a record that ends early moves the watermark",
        "runtime/offsets.py",
        """        self._early.add(offset)
""",
        """        self._early.add(offset)
        self._committable = offset + 1
""",
        "a crash skips the unfinished records before it",
        (OFFSETS,),
    ),
    Breakage(
        "the watermark does not pass records that ended before the first open one",
        "runtime/offsets.py",
        "        while open_ and open_[0] in early:",
        "        while open_ and open_[0] in early and len(early) > 1:",
        "lag never reads 0, and a restart handles finished records again",
        (OFFSETS,),
    ),
    Breakage(
        "a sealed ledger still accepts results",
        "runtime/offsets.py",
        "        self._sealed = True",
        "        self._sealed = False",
        "results of an old assignment are committed over the next owner's",
        (OFFSETS,),
    ),
    Breakage(
        "the position is committable while records are open",
        "runtime/offsets.py",
        "if not self._open and self._position is not None:",
        "if self._position is not None:",
        "a crash skips every record in flight",
        (OFFSETS,),
    ),
    Breakage(
        "an offset gap that was passed is forgotten at the next record",
        "runtime/offsets.py",
        "            self._committable = self.committable()",
        "            pass",
        "a commit goes back to before a transaction marker",
        (OFFSETS,),
    ),
]

METADATA, DONE = "tests/runtime/test_commit_metadata.py", "tests/testing/memory/test_completed_offsets.py"

COMPLETED = [
    Breakage(
        "the committed offset counts as finished",
        "runtime/offsets.py",
        "OffsetRange(max(start, base), end)",
        "OffsetRange(base, end)",
        "a restart skips the unfinished record that holds up the commit",
        (OFFSETS, DONE),
    ),
    Breakage(
        "finished offsets of another commit are believed",
        "runtime/commit_metadata.py",
        "    if found.base != base:",
        "    if False:",
        "after another program has set the offset, records are skipped",
        (METADATA, DONE),
    ),
    Breakage(
        "finished offsets of an earlier topic of this name are believed",
        "runtime/commit_metadata.py",
        "    if topic_id is not None and found.topic_id != topic_id:",
        "    if False:",
        "records of the new topic are skipped",
        (METADATA, DONE),
    ),
    Breakage(
        "finished offsets of a truncated log are believed",
        "runtime/take_over.py",
        "        if inherited is not None and -1 < inherited.epoch < epoch:",
        "        if inherited is not None and False:",
        "records that were written after an unclean election are skipped",
        (DONE,),
    ),
    Breakage(
        "attempts at records of a truncated log count for those in their place",
        "runtime/offsets.py",
        "        for at in [at for at in self.failed_attempts if at >= offset]:",
        "        for at in ():",
        "a new record becomes a dead letter at its first failure",
        (OFFSETS, DONE),
    ),
    Breakage(
        "a record of a truncated log that killed its process is taken for the one in its place",
        "runtime/partition.py",
        "        if offset <= self.inherited.suspect_offset:",
        "        if False:",
        "a new record becomes a dead letter without an attempt",
        (DONE,),
    ),
    Breakage(
        "a suspect record that a truncation has removed is still waited for",
        "runtime/suspect_records.py",
        "                if partition.inherited_mark is not found:",
        "                if False:",
        "with `non_retryable: [ProcessDied]` a new record becomes a dead letter without an attempt",
        (DONE,),
    ),
    Breakage(
        "attempts at finished records are kept",
        "runtime/offsets.py",
        "            self.failed_attempts.pop(offset, None)",
        "            pass",
        "with a long commit interval the memory grows with each record that has failed once",
        (OFFSETS, "tests/runtime/lanes/test_batches.py"),
    ),
    Breakage(
        "a failed record of a batch is counted when the batch has ended",
        "runtime/batch_executor.py",
        "                self._count_failed_attempt(index, share_s)\n                self._waits",
        "                self._waits",
        "a record whose batch does not end is tried without an end",
        ("tests/runtime/lanes/test_batches.py",),
    ),
    Breakage(
        "damaged metadata is believed",
        "runtime/commit_metadata.py",
        "    if checksum != _checksum(body, place):",
        "    if False:",
        "records are skipped that nobody has handled",
        (METADATA,),
    ),
    Breakage(
        "finished offsets of another partition are believed",
        "runtime/commit_metadata.py",
        """    return f"{binascii.crc32(f'{place} {body}'.encode()):08x}\"""",
        """    return f"{binascii.crc32(body.encode()):08x}\"""",
        "after a tool has copied a commit, records are skipped that nobody has handled",
        (METADATA,),
    ),
    Breakage(
        "the reset rule applies to a poison record that retention has deleted",
        "testing/memory/reader.py",
        "if from_offset is not None and from_offset < log.start and self._has_finished_offsets_after(tp, from_offset):",
        "if False:",
        "a restart skips what was sent meanwhile, or repeats what is finished",
        (DONE,),
    ),
    Breakage(
        "a seek keeps what an earlier owner has finished",
        "runtime/assignment.py",
        """        # Nothing is inherited: what somebody asks to read again is handled again.
        partition.inherit_metadata(CommitMetadata(-1))""",
        "        self.inherit_last_commit(partition)",
        "records that somebody asks to read again are skipped",
        (DONE,),
    ),
    Breakage(
        "attempts are counted from 1 by each owner",
        "runtime/partition.py",
        "        self.failed_attempts.update(inherited.attempts)",
        "        pass",
        "`max_attempts` begins again at every rebalance",
        (DONE,),
    ),
    Breakage(
        "finished offsets are handled again",
        "runtime/take_over.py",
        "        return [one for one in records if not ledger.is_inherited(one.offset)]",
        "        return records",
        "one poison record repeats its whole backlog at each restart",
        (DONE,),
    ),
    Breakage(
        "an owner leaves no mark where it begins",
        "runtime/take_over.py",
        "            partition.mark = OwnerMark(Ownership.BEGUN, 1, owner=self._owner)",
        "            partition.mark = OPEN",
        "a record that kills its process kills it for ever",
        (DONE,),
    ),
    Breakage(
        "an attempt of a suspect record is counted in its first commit alone",
        "runtime/partition.py",
        "            counted[offset] = attempt",
        "            pass",
        "a record that kills its process slowly kills it forever",
        (DONE,),
    ),
    Breakage(
        "the next record begins before the dead letter of a suspect record is confirmed",
        "runtime/partition.py",
        "any(write.has_failed and write.record.offset == offset",
        "any(write.record.offset == offset",
        "two records that kill their process kill it for ever",
        (DONE,),
    ),
    Breakage(
        "a suspect record is forgotten while that of another partition is handled",
        "runtime/suspect_records.py",
        "        partition.mark = found",
        "        pass",
        "records of several partitions that kill their process are started more often than configured",
        (DONE,),
    ),
    Breakage(
        "suspect records of several partitions are handled at once",
        "runtime/suspect_records.py",
        "asyncio.Lock() if",
        "nullcontext() if",
        "slow records of other partitions become dead letters",
        (DONE,),
    ),
    Breakage(
        "an attempt that fails in a hand-over is not counted",
        "runtime/executor.py",
        "        lane.partition.failed_attempts[record.offset] = self.slot.attempt\n        if lane.partition",
        "        if not lane.partition.forbids_retries:\n"
        "            lane.partition.failed_attempts[record.offset] = self.slot.attempt\n        if lane.partition",
        "a record that fails slowly is tried more often than configured",
        (DONE,),
    ),
    Breakage(
        "the attempts at a record are counted from 1 whenever its lane runs",
        "runtime/executor.py",
        "slot.attempt = lane.attempt if failed_attempts else 1",
        "slot.attempt = 1",
        "a record is tried more often than configured",
        ("tests/runtime/lanes/test_giving_back.py",),
    ),
    Breakage(
        "a batch takes records whatever attempt it is for them",
        "runtime/admission.py",
        " and lane.attempt == batch.attempt",
        "",
        "a record's attempts are counted wrongly, so that it is given up too early",
        ("tests/runtime/lanes/test_batches.py",),
    ),
]

COMMITS = [
    Breakage(
        "a commit without an answer counts as confirmed",
        "runtime/committer.py",
        "                commit.partition.committed = commit.partition.saved = None",
        "                commit.confirm()",
        "if no more records arrive, the offset is never committed and a restart handles the records again",
        ("tests/runtime/test_committer.py",),
    ),
    Breakage(
        "the early commit is left out",
        "runtime/commit_timer.py",
        "if self._clock.now() < self._ends_s and self._records_wait():",
        "if self._clock.now() < self._ends_s:",
        "a crash repeats ten times as many records",
        ("tests/runtime/test_commit_timer.py",),
    ),
    Breakage(
        "a commit goes out early while records wait",
        "runtime/assignment.py",
        "return self.scheduler.has_ready_lane or any(\n            partition.has_backlog_in_only_lane",
        "return any(\n            partition.has_backlog_in_only_lane",
        "a loaded consumer commits ten times as often as its interval says",
        ("tests/runtime/lanes/test_commit_times.py",),
    ),
    Breakage(
        "two commits run at once",
        "runtime/committer.py",
        "self._lock = asyncio.Lock()",
        "self._lock = asyncio.Semaphore(2)",
        "an older offset may be written over a newer one",
        ("tests/runtime/test_committer.py",),
    ),
    Breakage(
        "the dead-letter rate is not committed",
        "runtime/committer.py",
        "            await self._source.commit(offsets, timeout_s=timeout_s, metadata=metadata)",
        "            await self._source.commit(offsets, timeout_s=timeout_s, metadata={})",
        "each restart allows as many dead letters as the limit again",
        ("tests/runtime/dead_letters/test_limit.py",),
    ),
]

VERDICTS = [
    Breakage(
        "one attempt more than max_attempts",
        "runtime/settle.py",
        "attempt >= policy.max_attempts",
        "attempt > policy.max_attempts",
        "a charge is attempted more often than configured",
        (SETTLE,),
    ),
    Breakage(
        "a record that cannot be decoded is tried again",
        "runtime/settle.py",
        "case Failed(error=error, retriable=False) if policy.max_attempts is not None:",
        "case Failed(error=error, retriable=False) if policy.max_attempts == 0:",
        "a poison record blocks its key for all its attempts",
        (SETTLE,),
    ),
    Breakage(
        "unmatched='stop' skips",
        "runtime/settle.py",
        '        case "stop":\n            return StopConsuming(f"no endpoint handles it',
        '        case "halt":\n            return StopConsuming(f"no endpoint handles it',
        "events that no endpoint handles are skipped without a notice",
        (SETTLE,),
    ),
    Breakage(
        "a record is sent to the retry topic that it came from",
        "runtime/settle.py",
        "if delay_ms > waited_ms",
        "if delay_ms >= waited_ms",
        "it is retried forever and never becomes a dead letter",
        (SETTLE, "tests/runtime/retry_topics/test_in_memory.py"),
    ),
    Breakage(
        "Retry(after_ms) waits for the policy's backoff",
        "runtime/settle.py",
        "    if after_ms is not None:",
        "    if after_ms == 0:",
        "the delay that an endpoint asks for is ignored",
        (SETTLE,),
    ),
    Breakage(
        "at most once, a dead letter is skipped",
        "runtime/settle.py",
        """        case DeadLetter():
            return _decide_dead_letter_asked_by_endpoint(outcome)
        case _:
            return Finish("failed")""",
        """        case _:
            return Finish("failed")""",
        "a record that the endpoint sent to the dead letters is lost",
        (SETTLE,),
    ),
    Breakage(
        "an error that ends the app makes the consumer restart forever",
        "runtime/supervision/restart_policy.py",
        "case _ if isinstance(error, ENDS_APP):",
        "case _ if False:",
        "with a wrong password the consumer stalls while the process stays alive",
        (SETTLE,),
    ),
    Breakage(
        "a consumer's failure replaces a record's verdict",
        "runtime/supervision/stop_signal.py",
        "            if not isinstance(error, StopApp) or isinstance(self.failure.exception(), StopApp):",
        "            if True:",
        "the app continues although a record has stopped it",
        ("tests/runtime/test_stop_signal.py",),
    ),
]

DEAD_LETTERS = [
    Breakage(
        "a dead letter counts as written before it is confirmed",
        "runtime/dead_letters/writer.py",
        "                await confirmed\n                return",
        "                return",
        "its record is committed, and there is no dead letter",
        ("tests/runtime/dead_letters/test_writing.py",),
    ),
    Breakage(
        "a dead letter is abandoned after three tries",
        "runtime/dead_letters/writer.py",
        "BEST_EFFORT_TRIES if settings.at_most_once else None",
        "BEST_EFFORT_TRIES",
        "an outage of a few seconds loses the record",
        ("tests/runtime/dead_letters/test_writing.py",),
    ),
    Breakage(
        "dead letters are not written to the partition of their record",
        "runtime/dead_letters/producers.py",
        "return record.partition if record.partition < self._partitions[topic] else None",
        "return None",
        "dead letters without a key are replayed in another order than they failed in",
        ("tests/runtime/dead_letters/test_partitions.py",),
    ),
    Breakage(
        "a record for a retry topic is sent to the dead letters' cluster",
        "runtime/dead_letters/writer.py",
        """                self._producer_for_policy(dataclasses.replace(policy, dead_letter_producer=None)),
                checked_retry_topic_name(""",
        """                self._producer_for_policy(policy),
                checked_retry_topic_name(""",
        "no consumer reads it there",
        ("tests/runtime/retry_topics/test_clusters.py",),
    ),
    Breakage(
        "dead letters that are being written do not count",
        "runtime/dead_letters/rate.py",
        "        row = self._row + under_way",
        "        row = self._row",
        "with concurrency, more become dead letters than the limit allows",
        ("tests/runtime/dead_letters/test_rate.py",),
    ),
    Breakage(
        "it is not stored that the limit was reached",
        "runtime/dead_letters/rate.py",
        "{int(self.stopped)}",
        "{int(False)}",
        "after a restart by the orchestrator the app continues to send the whole topic to the dead letters",
        ("tests/runtime/dead_letters/test_rate.py",),
    ),
    Breakage(
        "dead letters outside the window still count",
        "runtime/dead_letters/rate.py",
        "self._dead[0] <= self._ended - self._window",
        "self._dead[0] < 0",
        "the app stops because of failures of last week",
        ("tests/runtime/dead_letters/test_rate.py",),
    ),
    Breakage(
        "a limit that was reached before the restart is ignored",
        "runtime/dead_letter_limit.py",
        "        if rate.stopped:",
        "        if False:",
        "the app continues although its limit was reached",
        ("tests/runtime/dead_letters/test_limit.py",),
    ),
]

RETRIES = [
    Breakage(
        "a record of a retry topic runs before it is due",
        "runtime/delayed_records.py",
        "while early and early[0].due_s <= now_s:",
        "while early:",
        "the delay is not observed",
        ("tests/runtime/retry_topics/test_in_memory.py", "tests/runtime/retry_topics/test_delayed_records.py"),
    ),
    Breakage(
        "a delayed record runs after its partition was revoked",
        "runtime/delayed_records.py",
        """            or assignment.partitions.get(tp) is not partition
            or partition.is_being_revoked
            or partition.is_closed
""",
        "",
        "two members run the same record",
        ("tests/runtime/retry_topics/test_in_memory.py", "tests/runtime/retry_topics/test_delayed_records.py"),
    ),
    Breakage(
        "attempts before the retry topic are forgotten",
        "runtime/delayed_records.py",
        "        slot.earlier = delayed.earlier\n        return",
        "        slot.earlier = 0\n        return",
        "a dead letter reports fewer attempts than were made",
        ("tests/runtime/retry_topics/test_in_memory.py", "tests/runtime/retry_topics/test_delayed_records.py"),
    ),
    Breakage(
        "a fast clock delays records",
        "runtime/dead_letters/retry_topics.py",
        "min(max(wait_ms, 0), delay_ms)",
        "max(wait_ms, 0)",
        "a record from a machine whose clock is an hour ahead waits an hour longer",
        ("tests/runtime/retry_topics/test_retry_topics.py",),
    ),
    Breakage(
        "our headers stay on a record that returns from a retry topic",
        "runtime/dead_letters/retry_topics.py",
        "own = headers[: starts[-1]] if starts else headers",
        "own = headers",
        "the endpoint sees headers that nobody sent, and they accumulate",
        ("tests/runtime/retry_topics/test_retry_topics.py",),
    ),
]

BREAKAGES = (*LEDGER, *COMPLETED, *COMMITS, *VERDICTS, *DEAD_LETTERS, *RETRIES)
