"""What GET /metrics says after traffic that is known."""

import pathlib
import urllib.request

import confluent_kafka
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from conftest import EXTERNAL, make_topic, unique
from exposition import Exposition, FormatError

pytestmark = pytest.mark.skipif(bool(EXTERNAL), reason="Apache Kafka has no such page")
MANUAL = pathlib.Path(__file__).parents[2] / "docs" / "manual" / "broker.md"


def scrape(broker):
    with urllib.request.urlopen(f"http://127.0.0.1:{broker.http_port}/metrics", timeout=30) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Exposition(answer.read().decode())


def produce(broker, topic, count):
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for i in range(count):
        producer.produce(topic, f"value {i}")
    assert producer.flush(20) == 0


def commit(broker, group, topic, offset):
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def begin_transaction(broker, topic):
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": unique("txn")})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, "in a transaction")
    assert producer.flush(20) == 0
    return producer


def test_records_and_lag_are_those_of_the_traffic(broker, group):
    topic = make_topic(broker.bootstrap)
    produce(broker, topic, 100)
    commit(broker, group, topic, 30)
    metrics = scrape(broker)
    assert metrics.get("millrace_topic_produced_records_total", topic=topic) == 100
    assert metrics.get("millrace_partition_high_watermark", topic=topic, partition="0") == 100
    assert metrics.get("millrace_group_partition_lag_records", group=group, topic=topic, partition="0") == 70
    assert metrics.get("millrace_group_lag_records", group=group) == 70
    commit(broker, group, topic, 100)
    assert scrape(broker).get("millrace_group_lag_records", group=group) == 0


def test_a_group_that_is_deleted_vanishes(broker, group, admin):
    topic = make_topic(broker.bootstrap)
    produce(broker, topic, 1)
    commit(broker, group, topic, 0)
    assert scrape(broker).get("millrace_group_members", group=group) == 0
    admin.delete_consumer_groups([group])[group].result(20)
    metrics = scrape(broker)
    assert metrics.get("millrace_group_members", group=group) is None
    assert metrics.get("millrace_group_partition_lag_records", group=group, topic=topic, partition="0") is None


def test_an_open_transaction_counts_until_it_ends(broker, topic):
    before = scrape(broker).get("millrace_broker_open_transactions", state="Ongoing")
    producer = begin_transaction(broker, topic)
    open_now = scrape(broker)
    assert open_now.get("millrace_broker_open_transactions", state="Ongoing") == before + 1
    assert open_now.get("millrace_partition_last_stable_offset", topic=topic, partition="0") == 0
    assert open_now.get("millrace_partition_high_watermark", topic=topic, partition="0") == 1
    producer.commit_transaction(20)
    ended = scrape(broker)
    assert ended.get("millrace_broker_open_transactions", state="Ongoing") == before
    assert ended.get("millrace_partition_last_stable_offset", topic=topic, partition="0") == 2, "the record and its marker"


def test_latencies_count_requests_and_rebalances(broker, topic, group):
    produce(broker, topic, 1)
    before = scrape(broker)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    assert consumer.poll(20).value() == b"value 0"
    metrics = scrape(broker)
    assert metrics.get("millrace_group_members", group=group) == 1
    assert metrics.get("millrace_broker_groups", state="Stable") >= 1
    assert metrics.get("millrace_broker_rebalance_seconds_count") == before.get("millrace_broker_rebalance_seconds_count") + 1
    consumer.close()
    for api in ("Produce", "JoinGroup", "SyncGroup", "Metadata"):
        answered = metrics.get("millrace_broker_request_seconds_count", api=api)
        assert 0 < answered <= metrics.get("millrace_broker_requests_total", api=api)
    joins = "millrace_broker_request_errors_total"
    assert metrics.get(joins, api="JoinGroup", error="MEMBER_ID_REQUIRED") >= 1


def test_the_process_and_its_disk_are_shown(broker):
    metrics = scrape(broker)
    assert 1e6 < metrics.get("process_resident_memory_bytes") < 1e9
    assert metrics.get("process_open_fds") < metrics.get("process_max_fds")
    assert metrics.get("process_cpu_seconds_total") > 0
    assert metrics.get("millrace_uptime_seconds") > 0
    assert metrics.get("millrace_disk_free_bytes") > 0
    assert metrics.get("millrace_broker_coordinator_up", coordinator="group") == 1


def test_the_manual_lists_every_metric(broker, topic, group, admin):
    produce(broker, topic, 1)
    commit(broker, group, topic, 0)
    begin_transaction(broker, topic).abort_transaction(20)
    with pytest.raises(confluent_kafka.KafkaException):
        admin.delete_consumer_groups(["none"])["none"].result(20)
    table = scrape(broker).table()
    assert table in MANUAL.read_text(encoding="utf-8"), f"docs/manual/broker.md should have this table:\n{table}"


@pytest.mark.parametrize("text", ["a 1\n", "# HELP a x\n# TYPE a gauge\na 1", "# HELP a x\n# TYPE a counter\na 1\n",
                                  "# HELP a x\n# TYPE a gauge\na 1\na 1\n", "# HELP a x\n# TYPE a gauge\na{b=c} 1\n",
                                  "# HELP a_ms x\n# TYPE a_ms gauge\na_ms 1\n", "# HELP a x\n# TYPE a gauge\na one\n",
                                  '# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n'])  # fmt: skip
def test_the_reader_of_these_tests_finds_faults(text):
    with pytest.raises(FormatError):
        Exposition(text)
