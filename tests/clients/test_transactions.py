"""Transactions: all of it or nothing, for every consumer that asks for what is committed."""

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from kafka import KafkaProducer

from conftest import make_topic, unique

WAIT_S = 60


def producer(bootstrap, transactional_id, **config):
    made = confluent_kafka.Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": transactional_id, "linger.ms": 0, **config}
    )
    made.init_transactions(WAIT_S)
    return made


def consumer(bootstrap, topic, partitions=1, isolation="read_committed", group=None):
    made = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group or unique("group"),
            "isolation.level": isolation,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    made.assign([TopicPartition(topic, partition, confluent_kafka.OFFSET_BEGINNING) for partition in range(partitions)])
    return made


def read_all(bootstrap, topic, partitions=1, isolation="read_committed"):
    """The values up to the end of what the isolation level shows, in order within partitions."""
    reader = consumer(bootstrap, topic, partitions, isolation)
    values, ended = [], set()
    try:
        while len(ended) < partitions:
            message = reader.poll(WAIT_S)
            assert message is not None, f"nothing came; {len(values)} values so far"
            if message.error():
                assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
                ended.add(message.partition())
            else:
                values.append(message.value().decode())
        return values
    finally:
        reader.close()


def test_a_commit_shows_everything_and_an_abort_nothing(bootstrap):
    topic = make_topic(bootstrap, 3)
    writer = producer(bootstrap, unique("tx"))
    for number, commit in enumerate([True, False, True]):
        writer.begin_transaction()
        for partition in range(3):
            writer.produce(topic, f"{number}-{partition}", partition=partition)
        writer.flush(WAIT_S)
        if commit:
            writer.commit_transaction(WAIT_S)
        else:
            writer.abort_transaction(WAIT_S)
    committed = sorted(f"{number}-{partition}" for number in (0, 2) for partition in range(3))
    assert sorted(read_all(bootstrap, topic, 3)) == committed
    everything = sorted(f"{number}-{partition}" for number in range(3) for partition in range(3))
    assert sorted(read_all(bootstrap, topic, 3, "read_uncommitted")) == everything


def test_what_is_open_is_not_shown_and_holds_up_what_follows(bootstrap):
    topic = make_topic(bootstrap)
    writer = producer(bootstrap, unique("tx"))
    plain = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    writer.begin_transaction()
    writer.produce(topic, "open")
    writer.flush(WAIT_S)
    plain.produce(topic, "behind")
    plain.flush(WAIT_S)
    assert read_all(bootstrap, topic) == []
    assert read_all(bootstrap, topic, isolation="read_uncommitted") == ["open", "behind"]
    writer.commit_transaction(WAIT_S)
    assert read_all(bootstrap, topic) == ["open", "behind"]


def test_the_next_producer_of_an_id_aborts_what_the_last_left_open_and_fences_it(bootstrap):
    topic = make_topic(bootstrap)
    transactional_id = unique("tx")
    first = producer(bootstrap, transactional_id)
    first.begin_transaction()
    first.produce(topic, "left open")
    first.flush(WAIT_S)
    second = producer(bootstrap, transactional_id)
    second.begin_transaction()
    second.produce(topic, "taken over")
    second.commit_transaction(WAIT_S)
    with pytest.raises(confluent_kafka.KafkaException) as fenced:
        first.commit_transaction(WAIT_S)
    assert fenced.value.args[0].code() in (
        confluent_kafka.KafkaError._FENCED,
        confluent_kafka.KafkaError.PRODUCER_FENCED,
        confluent_kafka.KafkaError.INVALID_PRODUCER_EPOCH,
    )
    assert read_all(bootstrap, topic) == ["taken over"]


def test_offsets_count_with_the_transaction_that_holds_them(bootstrap):
    source, sink = make_topic(bootstrap), make_topic(bootstrap)
    group = unique("group")
    plain = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    for number in range(10):
        plain.produce(source, str(number))
    plain.flush(WAIT_S)
    reader = consumer(bootstrap, source, group=group)
    writer = producer(bootstrap, unique("tx"))

    def committed():
        return reader.committed([TopicPartition(source, 0)], WAIT_S)[0].offset

    def transform(count):
        writer.begin_transaction()
        taken = 0
        while taken < count:
            message = reader.poll(WAIT_S)
            assert message is not None
            if not message.error():
                writer.produce(sink, message.value())
                taken += 1
        writer.send_offsets_to_transaction(reader.position([TopicPartition(source, 0)]),
                                           reader.consumer_group_metadata(), WAIT_S)

    try:
        transform(4)
        writer.abort_transaction(WAIT_S)
        assert committed() == confluent_kafka.OFFSET_INVALID
        reader.seek(TopicPartition(source, 0, 0))
        transform(4)
        writer.commit_transaction(WAIT_S)
        assert committed() == 4
        transform(6)
        writer.abort_transaction(WAIT_S)
        assert committed() == 4
    finally:
        reader.close()
    assert read_all(bootstrap, sink) == ["0", "1", "2", "3"]


def test_kafka_pythons_transactional_producer(bootstrap):
    topic = make_topic(bootstrap)
    writer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=unique("tx"))
    try:
        writer.init_transactions()
        for value, commit in ((b"kept", True), (b"dropped", False), (b"kept too", True)):
            writer.begin_transaction()
            writer.send(topic, value)
            writer.flush(timeout=WAIT_S)
            if commit:
                writer.commit_transaction()
            else:
                writer.abort_transaction()
    finally:
        writer.close()
    assert read_all(bootstrap, topic) == ["kept", "kept too"]


def test_a_transaction_that_takes_too_long_is_aborted(bootstrap):
    topic = make_topic(bootstrap)
    writer = producer(bootstrap, unique("tx"), **{"transaction.timeout.ms": 1000})
    writer.begin_transaction()
    writer.produce(topic, "too slow")
    writer.flush(WAIT_S)
    plain = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    plain.produce(topic, "behind")
    plain.flush(WAIT_S)
    reader = consumer(bootstrap, topic)
    try:
        # It comes as soon as the transaction before it is over.
        while (message := reader.poll(WAIT_S)) is not None and message.error():
            pass
        assert message.value() == b"behind"
    finally:
        reader.close()
    with pytest.raises(confluent_kafka.KafkaException):
        writer.commit_transaction(WAIT_S)


def test_a_killed_server_keeps_what_was_committed_and_aborts_the_rest(own_broker):
    bootstrap = own_broker.bootstrap
    topic = make_topic(bootstrap, 2)
    transactional_id = unique("tx")
    writer = producer(bootstrap, transactional_id)
    for number in range(20):
        writer.begin_transaction()
        for partition in range(2):
            writer.produce(topic, f"{number}-{partition}", partition=partition)
        writer.flush(WAIT_S)
        if number % 3 == 2:
            writer.abort_transaction(WAIT_S)
        else:
            writer.commit_transaction(WAIT_S)
    writer.begin_transaction()
    writer.produce(topic, "open when it died", partition=0)
    writer.flush(WAIT_S)
    own_broker.kill()
    own_broker.start()
    # What was open stays so until its producer is back, or its time is up.
    expected = sorted(f"{number}-{partition}" for number in range(20) if number % 3 != 2 for partition in range(2))
    assert sorted(read_all(bootstrap, topic, 2)) == expected
    producer(bootstrap, transactional_id)
    plain = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    plain.produce(topic, "after", partition=0)
    plain.flush(WAIT_S)
    assert sorted(read_all(bootstrap, topic, 2)) == sorted([*expected, "after"])
