"""What was acknowledged is there after kill -9, once."""

import collections
import threading
import time

import confluent_kafka
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from both import CLIENTS, consume, produce
from conftest import make_topic

PARTITIONS = 4


@pytest.mark.parametrize("client", CLIENTS)
def test_committed_offsets_survive_kill_9(own_broker, group, client):
    bootstrap = own_broker.bootstrap
    topic = make_topic(bootstrap)
    produce(client, bootstrap, topic, [(None, b"%d" % i) for i in range(100)])
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    consumer.assign([partition])
    consumer.commit({partition: OffsetAndMetadata(57, "note", -1)})
    own_broker.kill()
    consumer.close()

    own_broker.start()
    if client == "kafka-python":
        again = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest")
        record = next(again)
        assert (record.offset, record.value) == (57, b"57")
        again.close()
    else:
        again = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
        assert again.committed([confluent_kafka.TopicPartition(topic, 0)], timeout=10)[0].offset == 57
        again.subscribe([topic])
        assert again.consume(1, timeout=20)[0].offset() == 57
        again.close()


def test_members_of_a_group_outlive_their_broker(own_broker, group):
    """The same consumer reads on when the broker is back, without missing or repeating a record."""
    bootstrap = own_broker.bootstrap
    topic = make_topic(bootstrap)
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group,
                                         "auto.offset.reset": "earliest", "reconnect.backoff.max.ms": 500})
    consumer.subscribe([topic])
    values = []

    def read_to(count):
        deadline = time.monotonic() + 40
        while len(values) < count and time.monotonic() < deadline:
            values.extend(int(message.value()) for message in consumer.consume(50, timeout=0.2) if not message.error())

    produce("confluent-kafka", bootstrap, topic, [(None, b"%d" % i) for i in range(50)])
    read_to(50)
    own_broker.kill()
    own_broker.start()
    produce("confluent-kafka", bootstrap, topic, [(None, b"%d" % i) for i in range(50, 100)])
    read_to(100)
    consumer.close()
    assert values == list(range(100))


class Load:
    """An idempotent producer that sends numbered records round the partitions until it is stopped."""

    def __init__(self, client, bootstrap, topic):
        self.acknowledged = {}  # number -> (partition, offset)
        self.sent = 0
        self.stopping = threading.Event()
        run = self.run_kafka_python if client == "kafka-python" else self.run_confluent_kafka
        self.thread = threading.Thread(target=run, args=(bootstrap, topic))
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def run_kafka_python(self, bootstrap, topic):
        producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=2,
                                 reconnect_backoff_max_ms=200)
        while not self.stopping.is_set():
            number, self.sent = self.sent, self.sent + 1
            try:
                future = producer.send(topic, b"%d" % number, partition=number % PARTITIONS)
                future.add_callback(lambda done, number=number: self.done(number, done.partition, done.offset))
            except KafkaError:
                time.sleep(0.05)
            if number % 50 == 49:
                time.sleep(0.01)
        producer.flush(timeout=60)
        producer.close(timeout=10)

    def run_confluent_kafka(self, bootstrap, topic):
        producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True,
                                             "linger.ms": 2, "reconnect.backoff.max.ms": 200})

        def delivered(error, message):
            if error is None:
                self.done(int(message.value()), message.partition(), message.offset())

        while not self.stopping.is_set():
            number, self.sent = self.sent, self.sent + 1
            try:
                producer.produce(topic, b"%d" % number, partition=number % PARTITIONS, on_delivery=delivered)
            except BufferError:
                time.sleep(0.05)
            producer.poll(0)
            if number % 50 == 49:
                time.sleep(0.01)
        producer.flush(60)

    def done(self, number, partition, offset):
        self.acknowledged[number] = (partition, offset)


@pytest.mark.parametrize("client", CLIENTS)
def test_kill_9_under_load_loses_and_repeats_nothing(own_broker, client):
    bootstrap = own_broker.bootstrap
    topic = make_topic(bootstrap, partitions=PARTITIONS)
    load = Load(client, bootstrap, topic)
    for _ in range(3):
        before = len(load.acknowledged)
        deadline = time.monotonic() + 30
        while len(load.acknowledged) < before + 500:
            assert time.monotonic() < deadline, "the producer does not go on"
            time.sleep(0.01)
        own_broker.kill()
        own_broker.start()
    load.stop()

    reader = KafkaConsumer(bootstrap_servers=bootstrap)
    partitions = [TopicPartition(topic, i) for i in range(PARTITIONS)]
    ends = reader.end_offsets(partitions)
    reader.close()
    places = collections.defaultdict(list)
    for partition in partitions:
        for offset, _, value in consume("confluent-kafka", bootstrap, topic, ends[partition], partition.partition):
            places[int(value)].append((partition.partition, offset))

    assert len(load.acknowledged) > 1500
    lost = [number for number in load.acknowledged if number not in places]
    repeated = [number for number, where in places.items() if len(where) > 1]
    moved = [number for number, where in load.acknowledged.items() if number in places and places[number] != [where]]
    assert (lost, repeated, moved) == ([], [], [])
    for partition in range(PARTITIONS):
        numbers = [n for n, where in sorted(places.items(), key=lambda item: item[1][0]) if where[0][0] == partition]
        assert numbers == sorted(numbers), "idempotent producers keep their order"


def test_topics_and_their_records_survive_kill_9_and_a_clean_stop(own_broker):
    bootstrap = own_broker.bootstrap
    topic = make_topic(bootstrap, partitions=3)
    produce("confluent-kafka", bootstrap, topic, [(b"k", b"%d" % i) for i in range(200)])
    own_broker.kill()
    own_broker.start()
    produce("confluent-kafka", bootstrap, topic, [(b"k", b"%d" % i) for i in range(200, 300)])
    assert own_broker.stop() == 0
    own_broker.start()
    read = consume("kafka-python", bootstrap, topic, 300)
    assert [(offset, int(value)) for offset, _, value in read] == [(i, i) for i in range(300)]
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    assert consumer.partitions_for_topic(topic) == {0, 1, 2}
    consumer.close()
