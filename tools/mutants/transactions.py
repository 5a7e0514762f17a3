"""Breakages of exactly-once processing."""

from __future__ import annotations

from tools.mutants.breakage import Breakage

SENDS = "tests/runtime/transactions/test_kept_sends.py"
OUTBOX = "tests/runtime/transactions/test_transaction_outbox.py"
COMMITS = "tests/runtime/transactions/test_transactions.py"
RANDOM = "tests/property/test_exactly_once.py::test_each_record_has_exactly_one_output"

TRANSACTIONS = [
    Breakage(
        "a record that is skipped after its last attempt keeps what it sent",
        "runtime/last_attempts.py",
        'take_outputs(slot) if status != "failed" else ()',
        "take_outputs(slot)",
        "an output of a failed attempt is written",
        (SENDS,),
    ),
    Breakage(
        "a record without an endpoint writes what the record before it sent",
        "runtime/kept_sends.py",
        "        slot.kept = None  # of the attempt before\n",
        "",
        "an output of a failed attempt is written",
        (SENDS,),
    ),
    Breakage(
        "a task that outlives its attempt can still send in it",
        "runtime/kept_sends.py",
        "        self._ended = True\n",
        "        self._ended = False\n",
        "its send is lost",
        (SENDS,),
    ),
    Breakage(
        "the outputs of a batch are written although some of its records failed",
        "runtime/batch_executor.py",
        "        if failed := {index: end for index, end in ends.items() if not _is_success_or_skip(end)}:\n"
        "            return self._settle_records(failed, len(ends), partial=True)\n",
        "        if any(not _is_success_or_skip(end) for end in ends.values()):\n"
        "            self._batch.partition.outbox.add([self._records[index].offset for index in sorted(ends)], sent)\n"
        "            return self._settle_records(ends, len(ends), partial=True)\n",
        "the failed records have two outputs",
        (SENDS,),
    ),
    Breakage(
        "what a record of a batch has sent before its middleware ended it is not written",
        "runtime/batch_executor.py",
        "        if kept is None or not kept.records:\n            return prepared\n",
        "        if True:\n            return prepared\n",
        "its output is lost",
        (SENDS,),
    ),
    Breakage(
        "the dead letter of an unreadable record is not written",
        "runtime/corrupt_records.py",
        "        partition.outbox.add((unreadable.offset,), kept)\n",
        "",
        "the record is passed without a trace",
        (COMMITS,),
    ),
    Breakage(
        "a producer of another cluster takes part in a transaction",
        "runtime/transaction_scope.py",
        "pair.own == pair.other",
        "pair.own is not None",
        "its records are written to the wrong cluster",
        (SENDS,),
    ),
    Breakage(
        "an output that is too large fails the transaction each time",
        "runtime/committer.py",
        "            self._transactions.scope.fail_later_sends_like(error)\n",
        "            pass\n",
        "the consumer restarts forever, and nothing is committed",
        (SENDS,),
    ),
    Breakage(
        "a transaction writes what it does not commit",
        "runtime/transaction_outbox.py",
        "if not one.written and all(map(covers, one.offsets))]",
        "if not one.written]",
        "outputs are written twice after a crash",
        (OUTBOX,),
    ),
    Breakage(
        "a commit forgets a record that an earlier transaction has committed",
        "runtime/transaction_outbox.py",
        "_merge_ranges(sorted([*covered, *added]))",
        "_merge_ranges(sorted(added))",
        "its output is written twice after a crash",
        (OUTBOX,),
    ),
    Breakage(
        "a batch is committed in part",
        "runtime/transaction_outbox.py",
        "            if not parts:\n                return end\n",
        "            return end\n",
        "its outputs are lost, or written twice",
        (OUTBOX,),
    ),
    Breakage(
        "a transaction that was committed is written again after a seek",
        "runtime/transaction_outbox.py",
        "            one.written = True\n",
        "            pass\n",
        "outputs are written twice",
        (OUTBOX,),
    ),
    Breakage(
        "a transaction with an unknown result is repeated",
        "runtime/committer.py",
        "            commit.partition.outbox.in_doubt = True\n"
        "        if any(map(self._transactions.owns, commits)):  # otherwise their next owner reads them\n"
        "            self._given_up = True\n",
        "            commit.partition.saved = None\n        if any(map(self._transactions.owns, commits)):\n",
        "all that it wrote is written twice",
        (COMMITS,),
    ),
    Breakage(
        "a transaction that was cancelled is repeated",
        "runtime/committer.py",
        '    self._repeat_commit_in_doubt_or_reread(commits, CommitUnknown("cancelled before there was an answer"))\n',
        "    pass\n",
        "all that it wrote is written twice",
        (COMMITS, f"{RANDOM}_if_tasks_are_cancelled"),
    ),
    Breakage(
        "kept sends do not count as memory",
        "runtime/flow_control.py",
        "        sent = partition.outbox.size  # finished, and still in memory\n",
        "        sent = 0\n",
        "a consumer whose transactions fail fills the memory",
        (COMMITS,),
    ),
    Breakage(
        "attempts are waited for whose records are read again",
        "runtime/consumer.py",
        "            return 0.0  # the records are read again: no attempt counts any more\n",
        "            pass\n",
        "after a lost answer nothing is handled for the drain time",
        (COMMITS,),
    ),
    Breakage(
        "one refused record fails all sends to its topic",
        "runtime/transaction_scope.py",
        "output.sent_at if isinstance(error, RecordRefused) else None",
        "None",
        "the outputs of good records are lost by their error policy",
        ("tests/runtime/transactions/test_transaction_scope.py",),
    ),
    Breakage(
        "each too large output restarts the consumer",
        "runtime/transaction_scope.py",
        "most if refused.largest_bytes is None else min(most, refused.largest_bytes)",
        "most",
        "a row of outputs that get smaller restarts it each time",
        (SENDS,),
    ),
    Breakage(
        "what an exactly-once endpoint sends is not compressed",
        "kafka/producer/output_queue.py",
        "            codec = CODECS[compression]\n",
        "            codec = 0\n",
        "the producer's compression_type has no effect",
        ("tests/kafka/producer/test_output_queue.py",),
    ),
    Breakage(
        "records of two producers are in one batch",
        "kafka/producer/output_queue.py",
        " or record.compression_type != compression",
        "",
        "some are compressed as their producer does not say",
        ("tests/kafka/producer/test_output_queue.py",),
    ),
    Breakage(
        "clusters are compared by their ids alone",
        "runtime/transaction_scope.py",
        "pair.own == pair.other",
        "pair.own.cluster_id == pair.other.cluster_id",
        "dead letters for a cluster that was created with the same id are written to the wrong one",
        ("tests/runtime/transactions/test_clusters.py",),
    ),
    Breakage(
        "a dead letter is written before its transaction",
        "runtime/dead_letters/writer.py",
        "await self._scope.is_connection_to_own_cluster(",
        "not await self._scope.is_connection_to_own_cluster(",
        "dead letters are written twice after a crash",
        (COMMITS,),
    ),
    Breakage(
        "each source has a transactional id of its own",
        "runtime/consumer.py",
        "        source = self._cluster.source(settings)\n",
        "        import time; from dataclasses import replace\n"
        "        own_id = None if scope is None else f'{settings.transactional_id}-{time.monotonic_ns()}'\n"
        "        settings = replace(settings, transactional_id=own_id)\n"
        "        source = self._cluster.source(settings)\n",
        "after a lost answer the consumer waits for the transaction's timeout",
        (COMMITS,),
    ),
]
