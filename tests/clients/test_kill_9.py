"""kill -9 under load, again and again: nothing acknowledged is missing, nothing is there twice, no transaction is torn, and no
offset goes back. The clients are left alone meanwhile: they find their broker again by themselves.

MILLRACE_KILLS is how often (4 by default), MILLRACE_SEED what decides when. A killed process does not lose what the kernel
has: whether records are synced before they are acknowledged is for the tests with a file system that forgets.
"""

import collections
import os
import random
import time

import pytest

from both import CLIENTS
from checks import (PARTITIONS, check_copies, check_idempotent, check_reader, check_transactions, read_all, wait_for_copies,
                    wait_until)
from conftest import make_topic, new_broker, unique
from loads import Committer, IdempotentProducer, Reader, TransactionalProducer, Transformer, Watch

# Segments close, checkpoints are taken and logs are compacted all the time, so that kills come in the middle of that, too.
SETTINGS = {"log.roll.ms": 300, "wal.checkpoint.ms": 300, "log.cleaner.backoff.ms": 500,
            "log.retention.check.interval.ms": 500}
KILLS = int(os.environ.get("MILLRACE_KILLS", "4"))


def kill_again_and_again(broker, loads, chance):
    """Between kills every client must get on, except that some kills come while the broker starts."""
    for _ in range(KILLS):
        before = {load: load.progress for load in loads}
        behind = lambda: [load.name for load in loads if load.progress < before[load] + 3]  # noqa: E731
        wait_until(loads, lambda: not behind(), lambda: f"no progress of {behind()}")
        time.sleep(chance.uniform(0, 0.3))
        broker.kill()
        if chance.random() < 0.3:
            broker.spawn()
            time.sleep(chance.uniform(0, 0.1))
            broker.kill()
        time.sleep(chance.uniform(0, 0.2))
        broker.start()


@pytest.fixture
def own_broker(tmp_path):
    running = new_broker(tmp_path, SETTINGS)
    yield running
    if running.is_running():
        running.stop()


def test_kill_9_under_load_loses_repeats_and_tears_nothing(own_broker):
    seed = int(os.environ.get("MILLRACE_SEED", random.randrange(1 << 32)))
    print(f"MILLRACE_SEED={seed}")
    bootstrap = own_broker.bootstrap
    numbers = {client: make_topic(bootstrap, PARTITIONS) for client in CLIENTS}
    transactions, sink = make_topic(bootstrap, PARTITIONS), make_topic(bootstrap, PARTITIONS)
    copiers, committing = unique("copiers"), unique("committing")

    idempotent = [IdempotentProducer(client, bootstrap, numbers[client], PARTITIONS) for client in CLIENTS]
    transactional = [TransactionalProducer(bootstrap, number, transactions, PARTITIONS) for number in range(2)]
    readers = [Reader(client, bootstrap, transactions, PARTITIONS) for client in CLIENTS]
    transformers = [Transformer(bootstrap, number, copiers, list(numbers.values()), sink) for number in range(2)]
    committer = Committer(bootstrap, committing, numbers["confluent-kafka"])
    watch = Watch(bootstrap, {topic: PARTITIONS for topic in (*numbers.values(), transactions, sink)},
                  [(committing, committer.topic, PARTITIONS), *((copiers, topic, PARTITIONS) for topic in numbers.values())],
                  committer)
    loads = [load.start() for load in (*idempotent, *transactional, *readers, *transformers, committer, watch)]
    kill_again_and_again(own_broker, loads, random.Random(seed))

    for load in (*idempotent, *transactional):
        load.stop()
    wait_for_copies(loads, bootstrap, copiers, list(numbers.values()))
    for load in loads:
        load.stop()
    assert [load.failure for load in loads if load.failure] == []

    sources = {load.topic: read_all(bootstrap, load.topic, "read_uncommitted") for load in idempotent}
    for load in idempotent:
        check_idempotent(load, sources[load.topic])
    committed = read_all(bootstrap, transactions, "read_committed")
    check_transactions(transactional, committed)
    for reader in readers:
        check_reader(reader, committed)
    check_copies(read_all(bootstrap, sink, "read_committed"), sources)
    print(f"{KILLS} kills: {sum(len(load.acknowledged) for load in idempotent)} records, "
          f"transactions {dict(collections.Counter(outcome for load in transactional for outcome in load.outcomes.values()))}, "
          f"copies {[dict(transformer.outcomes) for transformer in transformers]}")
