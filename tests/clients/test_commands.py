"""The command line's verbs against what real clients have open, committed and aborted."""

import json
import os
import subprocess

import confluent_kafka
import pytest

from conftest import make_topic, unique
from test_transactions import consumer, producer, read_all

WAIT_S = 60


def millrace(bootstrap, *arguments, code=0):
    result = subprocess.run([os.environ["MILLRACE_BINARY"], "--bootstrap", bootstrap, "--json", *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == code, (arguments, result.stdout, result.stderr)
    return json.loads(result.stdout) if result.stdout else result.stderr


@pytest.fixture
def open_transaction(bootstrap):
    """A transactional id and topic whose one record is not committed."""
    topic, transactional_id = make_topic(bootstrap), unique("txn")
    writer = producer(bootstrap, transactional_id)
    writer.begin_transaction()
    writer.produce(topic, b"held back")
    writer.flush(WAIT_S)
    return writer, transactional_id, topic


def test_an_open_transaction_is_listed_and_described(bootstrap, open_transaction):
    writer, transactional_id, topic = open_transaction
    assert transactional_id in [row["transactional_id"] for row in millrace(bootstrap, "txn", "list", "--state", "Ongoing")]
    (row,) = millrace(bootstrap, "txn", "describe", transactional_id)
    assert (row["state"], row["partitions"]) == ("Ongoing", f"{topic}[0]")
    assert row["open_ms"] >= 0
    (held,) = millrace(bootstrap, "txn", "producers", topic)
    assert (held["producer_id"], held["open_since_offset"]) == (row["producer_id"], 0)
    # Its coordinator knows of it, however long it takes: it does not hang.
    assert millrace(bootstrap, "txn", "hanging", topic, "--longer-than", "0") == []
    writer.commit_transaction(WAIT_S)
    assert millrace(bootstrap, "txn", "describe", transactional_id)[0]["state"] == "CompleteCommit"


def test_aborting_by_id_ends_the_transaction_and_fences_its_producer(bootstrap, open_transaction):
    writer, transactional_id, topic = open_transaction
    millrace(bootstrap, "txn", "abort", transactional_id)
    assert millrace(bootstrap, "txn", "describe", transactional_id)[0]["state"] == "Ongoing"
    millrace(bootstrap, "txn", "abort", transactional_id, "--execute")
    assert millrace(bootstrap, "txn", "producers", topic)[0]["open_since_offset"] is None
    assert read_all(bootstrap, topic) == []
    with pytest.raises(confluent_kafka.KafkaException):
        writer.commit_transaction(WAIT_S)


def test_aborting_in_a_partition_lets_its_readers_go_on(bootstrap, open_transaction):
    _, _, topic = open_transaction
    where = ("--topic", topic, "--partition", "0", "--start-offset")
    millrace(bootstrap, "txn", "abort", *where, "7", code=3)
    millrace(bootstrap, "txn", "abort", *where, "0", "--execute")
    assert millrace(bootstrap, "txn", "producers", topic)[0]["open_since_offset"] is None


def test_a_group_with_members_is_not_reset_or_deleted(bootstrap):
    topic, group = make_topic(bootstrap), unique("group")
    member = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    assigned = []
    member.subscribe([topic], on_assign=lambda _, partitions: assigned.extend(partitions))
    while not assigned:
        member.poll(0.1)
    assert "has members" in millrace(bootstrap, "group", "reset-offsets", group, "--topic", topic, "--to-earliest",
                                     "--execute", code=4)
    assert "has members" in millrace(bootstrap, "group", "delete", group, "--execute", code=4)
    (listed,) = millrace(bootstrap, "group", "describe", group, "--members")
    assert listed["assignment"] == f"{topic}[0]"
    member.close()


def test_the_doctor_sees_a_group_that_is_ahead_of_its_topic(bootstrap):
    topic, group = make_topic(bootstrap), unique("group")
    member = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    member.commit(offsets=[confluent_kafka.TopicPartition(topic, 0, 1000)], asynchronous=False)
    member.close()
    result = subprocess.run([os.environ["MILLRACE_BINARY"], "--bootstrap", bootstrap, "doctor", "--json"],
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 1, result.stdout
    (problem,) = [finding for finding in json.loads(result.stdout)["findings"] if finding["where"] == f"group {group}"]
    assert f"committed offset 1000 of {topic}[0], which ends at 0" in problem["what"]


def messages(bootstrap, topic):
    """All that is committed: key, value, headers, timestamp."""
    reader = consumer(bootstrap, topic)
    found = []
    while (message := reader.poll(WAIT_S)) is not None and not message.error():
        found.append((message.key(), message.value(), message.headers(), message.timestamp()))
    reader.close()
    return found


def test_a_copy_has_what_was_committed_and_nothing_else(bootstrap, own_broker):
    topic, group = make_topic(bootstrap), unique("group")
    writer = producer(bootstrap, unique("txn"))
    for number, ends in enumerate([writer.commit_transaction, writer.abort_transaction, writer.commit_transaction]):
        writer.begin_transaction()
        for key, value in ((b"k", b"v%d" % number), (None, b""), (b"", None)):
            writer.produce(topic, value, key, headers=[("null", None), ("empty", b""), ("twice", b"\xff"), ("twice", b"2")],
                           timestamp=1_600_000_000_000 + number)
        writer.flush(WAIT_S)
        ends(WAIT_S)
    # Offsets: 0-2, a marker, 4-6 aborted, a marker, 8-10, a marker.
    member = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    member.commit(offsets=[confluent_kafka.TopicPartition(topic, 0, 9)], asynchronous=False)
    member.close()
    millrace_copy = ["topic", "copy", topic, "--to", own_broker.bootstrap, "--groups", group]
    result = subprocess.run([os.environ["MILLRACE_BINARY"], "--bootstrap", bootstrap, "--json", *millrace_copy],
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    copied, groups = (json.loads(line) for line in result.stdout.splitlines())
    assert [(row["copied"], row["verified"]) for row in copied] == [(6, True)]
    assert [row["offset"] for row in groups] == [4]
    assert messages(bootstrap, topic) == messages(own_broker.bootstrap, topic)
    assert len(messages(bootstrap, topic)) == 6


def test_a_copy_ends_before_a_transaction_that_is_open(bootstrap, own_broker, open_transaction):
    writer, _, topic = open_transaction
    copy = ("topic", "copy", topic, "--to", own_broker.bootstrap)
    assert millrace(bootstrap, *copy)[0]["copied"] == 0
    writer.commit_transaction(WAIT_S)
    assert millrace(bootstrap, *copy)[0]["copied"] == 1
    assert read_all(own_broker.bootstrap, topic) == ["held back"]


def test_settings_of_all_brokers_are_listed_apart_from_the_brokers_own(bootstrap):
    name = "log.roll.ms"
    assert millrace(bootstrap, "config", "list", "--all-brokers") == []
    millrace(bootstrap, "config", "set", f"{name}=700000000", "--all-brokers")
    (row,) = millrace(bootstrap, "config", "list", "--all-brokers")
    assert (row["setting"], row["value"], row["source"]) == (name, "700000000", "DYNAMIC_DEFAULT_BROKER_CONFIG")
    (row,) = millrace(bootstrap, "config", "get", name)
    assert (row["value"], row["source"]) == ("700000000", "DYNAMIC_DEFAULT_BROKER_CONFIG")
    millrace(bootstrap, "config", "unset", name, "--all-brokers")
    assert "not set for all brokers" in millrace(bootstrap, "config", "get", name, "--all-brokers", code=3)


def test_an_internal_topic_is_not_deleted(bootstrap, open_transaction):
    refused = millrace(bootstrap, "topic", "delete", "__transaction_state", "--execute", code=2)
    assert "the broker's own" in refused
    assert millrace(bootstrap, "txn", "list", "--state", "Ongoing")
