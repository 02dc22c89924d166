"""What was acknowledged is there after kill -9, once."""

import time

import confluent_kafka
import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from both import CLIENTS, consume, produce
from conftest import make_topic


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
