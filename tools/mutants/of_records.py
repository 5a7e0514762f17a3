"""What becomes of a record: the ledger, verdicts, commits, dead letters, retry topics."""

from __future__ import annotations

from tools.mutants.breakage import Breakage

OFFSETS, SETTLE = "tests/runtime/test_offsets.py", "tests/runtime/test_settle.py"

LEDGER = [
    Breakage(
        "a record that ends early moves the watermark",
        "runtime/offsets.py",
        """        self._early.add(offset)
        return True""",
        """        self._early.add(offset)
        self._committable = offset + 1
        return True""",
        "a crash skips the unfinished records before it",
        (OFFSETS,),
    ),
    Breakage(
        "records that ended early are not passed once the head ends",
        "runtime/offsets.py",
        "        while open_ and open_[0] in early:",
        "        while open_ and open_[0] in early and len(early) > 1:",
        "lag never reads 0, and a restart handles finished records again",
        (OFFSETS,),
    ),
    Breakage(
        "a sealed ledger goes on counting",
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
        "a crash skips all that is in flight",
        (OFFSETS,),
    ),
    Breakage(
        "a gap that was passed is forgotten with the next record",
        "runtime/offsets.py",
        "            self._committable = self.committable()",
        "            pass",
        "a commit goes back behind a transaction marker",
        (OFFSETS,),
    ),
]

COMMITS = [
    Breakage(
        "a commit without an answer counts as confirmed",
        "runtime/committer.py",
        "                partition.committed = None",
        "                partition.committed = offsets.get(partition.tp, partition.committed)",
        "where nothing more comes the offset is never committed, and a restart handles the records again",
        ("tests/runtime/test_committer.py",),
    ),
    Breakage(
        "two commits at once",
        "runtime/committer.py",
        "self._lock = asyncio.Lock()",
        "self._lock = asyncio.Semaphore(2)",
        "an older offset may be written over a newer one",
        ("tests/runtime/test_committer.py",),
    ),
    Breakage(
        "the tally of dead letters is not committed",
        "runtime/committer.py",
        "timeout_s=timeout_s, metadata=metadata)",
        "timeout_s=timeout_s, metadata={})",
        "each restart lets through as many dead letters again as the limit allows",
        ("tests/runtime/dead_letters/test_limit.py",),
    ),
]

VERDICTS = [
    Breakage(
        "one attempt more than max_attempts",
        "runtime/settle.py",
        "attempt >= policy.max_attempts",
        "attempt > policy.max_attempts",
        "a charge is tried once more than was agreed",
        (SETTLE,),
    ),
    Breakage(
        "what cannot be decoded is tried again",
        "runtime/settle.py",
        "case Failed(error=error, hopeless=True) if policy.max_attempts is not None:",
        "case Failed(error=error, hopeless=True) if policy.max_attempts == 0:",
        "a poisonous record holds up its key for all its attempts",
        (SETTLE,),
    ),
    Breakage(
        "unmatched='stop' skips",
        "runtime/settle.py",
        '        case "stop":\n            return StopConsuming(f"no endpoint takes it',
        '        case "halt":\n            return StopConsuming(f"no endpoint takes it',
        "events that nobody handles are passed over in silence",
        (SETTLE,),
    ),
    Breakage(
        "a record comes back to the retry topic that it came from",
        "runtime/settle.py",
        "if delay_ms > waited_ms",
        "if delay_ms >= waited_ms",
        "it goes round for ever, and never becomes a dead letter",
        (SETTLE, "tests/runtime/retry_topics/test_in_memory.py"),
    ),
    Breakage(
        "Retry(after_ms) waits for the policy's backoff",
        "runtime/settle.py",
        "    if after_ms is not None:",
        "    if after_ms == 0:",
        "an endpoint that knows when to try again is not listened to",
        (SETTLE,),
    ),
    Breakage(
        "at most once, a dead letter is skipped",
        "runtime/settle.py",
        """        case DeadLetter():
            return _bury(outcome)
        case _:
            return Finish("failed")""",
        """        case _:
            return Finish("failed")""",
        "what the endpoint gave up by name is nowhere",
        (SETTLE,),
    ),
    Breakage(
        "a refusal makes the consumer try for ever",
        "runtime/supervision/restart_policy.py",
        "case _ if isinstance(error, ENDS_APP):",
        "case _ if False:",
        "a wrong password is no error that ends the app: it stands still with the process alive",
        (SETTLE,),
    ),
    Breakage(
        "a source's failure outweighs a record's verdict",
        "runtime/supervision/stop_signal.py",
        "            if not isinstance(error, StopApp) or isinstance(self.failure.exception(), StopApp):",
        "            if True:",
        "the app goes on although a record has stopped it",
        ("tests/runtime/test_stop_signal.py",),
    ),
]

LETTERS = [
    Breakage(
        "a dead letter that was refused counts as written",
        "runtime/dead_letters/writer.py",
        "                await confirmed\n                return",
        "                return",
        "its record is committed, and there is no letter",
        ("tests/runtime/dead_letters/test_writing.py",),
    ),
    Breakage(
        "a dead letter is given up after three tries",
        "runtime/dead_letters/writer.py",
        'BEST_EFFORT_TRIES if settings.auto_commit_mode == "pre-commit" else None',
        "BEST_EFFORT_TRIES",
        "an outage of some seconds loses the record",
        ("tests/runtime/dead_letters/test_writing.py",),
    ),
    Breakage(
        "dead letters leave their partition",
        "runtime/dead_letters/writer.py",
        "return record.partition if record.partition < self._partitions[topic] else None",
        "return None",
        "those without a key are replayed in another order than they failed in",
        ("tests/runtime/dead_letters/test_partitions.py",),
    ),
    Breakage(
        "a record for a retry topic goes to the dead letters' cluster",
        "runtime/dead_letters/writer.py",
        """                self._way(dataclasses.replace(policy, dead_letter_producer=None)),
                retry_topic(""",
        """                self._way(policy),
                retry_topic(""",
        "nobody reads it there",
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
        "that the limit was reached is not kept",
        "runtime/dead_letters/rate.py",
        "{int(self.stopped)}",
        "{int(False)}",
        "a restart by the orchestrator goes on emptying the topic into the dead letters",
        ("tests/runtime/dead_letters/test_rate.py",),
    ),
    Breakage(
        "dead letters behind the window still count",
        "runtime/dead_letters/rate.py",
        "self._dead[0] <= self._ended - self._window",
        "self._dead[0] < 0",
        "the app stops for failures of last week",
        ("tests/runtime/dead_letters/test_rate.py",),
    ),
    Breakage(
        "the limit of an earlier life is not looked at",
        "runtime/dead_letter_limit.py",
        "        if partition.tally.stopped:",
        "        if False:",
        "the app reads on although its limit was reached",
        ("tests/runtime/dead_letters/test_limit.py",),
    ),
]

RETRIES = [
    Breakage(
        "a record of a retry topic is run before it is due",
        "runtime/delayed_records.py",
        "while early and early[0].due_s <= now_s:",
        "while early:",
        "the delay is not kept",
        ("tests/runtime/retry_topics/test_in_memory.py", "tests/runtime/retry_topics/test_delayed_records.py"),
    ),
    Breakage(
        "what was kept for later is run after its partition has gone",
        "runtime/delayed_records.py",
        "held.partitions.get(tp) is not partition or partition.leaving or partition.closed:",
        "False:",
        "two members run the same record",
        ("tests/runtime/retry_topics/test_in_memory.py", "tests/runtime/retry_topics/test_delayed_records.py"),
    ),
    Breakage(
        "attempts before the retry topic are forgotten",
        "runtime/delayed_records.py",
        "        slot.earlier = back.earlier\n        return",
        "        slot.earlier = 0\n        return",
        "a dead letter tells fewer attempts than there were",
        ("tests/runtime/retry_topics/test_in_memory.py", "tests/runtime/retry_topics/test_delayed_records.py"),
    ),
    Breakage(
        "a clock that goes ahead holds records back",
        "runtime/dead_letters/retry_topics.py",
        "min(max(wait_ms, 0), tier.delay_ms)",
        "max(wait_ms, 0)",
        "a record from a machine whose clock is an hour ahead waits an hour longer",
        ("tests/runtime/retry_topics/test_retry_topics.py",),
    ),
    Breakage(
        "our headers stay on a record that comes back",
        "runtime/dead_letters/retry_topics.py",
        "own = headers[: places[-1]] if places else headers",
        "own = headers",
        "the endpoint sees headers that nobody sent, and they pile up",
        ("tests/runtime/retry_topics/test_retry_topics.py",),
    ),
]

BREAKAGES = (*LEDGER, *COMMITS, *VERDICTS, *LETTERS, *RETRIES)
