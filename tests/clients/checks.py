"""What must hold of a log once the clients of loads.py are done with it."""

import collections
import time

import confluent_kafka

import raw_client

PARTITIONS = 3  # of each topic that is checked
PATIENCE_S = 60


def wait_until(loads, done, what):
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        failures = [load.failure for load in loads if load.failure]
        assert not failures, "\n".join(failures)
        assert time.monotonic() < deadline, f"{what()} after {PATIENCE_S} s"
        time.sleep(0.02)


def wait_for_copies(loads, bootstrap, group, topics):
    """Until the group has committed all that the topics hold."""
    with raw_client.Connection(bootstrap) as connection:
        ends = {topic: connection.ends(topic, PARTITIONS) for topic in topics}
        copied = lambda: {topic: connection.committed(group, topic, PARTITIONS) for topic in ends}  # noqa: E731
        wait_until(loads, lambda: copied() == ends, lambda: f"copied to {copied()} of {ends}")


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
