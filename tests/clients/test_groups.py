"""Consumer groups: who reads what, who takes over, where they go on."""

import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

import confluent_kafka
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from both import CLIENTS, produce
from conftest import EXTERNAL, make_topic

SESSION_TIMEOUT_MS = 6000
# How long a dead process may stay in its group: its connection tells; of Kafka the session timeout.
NOTICED_S = SESSION_TIMEOUT_MS / 1000 if EXTERNAL else 1
ALL = set(range(12))


class Member:
    """A group_member.py process and what it has said so far."""

    def __init__(self, client, bootstrap, group, topic, instance_id=None, session_timeout_ms=SESSION_TIMEOUT_MS):
        script = os.path.join(os.path.dirname(__file__), "group_member.py")
        command = [sys.executable, script, client, bootstrap, group, topic, str(session_timeout_ms)]
        self.process = subprocess.Popen(command + ([instance_id] if instance_id else []), stdout=subprocess.PIPE)
        self.assigned = set()
        self.assignments = 0
        self.records = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "assigned" in said:
                self.assigned = set(said["assigned"])
                self.assignments += bool(said["assigned"])
            else:
                self.records.append(tuple(said["record"]))

    def end(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait()
        self.assigned = set()


@pytest.fixture
def members():
    """A list whose processes end with the test."""
    started = []
    yield started
    for member in started:
        if member.process.poll() is None:
            member.end()


def wait_until(condition, timeout_s):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.02)


def shared(members):
    """They hold all partitions, each once."""
    held = [partition for member in members for partition in member.assigned]
    return len(held) == len(set(held)) == len(ALL) and all(member.assigned for member in members)


def send_one_to_each(bootstrap, topic, text):
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for partition in ALL:
        producer.send(topic, text.encode(), partition=partition)
    producer.flush()
    producer.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_three_members_split_twelve_partitions_and_two_take_over_from_a_killed_one(bootstrap, group, members, client):
    topic = make_topic(bootstrap, partitions=12)
    members += [Member(client, bootstrap, group, topic) for _ in range(3)]
    wait_until(lambda: shared(members), 60)
    assert [len(member.assigned) for member in members] == [4, 4, 4]
    send_one_to_each(bootstrap, topic, "first")
    wait_until(lambda: sum(len(member.records) for member in members) == 12, 10)

    killed, *others = members
    killed.end(signal.SIGKILL)
    killed_at = time.monotonic()
    wait_until(lambda: shared(others), 30)
    # The others hear of it with their next heartbeat.
    heartbeat_s = SESSION_TIMEOUT_MS / 6000
    assert time.monotonic() - killed_at < NOTICED_S + heartbeat_s + 1.5
    send_one_to_each(bootstrap, topic, "second")
    wait_until(lambda: {r[0] for member in others for r in member.records if r[2] == "second"} == ALL, 10)


@pytest.mark.skipif(bool(EXTERNAL), reason="Millrace's own")
@pytest.mark.parametrize("client", CLIENTS)
def test_with_a_clients_defaults_a_killed_member_is_replaced_within_two_seconds(bootstrap, group, members, client):
    # Sessions of 45 s, heartbeats every 3 s: their answers are kept back, so that the death is told when it is noticed. A member that
    # has just committed is told with its next heartbeat: hence the median.
    topic = make_topic(bootstrap, partitions=12)
    members.append(Member(client, bootstrap, group, topic, session_timeout_ms="default"))
    took = []
    for _ in range(3):
        members.append(Member(client, bootstrap, group, topic, session_timeout_ms="default"))
        wait_until(lambda: shared(members), 60)
        time.sleep(3.5)  # by then each has sent a heartbeat
        members.pop(0).end(signal.SIGKILL)
        killed_at = time.monotonic()
        wait_until(lambda: shared(members), 60)
        took.append(time.monotonic() - killed_at)
    assert statistics.median(took) < 2, took


@pytest.mark.skipif(bool(EXTERNAL), reason="Millrace's own")
def test_the_history_says_why_a_group_rebalanced_and_what_moved(broker, group, members):
    topic = make_topic(broker.bootstrap, partitions=12)
    members += [Member("confluent-kafka", broker.bootstrap, group, topic) for _ in range(2)]
    wait_until(lambda: shared(members), 60)
    members.pop().end(signal.SIGKILL)
    wait_until(lambda: shared(members), 60)

    def history():
        url = f"http://127.0.0.1:{broker.http_port}/v1/groups/{group}/rebalances?last=1"
        return json.load(urllib.request.urlopen(url))

    wait_until(lambda: history() and history()[0]["left_count"] == 1, 5)
    [last] = history()
    assert "connection closed" in last["causes"][0]["reason"]
    assert (last["group"], last["members"], last["joined_count"]) == (group, 1, 0)
    moved = [move for move in last["moved"] if move["from"] == last["left"][0]]
    assert len(moved) >= 6 and all(move["topic"] == topic for move in moved)

    command = [broker.binary, "group", "rebalances", group, "--bootstrap", broker.bootstrap, "-o", "json"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert rows[0]["reason"] == last["causes"][0]["reason"]
    assert rows[0]["generation"] == last["generation"] > rows[-1]["generation"]
    assert rows[0]["moved"] == last["moved_count"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_member_that_closes_is_replaced_at_once(bootstrap, group, members, client):
    topic = make_topic(bootstrap, partitions=12)
    send_one_to_each(bootstrap, topic, "x")
    members.append(Member(client, bootstrap, group, topic))
    wait_until(lambda: shared(members), 20)
    guest = Member(client, bootstrap, group, topic)
    members.append(guest)
    wait_until(lambda: len(guest.assigned) == 6, 20)
    members.pop().end(signal.SIGTERM)
    closed_at = time.monotonic()
    wait_until(lambda: shared(members), 20)
    assert time.monotonic() - closed_at < 4, "well before a session timeout"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_lone_member_starts_at_once(bootstrap, topic, group, members, client):
    produce(client, bootstrap, topic, [(None, b"x")])
    members.append(Member(client, bootstrap, group, topic))
    wait_until(lambda: members[0].records, 3)  # process start and imports included; Kafka's default delay is 3 s


def test_both_clients_share_one_group(bootstrap, group, members):
    topic = make_topic(bootstrap, partitions=12)
    members += [Member(client, bootstrap, group, topic) for client in CLIENTS]
    wait_until(lambda: shared(members), 60)
    send_one_to_each(bootstrap, topic, "x")
    wait_until(lambda: sum(len(member.records) for member in members) == 12, 10)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_static_member_comes_back_without_a_rebalance(bootstrap, group, members, client):
    topic = make_topic(bootstrap, partitions=12)
    stays, leaves = Member(client, bootstrap, group, topic, "a"), Member(client, bootstrap, group, topic, "b")
    members += [stays, leaves]
    wait_until(lambda: shared(members), 60)
    time.sleep(2)  # longer than a heartbeat: a rebalance under way would show
    wait_until(lambda: shared(members), 60)
    held, before = set(leaves.assigned), stays.assignments
    leaves.end(signal.SIGKILL)

    back = Member(client, bootstrap, group, topic, "b")
    members[1] = back
    wait_until(lambda: back.assigned, SESSION_TIMEOUT_MS / 1000)
    time.sleep(2)
    assert back.assigned == held
    assert stays.assignments == before, "the other member saw nothing"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_group_goes_on_where_it_committed(bootstrap, topic, group, client):
    produce(client, bootstrap, topic, [(None, b"%d" % i) for i in range(100)])

    def read(count):
        if client == "kafka-python":
            # Not with short polls: this client can lose its assignment when a poll() ends in the middle of a rebalance.
            consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False,
                                     auto_offset_reset="earliest")
            values = [int(record.value) for record in itertools.islice(consumer, count)]
            consumer.commit()
        else:
            consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group,
                                                 "auto.offset.reset": "earliest", "enable.auto.commit": False})
            consumer.subscribe([topic])
            values = [int(message.value()) for message in consumer.consume(count, timeout=20)]
            consumer.commit(asynchronous=False)
        consumer.close()
        return values

    assert read(30) == list(range(30))
    assert read(50) == list(range(30, 80))
    assert read(20) == list(range(80, 100))


def test_commits_keep_their_metadata(bootstrap, topic, group):
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    consumer.assign([partition])
    assert consumer.committed(partition) is None
    consumer.commit({partition: OffsetAndMetadata(42, "where I was — 我在这里", -1)})
    consumer.close()

    other = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    committed = other.committed([confluent_kafka.TopicPartition(topic, 0)], timeout=10)[0]
    # Not its metadata: librdkafka's copy has no NUL at its end, and confluent-kafka reads up to one, past what the broker sent.
    assert committed.offset == 42
    reader = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    assert reader.committed(partition, metadata=True).metadata == "where I was — 我在这里"
    reader.close()
    other.close()


def test_a_stranger_cannot_commit_for_a_group_with_members(bootstrap, group, members):
    topic = make_topic(bootstrap, partitions=12)
    members.append(Member("confluent-kafka", bootstrap, group, topic))
    wait_until(lambda: shared(members), 20)
    stranger = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        stranger.commit(offsets=[confluent_kafka.TopicPartition(topic, 0, 5)], asynchronous=False)
    assert refused.value.args[0].code() in (confluent_kafka.KafkaError.UNKNOWN_MEMBER_ID,
                                            confluent_kafka.KafkaError.ILLEGAL_GENERATION)
    stranger.close()
