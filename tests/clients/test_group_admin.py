"""Administration of groups: deleting them and their offsets."""

import confluent_kafka
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, TopicPartition
from kafka import TopicPartition as KafkaPythonPartition
from kafka import errors
from kafka.structs import OffsetAndMetadata

from admins import done, error_of, running_member
from conftest import make_topic, unique


def commit(bootstrap, group, topic, offset=0):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def offsets_of(admin, group):
    listed = done(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
    return {part.topic: part.offset for part in listed.topic_partitions}


def listed_groups(admin):
    return [found.group_id for found in admin.list_consumer_groups().result(timeout=10).valid]


def test_a_group_is_deleted_with_its_offsets(bootstrap, admin, topic, group):
    commit(bootstrap, group, topic, 3)
    assert offsets_of(admin, group) == {topic: 3}
    done(admin.delete_consumer_groups([group]))
    assert group not in listed_groups(admin)
    assert offsets_of(admin, group) == {}


def test_a_group_with_members_stays(bootstrap, admin, topic, group):
    consumer = running_member(bootstrap, topic, group)
    assert error_of(admin.delete_consumer_groups([group])) == KafkaError.NON_EMPTY_GROUP
    consumer.close()
    done(admin.delete_consumer_groups([group]))
    assert group not in listed_groups(admin)


def test_a_group_that_does_not_exist_is_not_found(admin):
    assert error_of(admin.delete_consumer_groups([unique("nobody")])) == KafkaError.GROUP_ID_NOT_FOUND


def test_kafka_python_deletes_groups(bootstrap, kafka_python_admin, admin, topic, group):
    commit(bootstrap, group, topic)
    answered = str(kafka_python_admin.delete_groups([group, unique("nobody")]))
    assert "GroupIdNotFound" in answered
    assert group not in listed_groups(admin)


def test_single_offsets_are_deleted(bootstrap, kafka_python_admin, admin, topic, group):
    other = make_topic(bootstrap)
    commit(bootstrap, group, topic, 3)
    commit(bootstrap, group, other, 4)
    partition = KafkaPythonPartition(topic, 0)
    assert kafka_python_admin.delete_group_offsets(group, [partition]) == {partition: errors.NoError}
    assert offsets_of(admin, group) == {other: 4}
    with pytest.raises(errors.GroupIdNotFoundError):
        kafka_python_admin.delete_group_offsets(unique("nobody"), [partition])


def test_offsets_of_a_topic_that_members_read_stay(bootstrap, kafka_python_admin, admin, topic, group):
    other = make_topic(bootstrap)
    commit(bootstrap, group, other, 4)
    consumer = running_member(bootstrap, topic, group)
    read, unread = KafkaPythonPartition(topic, 0), KafkaPythonPartition(other, 0)
    answered = kafka_python_admin.delete_group_offsets(group, [read, unread])
    assert answered == {read: errors.GroupSubscribedToTopicError, unread: errors.NoError}
    assert other not in offsets_of(admin, group)
    consumer.close()


def test_offsets_are_set_for_a_group(bootstrap, kafka_python_admin, admin, topic, group):
    partition = KafkaPythonPartition(topic, 0)
    kafka_python_admin.alter_group_offsets(group, {partition: OffsetAndMetadata(7, "", -1)})
    assert offsets_of(admin, group) == {topic: 7}
    done(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 5)])]))
    assert offsets_of(admin, group) == {topic: 5}
