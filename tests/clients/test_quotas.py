"""Client quotas, set with the program's own command: who is over its quota is held back, nobody else is."""

import json
import time

import confluent_kafka
import pytest
from kafka import KafkaProducer

from conftest import EXTERNAL, make_topic, unique
from test_commands import millrace

pytestmark = pytest.mark.skipif(bool(EXTERNAL), reason="Kafka counts its averages otherwise")

RATE = 100_000
BURST_S = 10
RECORD = b"x" * 10_000


@pytest.fixture
def client_id():
    return unique("client")


def quotas(bootstrap):
    return {(row["client"], row["quota"]): row["value"] for row in millrace(bootstrap, "config", "clients")}


def test_quotas_are_set_listed_and_removed(bootstrap, client_id):
    millrace(bootstrap, "config", "set", "--client", client_id, "producer_byte_rate=1MB", "consumer_byte_rate=2000000")
    millrace(bootstrap, "config", "set", "--all-clients", "consumer_byte_rate=50000000", "--dry-run")
    assert quotas(bootstrap) == {(client_id, "producer_byte_rate"): 1_048_576, (client_id, "consumer_byte_rate"): 2_000_000}
    millrace(bootstrap, "config", "unset", "--client", client_id, "consumer_byte_rate")
    assert quotas(bootstrap) == {(client_id, "producer_byte_rate"): 1_048_576}
    refused = millrace(bootstrap, "config", "set", "--client", client_id, "request_percentage=50", code=2)
    assert "not built yet" in json.dumps(refused)
    millrace(bootstrap, "config", "unset", "--client", client_id, "producer_byte_rate")
    assert quotas(bootstrap) == {}


def test_a_producer_over_its_quota_is_slowed_down_and_told(bootstrap, client_id):
    topic = make_topic(bootstrap)
    millrace(bootstrap, "config", "set", "--client", client_id, f"producer_byte_rate={RATE}")
    told = []
    slow = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "client.id": client_id, "linger.ms": 0,
                                     "throttle_cb": lambda event: told.append(event.throttle_time)})
    begun = time.monotonic()
    # The burst, and three seconds' worth.
    for _ in range((BURST_S + 3) * RATE // len(RECORD)):
        slow.produce(topic, RECORD)
        slow.flush()
    took = time.monotonic() - begun
    assert 2 < took < 8, took
    assert any(told)

    begun = time.monotonic()
    other = KafkaProducer(bootstrap_servers=bootstrap, client_id=unique("other"))
    for _ in range(20):
        other.send(topic, RECORD)
    other.flush()
    other.close()
    assert time.monotonic() - begun < 2


def test_a_consumer_over_its_quota_is_slowed_down(bootstrap, client_id, group):
    topic = make_topic(bootstrap)
    count = (BURST_S + 3) * RATE // len(RECORD)
    writer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "batch.num.messages": 1})  # a fetch gets whole batches
    for _ in range(count):
        writer.produce(topic, RECORD)
    writer.flush()
    millrace(bootstrap, "config", "set", "--client", client_id, f"consumer_byte_rate={RATE}")
    reader = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "client.id": client_id, "group.id": group, "auto.offset.reset": "earliest",
                                       "fetch.message.max.bytes": RATE})
    reader.subscribe([topic])
    begun = time.monotonic()
    got = 0
    while got < count:
        got += len(reader.consume(count - got, timeout=30))
    took = time.monotonic() - begun
    reader.close()
    assert 1 < took < 10, took
