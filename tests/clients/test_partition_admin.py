"""Administration of partitions and of the cluster: growing topics, deleting records, directories, leaders."""

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, NewPartitions, OffsetSpec
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPythonPartition
from kafka import errors
from kafka.structs import TopicPartitionReplica

from admins import done, error_of, wait_until
from both import consume, produce
from conftest import make_topic, unique


def earliest(admin, topic, partition=0):
    return done(admin.list_offsets({TopicPartition(topic, partition): OffsetSpec.earliest()})).offset


def numbers(count):
    return [(None, b"%d" % i) for i in range(count)]


def partitions_of(admin, topic):
    return len(admin.list_topics(topic, timeout=10).topics[topic].partitions)


def test_a_topic_grows_and_its_new_partitions_take_records(bootstrap, admin, topic):
    produce("confluent-kafka", bootstrap, topic, numbers(5))
    done(admin.create_partitions([NewPartitions(topic, 4)]))
    wait_until(lambda: partitions_of(admin, topic) == 4)
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, value=b"new", partition=3)
    assert producer.flush(20) == 0
    assert [value for _, _, value in consume("confluent-kafka", bootstrap, topic, 1, partition=3)] == [b"new"]
    assert len(consume("kafka-python", bootstrap, topic, 5)) == 5


def test_kafka_python_grows_topics(kafka_python_admin, admin, topic):
    kafka_python_admin.create_partitions({topic: 3}, validate_only=True)
    assert partitions_of(admin, topic) == 1
    kafka_python_admin.create_partitions({topic: {"count": 2, "assignments": [[1]]}})
    wait_until(lambda: partitions_of(admin, topic) == 2)
    with pytest.raises(errors.InvalidPartitionsError):
        kafka_python_admin.create_partitions({topic: 2})


def test_topics_cannot_shrink(admin, bootstrap):
    topic = make_topic(bootstrap, partitions=3)
    for count in (1, 3):
        assert error_of(admin.create_partitions([NewPartitions(topic, count)])) == KafkaError.INVALID_PARTITIONS
    assert error_of(admin.create_partitions([NewPartitions(unique("nothing"), 3)])) == KafkaError.UNKNOWN_TOPIC_OR_PART
    twice = NewPartitions(topic, 4, replica_assignment=[[99]])
    assert error_of(admin.create_partitions([twice])) == KafkaError.INVALID_REPLICA_ASSIGNMENT


def test_a_consumer_group_takes_up_new_partitions(bootstrap, admin, topic, group):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, metadata_max_age_ms=500, enable_auto_commit=False)
    # As in loads.py: this client's leader must know its topic before it joins.
    consumer.partitions_for_topic(topic)
    consumer.subscribe([topic])

    def reads(count):
        consumer.poll(timeout_ms=500)
        return len(consumer.assignment()) == count

    wait_until(lambda: reads(1), timeout_s=30)
    done(admin.create_partitions([NewPartitions(topic, 2)]))
    wait_until(lambda: reads(2), timeout_s=30)
    consumer.close()


def test_records_in_front_of_an_offset_are_deleted(bootstrap, admin, topic):
    produce("confluent-kafka", bootstrap, topic, numbers(10))
    assert done(admin.delete_records([TopicPartition(topic, 0, 4)])).low_watermark == 4
    assert earliest(admin, topic) == 4
    assert [offset for offset, _, _ in consume("kafka-python", bootstrap, topic, 6, offset=4)] == [4, 5, 6, 7, 8, 9]
    # Who asks for what is gone begins where the client's rule says.
    late = consume("confluent-kafka", bootstrap, topic, 6, offset=0, **{"auto.offset.reset": "earliest"})
    assert late[0][0] == 4


def test_all_records_are_deleted_and_offsets_go_on(bootstrap, admin, kafka_python_admin, topic):
    produce("confluent-kafka", bootstrap, topic, numbers(10))
    partition = KafkaPythonPartition(topic, 0)
    assert kafka_python_admin.delete_records({partition: -1})[partition]["low_watermark"] == 10
    assert earliest(admin, topic) == 10
    assert produce("kafka-python", bootstrap, topic, [(None, b"next")]) == [10]
    assert consume("confluent-kafka", bootstrap, topic, 1, offset=10) == [(10, None, b"next")]


def test_records_to_come_cannot_be_deleted(bootstrap, admin, topic):
    produce("confluent-kafka", bootstrap, topic, numbers(3))
    assert error_of(admin.delete_records([TopicPartition(topic, 0, 4)])) == KafkaError.OFFSET_OUT_OF_RANGE
    assert earliest(admin, topic) == 0


def test_records_of_a_compacted_topic_stay(bootstrap, admin):
    topic = make_topic(bootstrap, configs={"cleanup.policy": "compact"})
    produce("confluent-kafka", bootstrap, topic, [(b"key", b"value")])
    assert error_of(admin.delete_records([TopicPartition(topic, 0, 1)])) == KafkaError.POLICY_VIOLATION


def test_deleted_records_stay_deleted_after_a_kill(own_broker):
    topic = make_topic(own_broker.bootstrap)
    produce("confluent-kafka", own_broker.bootstrap, topic, numbers(10))
    admin = AdminClient({"bootstrap.servers": own_broker.bootstrap})
    done(admin.delete_records([TopicPartition(topic, 0, 7)]))
    done(admin.create_partitions([NewPartitions(topic, 2)]))
    own_broker.kill()
    own_broker.start()
    admin = AdminClient({"bootstrap.servers": own_broker.bootstrap})
    assert earliest(admin, topic) == 7
    assert partitions_of(admin, topic) == 2


def test_leaders_are_elected_already(admin, kafka_python_admin, topic):
    elected = admin.elect_leaders(confluent_kafka.ElectionType.PREFERRED, [TopicPartition(topic, 0)])
    error = elected.result(timeout=20)[TopicPartition(topic, 0)]
    assert error.code() == KafkaError.ELECTION_NOT_NEEDED
    kafka_python_admin.elect_leaders(0, {topic: [0]})


def test_partitions_are_not_being_moved(kafka_python_admin, admin, topic):
    partition = KafkaPythonPartition(topic, 0)
    node = next(iter(admin.list_topics(timeout=10).brokers))
    assert kafka_python_admin.list_partition_reassignments() == {}
    assert kafka_python_admin.alter_partition_reassignments({partition: [node]}) == {partition: None}
    moved = kafka_python_admin.alter_partition_reassignments({partition: [node + 100]})
    assert moved == {partition: errors.for_code(39)}
    cancelled = kafka_python_admin.alter_partition_reassignments({partition: None})
    assert cancelled == {partition: errors.NoReassignmentInProgressError}


def test_log_directories_show_how_large_partitions_are(bootstrap, kafka_python_admin, topic):
    produce("confluent-kafka", bootstrap, topic, [(None, b"x" * 1000)])
    (broker,) = kafka_python_admin.describe_log_dirs({topic: [0]})
    (directory,) = broker["log_dirs"]
    assert directory["error_code"] == 0
    (described,) = directory["topics"]
    assert described["name"] == topic
    assert described["partitions"][0]["partition_size"] > 1000

    here = TopicPartitionReplica(topic, 0, broker["broker"])
    assert kafka_python_admin.alter_replica_log_dirs({here: directory["log_dir"]}) == {here: errors.NoError}
    elsewhere = kafka_python_admin.alter_replica_log_dirs({here: "/no/such/directory"})
    assert elsewhere == {here: errors.LogDirNotFoundError}


def test_the_cluster_is_described(admin, kafka_python_admin):
    cluster = admin.describe_cluster(include_authorized_operations=True).result(timeout=20)
    (node,) = cluster.nodes
    assert cluster.controller.id == node.id
    assert AclOperation.CREATE in cluster.authorized_operations
    described = kafka_python_admin.describe_cluster()
    assert described["cluster_id"] == cluster.cluster_id
    assert [broker["broker_id"] for broker in described["brokers"]] == [node.id]


def test_topics_are_described_page_by_page(bootstrap, kafka_python_admin):
    topic = make_topic(bootstrap, partitions=3)
    page = kafka_python_admin.describe_topic_partitions([topic], response_partition_limit=2)
    assert [part["partition_index"] for part in page["topics"][0]["partitions"]] == [0, 1]
    assert page["next_cursor"]["topic_name"] == topic
    rest = kafka_python_admin.describe_topic_partitions([topic], cursor=page["next_cursor"])
    assert [part["partition_index"] for part in rest["topics"][0]["partitions"]] == [2]
    assert rest["next_cursor"] is None


def test_the_quorum_has_one_leader(kafka_python_admin):
    quorum = kafka_python_admin.describe_metadata_quorum()
    (partition,) = quorum["topics"][0]["partitions"]
    assert partition["error"] is None
    assert [voter["replica_id"] for voter in partition["current_voters"]] == [partition["leader_id"]]


def test_unknown_features_cannot_be_updated(kafka_python_admin):
    with pytest.raises(errors.BrokerResponseError):
        kafka_python_admin.update_features({"no.such.feature": 1})
