"""Producing and consuming with unmodified clients."""

import time

import confluent_kafka
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import MessageSizeTooLargeError

from both import CLIENTS, consume, produce
from conftest import make_topic, unique

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def some_records(count):
    return [(b"key %d" % (i % 7), b"value %d " % i + b"x" * (i % 300)) for i in range(count)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("producer", CLIENTS)
def test_every_compression_reads_back_with_both_clients(bootstrap, topic, producer, codec):
    records = some_records(1000)
    setting = {"compression.type": None if producer == "kafka-python" and codec == "none" else codec}
    offsets = produce(producer, bootstrap, topic, records, **setting, **{"linger.ms": 20})
    assert offsets == list(range(1000))
    for client in CLIENTS:
        read = consume(client, bootstrap, topic, 1000)
        assert read == [(i, key, value) for i, (key, value) in enumerate(records)]


def test_kafka_pythons_plainest_programs_run_as_they_stand(bootstrap):
    topic = unique("made-by-its-first-record")
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for i in range(20):
        producer.send(topic, b"message %d" % i).get(timeout=20)

    consumer = KafkaConsumer(topic, group_id=unique("g"), bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    values = []
    for message in consumer:
        values.append(message.value)
        if len(values) == 20:
            break
    consumer.close()
    producer.close()
    assert sorted(values) == sorted(b"message %d" % i for i in range(20))


@pytest.mark.parametrize("acks", [0, 1, "all"])
@pytest.mark.parametrize("client", CLIENTS)
def test_every_level_of_acknowledgement(bootstrap, topic, client, acks):
    idempotence = {"enable.idempotence": acks == "all"}
    records = [(None, b"%d" % i) for i in range(50)]
    produce(client, bootstrap, topic, records, acks=acks, **idempotence)
    assert [value for _, _, value in consume(client, bootstrap, topic, 50)] == [value for _, value in records]


@pytest.mark.parametrize("client", CLIENTS)
def test_null_and_empty_keys_and_values_stay_what_they_are(bootstrap, topic, client):
    records = [(None, b""), (b"", None), (b"k", b"v"), (None, b"last")]
    produce(client, bootstrap, topic, records)
    assert [(key, value) for _, key, value in consume(client, bootstrap, topic, 4)] == records


def test_headers_and_timestamps_come_back(bootstrap, topic):
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    headers = [("trace", b"\x00\x01"), ("empty", b""), ("null", None), ("trace", b"again")]
    producer.produce(topic, b"v", headers=headers, timestamp=1_600_000_000_123)
    assert producer.flush(20) == 0
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    record = next(consumer)
    consumer.close()
    assert list(record.headers) == headers
    assert record.timestamp == 1_600_000_000_123


@pytest.mark.parametrize("client", CLIENTS)
def test_a_record_of_nearly_a_megabyte_passes(bootstrap, topic, client):
    big = bytes(range(256)) * 3900
    produce(client, bootstrap, topic, [(None, b"before"), (None, big), (None, b"after")])
    assert [value for _, _, value in consume(client, bootstrap, topic, 3)] == [b"before", big, b"after"]


def test_a_batch_over_the_topics_limit_is_refused_and_the_next_one_is_taken(bootstrap):
    topic = make_topic(bootstrap)
    producer = KafkaProducer(bootstrap_servers=bootstrap, max_request_size=8 << 20, enable_idempotence=False)
    with pytest.raises(MessageSizeTooLargeError):
        producer.send(topic, b"x" * (3 << 20)).get(timeout=20)
    assert producer.send(topic, b"small").get(timeout=20).offset == 0
    producer.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_batch_larger_than_the_fetch_limit_is_delivered_whole(bootstrap, topic, client):
    records = [(None, b"%05d" % i + b"y" * 1000) for i in range(200)]
    produce(client, bootstrap, topic, records, **{"linger.ms": 50})
    limits = {"max.partition.fetch.bytes": 1024}
    if client == "confluent-kafka":
        limits["fetch.message.max.bytes"] = 1024
        limits.pop("max.partition.fetch.bytes")
    read = consume(client, bootstrap, topic, 200, **limits)
    assert [value for _, _, value in read] == [value for _, value in records]


def test_tens_of_megabytes_are_fetched_in_order(bootstrap):
    topic = make_topic(bootstrap)
    count = 30_000
    payload = b"z" * 990
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 1_000_000})
    for i in range(count):
        producer.produce(topic, b"%010d" % i + payload, partition=0)
    assert producer.flush(60) == 0
    options = {"fetch.max.bytes": 50 << 20, "fetch.message.max.bytes": 16 << 20}
    read = consume("confluent-kafka", bootstrap, topic, count, timeout_s=60, **options)
    assert [offset for offset, _, _ in read] == list(range(count))
    assert all(int(value[:10]) == offset for offset, _, value in read)


def test_seek_reads_from_where_it_points(bootstrap, topic):
    produce("confluent-kafka", bootstrap, topic, [(None, b"%d" % i) for i in range(500)], **{"linger.ms": 50})
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    consumer.assign([partition])
    for offset in (499, 0, 250, 37):
        consumer.seek(partition, offset)
        record = next(consumer)
        assert (record.offset, record.value) == (offset, b"%d" % offset)
    consumer.seek_to_end(partition)
    assert consumer.position(partition) == 500
    assert consumer.beginning_offsets([partition]) == {partition: 0}
    assert consumer.end_offsets([partition]) == {partition: 500}
    consumer.close()


def test_an_offset_out_of_range_resets_as_the_consumer_says(bootstrap, topic):
    produce("confluent-kafka", bootstrap, topic, [(None, b"%d" % i) for i in range(5)])
    partition = TopicPartition(topic, 0)
    for policy, expected in (("earliest", 0), ("latest", 5)):
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset=policy)
        consumer.assign([partition])
        consumer.seek(partition, 1_000_000)
        consumer.poll(timeout_ms=2000, max_records=1)
        deadline = time.monotonic() + 10
        while consumer.position(partition) > 5 and time.monotonic() < deadline:
            consumer.poll(timeout_ms=200, max_records=1)
        assert consumer.position(partition) in (expected, expected + 1 if policy == "earliest" else expected)
        consumer.close()


def test_offsets_are_found_by_timestamp(bootstrap, topic):
    base = 1_700_000_000_000
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for i in range(100):
        producer.send(topic, b"%d" % i, partition=0, timestamp_ms=base + 1000 * i)
        if i % 10 == 9:
            producer.flush()
    producer.close()
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)

    def first_at(timestamp):
        return consumer.offsets_for_times({partition: timestamp})[partition]

    assert first_at(base).offset == 0
    assert (first_at(base + 41_000).offset, first_at(base + 41_000).timestamp) == (41, base + 41_000)
    assert first_at(base + 41_001).offset == 42
    assert first_at(base + 99_000).offset == 99
    assert first_at(base + 99_001) is None
    consumer.close()

    other = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "unused"})
    asked = [confluent_kafka.TopicPartition(topic, 0, base + 55_500)]
    assert other.offsets_for_times(asked, timeout=10)[0].offset == 56
    assert other.get_watermark_offsets(confluent_kafka.TopicPartition(topic, 0), timeout=10) == (0, 100)
    other.close()


def test_a_waiting_fetch_sees_a_new_record_at_once(bootstrap, topic):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=8000)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    consumer.poll(timeout_ms=500)
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    producer.send(topic, b"warm the connection up", partition=0).get(timeout=10)
    next(consumer)
    consumer.poll(timeout_ms=300)
    sent_at = time.monotonic()
    producer.send(topic, b"now", partition=0).get(timeout=10)
    assert next(consumer).value == b"now"
    assert time.monotonic() - sent_at < 4, "not after fetch.max.wait"
    consumer.close()
    producer.close()


def test_read_committed_reads_everything_that_is_not_part_of_a_transaction(bootstrap, topic):
    produce("kafka-python", bootstrap, topic, [(None, b"%d" % i) for i in range(10)])
    for client in CLIENTS:
        assert len(consume(client, bootstrap, topic, 10, **{"isolation.level": "read_committed"})) == 10


def test_keys_choose_the_partition_as_in_kafka(bootstrap):
    topic = make_topic(bootstrap, partitions=6)
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    chosen = {i: producer.send(topic, key=b"%d" % i, value=b"v").get(timeout=10).partition for i in range(60)}
    assert set(chosen.values()) == set(range(6))
    assert all(producer.send(topic, key=b"%d" % i, value=b"v").get(timeout=10).partition == chosen[i] for i in chosen)
    producer.close()
