"""Administration: topics, configurations, groups."""

import confluent_kafka
import pytest
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic as KafkaPythonNewTopic
from kafka.errors import InvalidTopicError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from admins import done, error_of, running_member, wait_until
from both import consume, produce
from conftest import make_topic, unique


def test_a_topic_is_created_listed_described_and_deleted(admin):
    name = unique("made")
    done(admin.create_topics([NewTopic(name, num_partitions=5, replication_factor=1)]))
    described = admin.list_topics(timeout=10).topics[name]
    assert sorted(described.partitions) == [0, 1, 2, 3, 4]
    assert all(partition.leader == described.partitions[0].leader >= 0 for partition in described.partitions.values())
    description = done(admin.describe_topics(confluent_kafka.TopicCollection([name])))
    assert len(description.partitions) == 5
    done(admin.delete_topics([name]))
    wait_until(lambda: name not in admin.list_topics(timeout=10).topics)


def test_kafka_python_creates_and_deletes_topics(kafka_python_admin):
    name = unique("made")
    kafka_python_admin.create_topics([KafkaPythonNewTopic(name, 2, 1)])
    kafka_python_admin.wait_for_topics([name])
    assert name in kafka_python_admin.list_topics()
    kafka_python_admin.delete_topics([name])
    wait_until(lambda: name not in kafka_python_admin.list_topics())


def test_a_replication_factor_of_three_is_taken_on_one_broker(admin, broker):
    if type(broker).__name__ == "ExternalBroker":
        pytest.skip("Kafka refuses; Millrace has one node and says so in its log")
    name = unique("three")
    done(admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=3)]))
    assert len(admin.list_topics(timeout=10).topics[name].partitions[0].replicas) == 1


def test_wrong_topics_are_refused_with_the_error_that_says_why(admin, topic):
    codes = confluent_kafka.KafkaError
    assert error_of(admin.create_topics([NewTopic(topic, 1, 1)])) == codes.TOPIC_ALREADY_EXISTS
    for bad in ("a/b", "..", "x" * 250, "sp ace"):
        assert error_of(admin.create_topics([NewTopic(bad, 1, 1)])) == codes.TOPIC_EXCEPTION
    assert error_of(admin.create_topics([NewTopic(unique("zero"), 0, 1)])) == codes.INVALID_PARTITIONS
    assert error_of(admin.delete_topics([unique("nothing")])) == codes.UNKNOWN_TOPIC_OR_PART
    bad_config = NewTopic(unique("config"), 1, 1, config={"no.such.setting": "1"})
    assert error_of(admin.create_topics([bad_config])) == codes.INVALID_CONFIG


def test_kafka_python_raises_the_errors_by_name(kafka_python_admin, topic):
    with pytest.raises(TopicAlreadyExistsError):
        kafka_python_admin.create_topics([KafkaPythonNewTopic(topic, 1, 1)])
    with pytest.raises(InvalidTopicError):
        kafka_python_admin.create_topics([KafkaPythonNewTopic("not/a/name", 1, 1)])
    with pytest.raises(UnknownTopicOrPartitionError):
        kafka_python_admin.delete_topics([unique("nothing")])


def test_validate_only_creates_nothing(admin):
    name = unique("dry")
    done(admin.create_topics([NewTopic(name, 1, 1)], validate_only=True))
    assert name not in admin.list_topics(timeout=10).topics


def test_a_topics_configuration_is_shown(bootstrap, admin):
    name = make_topic(bootstrap, configs={"retention.ms": "12345678", "cleanup.policy": "compact"})
    shown = done(admin.describe_configs([ConfigResource(ResourceType.TOPIC, name)]))
    assert shown["retention.ms"].value == "12345678"
    assert not shown["retention.ms"].is_default
    assert shown["cleanup.policy"].value == "compact"
    assert shown["max.message.bytes"].is_default


def test_the_brokers_configuration_is_shown(admin):
    broker_id = str(next(iter(admin.list_topics(timeout=10).brokers)))
    shown = done(admin.describe_configs([ConfigResource(ResourceType.BROKER, broker_id)]))
    assert len(shown) > 5


def test_a_topic_made_anew_under_the_same_name_is_empty(bootstrap, admin):
    name = make_topic(bootstrap)
    produce("confluent-kafka", bootstrap, name, [(None, b"old")] * 3)
    done(admin.delete_topics([name]))
    wait_until(lambda: name not in admin.list_topics(timeout=10).topics)
    done(admin.create_topics([NewTopic(name, 1, 1)]))
    assert produce("confluent-kafka", bootstrap, name, [(None, b"new")]) == [0]
    assert [value for _, _, value in consume("kafka-python", bootstrap, name, 1)] == [b"new"]


def test_a_group_is_listed_and_described(bootstrap, admin, topic, group):
    consumer = running_member(bootstrap, topic, group, client_id="the-client")

    listing = admin.list_consumer_groups().result(timeout=10)
    mine = [found for found in listing.valid if found.group_id == group]
    assert [found.state for found in mine] == [confluent_kafka.ConsumerGroupState.STABLE]
    description = done(admin.describe_consumer_groups([group]))
    assert description.state == confluent_kafka.ConsumerGroupState.STABLE
    (member,) = description.members
    assert member.client_id == "the-client"
    assert [(part.topic, part.partition) for part in member.assignment.topic_partitions] == [(topic, 0)]
    consumer.close()
    description = done(admin.describe_consumer_groups([group]))
    assert description.state == confluent_kafka.ConsumerGroupState.EMPTY

    states = {confluent_kafka.ConsumerGroupState.STABLE}
    stable = admin.list_consumer_groups(states=states).result(timeout=10).valid
    assert group not in [found.group_id for found in stable]


def test_kafka_python_lists_and_describes_groups(bootstrap, kafka_python_admin, topic, group):
    consumer = running_member(bootstrap, topic, group)
    assert group in str(kafka_python_admin.list_groups())
    described = kafka_python_admin.describe_groups([group])
    assert "Stable" in str(described) and topic in str(described)
    consumer.close()


def test_a_groups_offsets_are_listed(bootstrap, admin, topic, group):
    produce("confluent-kafka", bootstrap, topic, [(None, b"%d" % i) for i in range(9)])
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    consumer.commit(offsets=[confluent_kafka.TopicPartition(topic, 0, 9)], asynchronous=False)
    consumer.close()
    asked = confluent_kafka.ConsumerGroupTopicPartitions(group)
    listed = done(admin.list_consumer_group_offsets([asked]))
    assert [(part.topic, part.partition, part.offset) for part in listed.topic_partitions] == [(topic, 0, 9)]


def test_producing_to_a_topic_that_is_deleted_fails_and_harms_nothing(bootstrap, admin, topic):
    other = make_topic(bootstrap)
    producer = KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=False)
    producer.send(topic, b"x").get(timeout=10)
    done(admin.delete_topics([topic]))
    assert producer.send(other, b"y").get(timeout=10).offset == 0
    producer.close(timeout=2)
