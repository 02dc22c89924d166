"""kill -9 under load, again and again: nothing acknowledged is missing, nothing is there twice, no transaction is torn, and no
offset goes back. The clients are left alone meanwhile: they find their broker again by themselves.

MILLRACE_KILLS is how often (4 by default), MILLRACE_SEED what decides when. A killed process does not lose what the kernel
has: whether records are synced before they are acknowledged is for the tests with a file system that forgets.
"""

import collections
import os
import random
import time

import confluent_kafka
import pytest

import raw_client
from both import CLIENTS
from conftest import make_topic, unique
from loads import Committer, IdempotentProducer, Reader, TransactionalProducer, Transformer, Watch

KILLS = int(os.environ.get("MILLRACE_KILLS", "4"))
PARTITIONS = 3
PATIENCE_S = 60


def wait_until(loads, done, what):
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        failures = [load.failure for load in loads if load.failure]
        assert not failures, "\n".join(failures)
        assert time.monotonic() < deadline, f"{what()} after {PATIENCE_S} s"
        time.sleep(0.02)


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


def read_all(bootstrap, topic, isolation):
    """{partition: [(offset, value)]} up to where the log, or what is decided of it, ends now."""
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": bootstrap, "group.id": "unused", "isolation.level": isolation,
        "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "error"})
    consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found = {partition: [] for partition in range(PARTITIONS)}
    ended = set()
    while len(ended) < PARTITIONS:
        message = consumer.poll(PATIENCE_S)
        assert message is not None, f"{topic}: nothing came"
        if message.error() is None:
            found[message.partition()].append((message.offset(), message.value().decode()))
        else:
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
    consumer.close()
    return found


def check_idempotent(load, found):
    places = collections.defaultdict(list)
    for partition, records in found.items():
        numbers = [int(value) for _, value in records]
        assert numbers == sorted(numbers), f"{load.name}: out of order"
        assert [offset for offset, _ in records] == list(range(len(records))), f"{load.name}: offsets have gaps"
        for offset, value in records:
            places[int(value)].append((partition, offset))
    lost = [number for number in load.acknowledged if number not in places]
    repeated = [number for number, where in places.items() if len(where) > 1]
    moved = [number for number, where in load.acknowledged.items() if number in places and places[number] != [where]]
    assert (lost, repeated, moved) == ([], [], []), f"{load.name}: lost, repeated, moved"


def check_transactions(loads, found):
    seen = collections.Counter(value for records in found.values() for _, value in records)
    assert {value: count for value, count in seen.items() if count != PARTITIONS} == {}, "torn transactions"
    for partition, records in found.items():
        assert len({value for _, value in records}) == len(records), f"partition {partition} has some twice"
    outcomes = collections.ChainMap(*(load.outcomes for load in loads))
    assert [value for value, outcome in outcomes.items() if outcome == "committed" and value not in seen] == []
    assert [value for value in seen if outcomes[value] == "aborted"] == []


def check_reader(reader, found):
    """What was once shown as committed is there to the end, and nothing was left out before it."""
    for partition, seen in reader.seen.items():
        assert seen == found[partition][:len(seen)], f"{reader.name}: partition {partition} differs"


def check_copies(found, sources):
    """Each record of the sources once."""
    copies = collections.Counter(tuple(value.split()) for records in found.values() for _, value in records)
    expected = {(topic, str(partition), str(offset)) for topic, records in sources.items()
                for partition, of in records.items() for offset, _ in of}
    assert [copy for copy, count in copies.items() if count > 1] == [], "copied twice"
    assert expected - copies.keys() == set(), "not copied"
    assert copies.keys() - expected == set(), "copied from nowhere"


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
    with raw_client.Connection(bootstrap) as connection:
        ends = {topic: connection.ends(topic, PARTITIONS) for topic in numbers.values()}
        copied = lambda: {topic: connection.committed(copiers, topic, PARTITIONS) for topic in ends}  # noqa: E731
        wait_until(loads, lambda: copied() == ends, lambda: f"copied to {copied()} of {ends}")
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
