"""The same few verbs over both clients, for tests that hold for each."""

import time

import confluent_kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

CLIENTS = ["kafka-python", "confluent-kafka"]


def produce(client, bootstrap, topic, records, **options):
    """Send (key, value) pairs to partition 0 and return their offsets; every one must be acknowledged."""
    if client == "kafka-python":
        with_options = {key.replace(".", "_"): value for key, value in options.items()}
        producer = KafkaProducer(bootstrap_servers=bootstrap, **with_options)
        try:
            sent = [producer.send(topic, key=key, value=value, partition=0) for key, value in records]
            return [future.get(timeout=30).offset for future in sent]
        finally:
            producer.close()
    offsets = {}

    def delivered(error, message, position):
        assert error is None, error
        offsets[position] = message.offset()

    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, **options})
    for position, (key, value) in enumerate(records):
        report = lambda error, message, position=position: delivered(error, message, position)
        producer.produce(topic, key=key, value=value, partition=0, on_delivery=report)
        producer.poll(0)
    assert producer.flush(30) == 0
    return [offsets[position] for position in range(len(records))]


def consume(client, bootstrap, topic, count, partition=0, offset=0, timeout_s=30, **options):
    """Read `count` records from `offset` on, as (offset, key, value)."""
    records = []
    deadline = time.monotonic() + timeout_s
    if client == "kafka-python":
        with_options = {key.replace(".", "_"): value for key, value in options.items()}
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, **with_options)
        consumer.assign([TopicPartition(topic, partition)])
        consumer.seek(TopicPartition(topic, partition), offset)
        try:
            while len(records) < count and time.monotonic() < deadline:
                for batch in consumer.poll(timeout_ms=200).values():
                    records += [(record.offset, record.key, record.value) for record in batch]
        finally:
            consumer.close()
    else:
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, **options})
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, offset)])
        try:
            while len(records) < count and time.monotonic() < deadline:
                for message in consumer.consume(500, timeout=0.2):
                    assert message.error() is None, message.error()
                    records.append((message.offset(), message.key(), message.value()))
        finally:
            consumer.close()
    assert len(records) >= count, f"{len(records)} of {count} records after {timeout_s} s"
    return records
